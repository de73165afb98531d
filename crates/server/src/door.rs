//! Who comes in: every call is looked at here before any service sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use didymium_engine::{ErrorKind, TRACE};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::caller::{Caller, Role};
use crate::desk::Desk;
use crate::failures::Failures;
use crate::http_api::problem;
use crate::request::invalid;
use crate::rules::{Rule, rule_of};
use crate::status::{refused, turned_away, unauthenticated};
use crate::tokens::{TokenError, Tokens};

/// The base64 of user and password: Go's clients leave the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who may come in.
#[derive(Debug)]
pub(crate) enum Door {
    /// Everybody: the server listens to its own machine only.
    Open,
    /// Those who show a token, and do not try too often without a valid one.
    Guarded(Tokens, Failures),
}

impl Door {
    /// The caller whom a call's headers name.
    ///
    /// # Errors
    /// UNAUTHENTICATED, UNAVAILABLE where the store can't be asked.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
        now_ms: i64,
    ) -> Result<Caller, Status> {
        let Self::Guarded(tokens, failures) = self else {
            return Ok(Caller::local());
        };
        let shown = headers.get_all(header::AUTHORIZATION);
        // Some clients send what they were given beside what they were told.
        for token in shown
            .iter()
            .filter_map(|value| token_in(value.to_str().ok()?))
        {
            if let Some(caller) = tokens.caller(&token, now_ms).await.map_err(not_asked)? {
                return Ok(caller);
            }
        }
        // A valid token opens the door all the same: others may share its address behind a proxy.
        if let Some(address) = peer.map(|peer| peer.ip()) {
            if let Some(wait) = failures.wait(address) {
                return Err(turned_away("too many calls without a valid token", wait));
            }
            failures.add(address);
        }
        Err(unauthenticated(
            "no valid token: send it as 'authorization: Bearer TOKEN', or as the password; `didymium token create` makes one",
        ))
    }
}

/// The token in an authorization header: after `Bearer`, or as the password of `Basic`.
pub(crate) fn token_in(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASIC.decode(rest).ok()?).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_owned())
}

fn not_asked(error: TokenError) -> Status {
    tracing::error!(%error, "tokens can't be checked");
    refused(
        ErrorKind::Unavailable,
        "tokens can't be checked at the moment",
    )
}

/// Looks at a call: finds its caller, holds it to its rule, and notes what came of it.
pub(crate) async fn guard(
    State(desk): State<Arc<Desk>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<TcpConnectInfo>();
    let parent = parent(request.headers());
    let mut note = Note {
        peer: peer.and_then(TcpConnectInfo::remote_addr),
        trace_id: parent.as_ref().map(|parent| parent.trace_id().to_string()),
        span: span_of(&path, parent),
        rule: rule_of(&path),
        path,
        caller: "nobody".to_owned(),
        arrived: Instant::now(),
        desk: Arc::clone(&desk),
        is_noted: false,
    };
    let is_grpc = is_grpc(request.headers());
    match let_in(&desk, &mut note, request.headers()).await {
        Err(status) => {
            note.end(status.code());
            match is_grpc {
                true => status.into_http::<Body>().map(axum::body::Body::new),
                false => problem(&status),
            }
        }
        Ok(caller) => {
            if note.rule.is_none() {
                return unknown(&mut note, is_grpc);
            }
            request.extensions_mut().insert(caller);
            let response = next.run(request).instrument(note.span.clone()).await;
            if !is_grpc {
                let code = response.extensions().get::<Code>().copied();
                note.end(code.unwrap_or_else(|| code_of_http(response.status())));
                return response;
            }
            if let Some(status) = Status::from_header_map(response.headers()) {
                if is_unreadable(&status) {
                    note.end(Code::InvalidArgument);
                    let status =
                        invalid(format!("the request can't be read: {}", status.message()));
                    return status.into_http::<Body>().map(axum::body::Body::new);
                }
                note.end(status.code());
                return response;
            }
            // The outcome of a stream comes after it.
            response.map(|body| {
                axum::body::Body::new(body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        let status = Status::from_header_map(trailers);
                        note.end(status.map_or(Code::Unknown, |status| status.code()));
                    }
                    frame
                }))
            })
        }
    }
}

/// Whether the transport could not read what the client sent, which it calls an error of ours.
fn is_unreadable(status: &Status) -> bool {
    status.code() == Code::Internal
        && [
            "failed to decode Protobuf message",
            "protocol error: received message",
        ]
        .iter()
        .any(|words| status.message().starts_with(words))
}

/// What is said of a path that leads nowhere. Nothing without a rule reaches a service.
fn unknown(note: &mut Note, is_grpc: bool) -> Response {
    let (code, why) = match is_grpc {
        true => (Code::Unimplemented, "there is no such call"),
        false => (Code::NotFound, "there is nothing here"),
    };
    note.end(code);
    let status = Status::new(code, format!("{}: {why}", note.path));
    match is_grpc {
        true => status.into_http::<Body>().map(axum::body::Body::new),
        false => problem(&status),
    }
}

/// What is written of a call, once, when it is over: who made it, and what came of it.
struct Note {
    path: String,
    /// Its rule, with the path as it stands among those that have one.
    rule: Option<(&'static str, Rule)>,
    caller: String,
    peer: Option<SocketAddr>,
    /// The caller's own trace, by which its log and ours are one.
    trace_id: Option<String>,
    /// The call in that trace.
    span: Span,
    arrived: Instant,
    desk: Arc<Desk>,
    is_noted: bool,
}

impl Note {
    fn end(&mut self, code: Code) {
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

async fn let_in(desk: &Desk, note: &mut Note, headers: &HeaderMap) -> Result<Caller, Status> {
    let role = match note.rule {
        Some((_, Rule::Anybody)) => return Ok(Caller::nobody()),
        Some((_, Rule::AtLeast(role))) => role,
        // What nobody gave a rule is for nobody.
        None => Role::Read,
    };
    // A page of any site can make its reader's browser call the reader's own machine.
    if matches!(desk.door, Door::Open) && headers.contains_key(header::ORIGIN) {
        return Err(refused(
            ErrorKind::Denied,
            "web pages may not call a server that asks nobody who calls: serve with --auth token",
        ));
    }
    let now_ms = desk.engine.now_ms();
    let caller = desk.door.caller(headers, note.peer, now_ms).await?;
    note.caller.clone_from(&caller.name);
    caller.require(role)?;
    Ok(caller)
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

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc"))
}
