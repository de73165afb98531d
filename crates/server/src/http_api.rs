//! Plain HTTP: for probes, for Prometheus, for curl.

mod sql;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tonic::{Code, Status};

use crate::desk::Desk;
use crate::metrics;

/// The paths that answer to plain HTTP.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/api/v1/sql", post(sql::run))
        .route("/metrics", get(metrics))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .with_state(desk)
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let text = desk.metrics.text(desk.moment(), desk.jobs.figures());
    answer(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

/// The process runs.
async fn alive() -> Response {
    text(StatusCode::OK, "alive\n")
}

/// The store can be read, and the server is not about to end.
async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    if desk.stopping.is_cancelled() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    match desk.engine.store().table_names().await {
        Ok(_) => text(StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            text(StatusCode::SERVICE_UNAVAILABLE, "the store can't be read\n")
        }
    }
}

async fn version() -> Response {
    let version = json!({ "name": "didymium", "version": env!("CARGO_PKG_VERSION") });
    answer(StatusCode::OK, "application/json", format!("{version}\n"))
}

fn text(status: StatusCode, text: &'static str) -> Response {
    answer(status, "text/plain; charset=utf-8", text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A failure as a problem document (RFC 9457), with the code that gRPC has for it.
pub(crate) fn problem(status: &Status) -> Response {
    let http = http_status(status.code());
    let problem = json!({
        "type": "about:blank",
        "title": http.canonical_reason().unwrap_or_default(),
        "status": http.as_u16(),
        "detail": status.message(),
        "code": format!("{:?}", status.code()),
    });
    let mut response = answer(http, "application/problem+json", format!("{problem}\n"));
    // For the log, which has gRPC's words.
    response.extensions_mut().insert(status.code());
    if http == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::DataLoss | Code::Internal | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
