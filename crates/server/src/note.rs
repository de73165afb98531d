//! What is written of a call, once, when it is over: who made it, and what came of it.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use didymium_engine::TRACE;
use futures::{TryStreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::desk::Desk;
use crate::rules::{Rule, rule_of};

/// A call on its way. It is dropped with the call's body, so that none goes unnoted.
pub(crate) struct Note {
    pub(crate) path: String,
    /// Its rule, with the path as it stands among those that have one.
    pub(crate) rule: Option<(&'static str, Rule)>,
    pub(crate) caller: String,
    pub(crate) peer: Option<SocketAddr>,
    /// The caller's own trace, by which its log and ours are one.
    trace_id: Option<String>,
    /// The call in that trace.
    pub(crate) span: Span,
    arrived: Instant,
    desk: Arc<Desk>,
    is_noted: bool,
}

impl Note {
    /// Of a call that has just arrived, by nobody yet.
    pub(crate) fn of(request: &Request, desk: &Arc<Desk>) -> Self {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<TcpConnectInfo>();
        let parent = parent(request.headers());
        Self {
            peer: peer.and_then(TcpConnectInfo::remote_addr),
            trace_id: parent.as_ref().map(|parent| parent.trace_id().to_string()),
            span: span_of(&path, parent),
            rule: rule_of(&path),
            path,
            caller: "nobody".to_owned(),
            arrived: Instant::now(),
            desk: Arc::clone(desk),
            is_noted: false,
        }
    }

    /// What came of the call is known.
    pub(crate) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.is_noted, true) {
            return;
        }
        if let Some((path, _)) = self.rule {
            self.desk.metrics.call_ended(path, code);
        }
        self.span.record("rpc.grpc.status_code", code as i32);
        self.span.record("enduser.id", &self.caller);
        let peer = self.peer.map(|peer| peer.to_string());
        tracing::info!(
            target: "didymium::audit",
            method = self.path,
            caller = self.caller,
            peer,
            trace_id = self.trace_id,
            ?code,
            elapsed = ?self.arrived.elapsed(),
            "call"
        );
    }

    /// Ends with a response of gRPC's, whose outcome stands in its headers or comes after its body.
    pub(crate) fn end_with_grpc(mut self, response: Response) -> Response {
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.end(status.code());
            return response;
        }
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = Status::from_header_map(trailers);
                    self.end(status.map_or(Code::Unknown, |status| status.code()));
                }
                frame
            }))
        })
    }

    /// Ends with a response of plain HTTP, or with its body where that is still being made: only its end
    /// tells whether all of it came.
    pub(crate) fn end_with_http(mut self, response: Response) -> Response {
        let code = response.extensions().get::<Code>().copied();
        let code = code.unwrap_or_else(|| code_of_http(response.status()));
        if code != Code::Ok || response.body().size_hint().exact().is_some() {
            self.end(code);
            return response;
        }
        response.map(|body| self.end_with_body(body))
    }

    fn end_with_body(self, body: Body) -> Body {
        let frames = (BodyStream::new(body), self);
        let noted = stream::try_unfold(frames, |(mut frames, mut note)| async move {
            let frame = frames.try_next().await;
            let frame = frame.inspect_err(|error| note.end(code_of_break(error)))?;
            if frame.is_none() {
                note.end(Code::Ok);
            }
            Ok::<_, axum::Error>(frame.map(|frame| (frame, (frames, note))))
        });
        Body::new(StreamBody::new(noted))
    }
}

impl Drop for Note {
    /// A client that hangs up hears no outcome.
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// The outcome of a call by HTTP in gRPC's words.
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=399 => Code::Ok,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        400..=499 => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

/// Why a body broke off. Its maker says so in the words of gRPC, somewhere below what the transport makes of it.
fn code_of_break(error: &axum::Error) -> Code {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let status = causes.find_map(|cause| cause.downcast_ref::<Status>());
    status.map_or(Code::Unknown, Status::code)
}

/// The span of the caller's that a W3C `traceparent` names.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit())
    };
    if !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let parent = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    parent.is_valid().then_some(parent)
}

/// A call's span, within the caller's own where it sends one.
fn span_of(path: &str, parent: Option<SpanContext>) -> Span {
    let span = tracing::info_span!(
        target: TRACE,
        "call",
        otel.name = path,
        otel.kind = "server",
        rpc.grpc.status_code = tracing::field::Empty,
        enduser.id = tracing::field::Empty,
    );
    if let Some(parent) = parent.filter(|_| !span.is_disabled()) {
        let parent = opentelemetry::Context::new().with_remote_span_context(parent);
        // It fails only where nobody takes traces.
        let _ = span.set_parent(parent);
    }
    span
}
