//! Who comes in: every call is looked at here before any service sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use didymium_engine::ErrorKind;
use http::{HeaderMap, header};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Instrument;

use crate::caller::{Caller, Role};
use crate::desk::Desk;
use crate::failures::Failures;
use crate::http_api::problem;
use crate::note::Note;
use crate::request::invalid;
use crate::rules::Rule;
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
    let mut note = Note::of(&request, &desk);
    let is_grpc = is_grpc(request.headers());
    let caller = match let_in(&desk, &mut note, request.headers()).await {
        Ok(caller) => caller,
        Err(status) => {
            note.end(status.code());
            return told(status, is_grpc);
        }
    };
    if note.rule.is_none() {
        return unknown(&mut note, is_grpc);
    }
    request.extensions_mut().insert(caller);
    let response = next.run(request).instrument(note.span.clone()).await;
    match is_grpc {
        true => note.end_with_grpc(readable(response)),
        false => note.end_with_http(response),
    }
}

/// A failure before any service, as the caller's protocol has it.
fn told(status: Status, is_grpc: bool) -> Response {
    match is_grpc {
        true => status.into_http::<Body>().map(axum::body::Body::new),
        false => problem(&status),
    }
}

/// The response, but for a request that can't be read: the transport calls that an error of ours.
fn readable(response: Response) -> Response {
    match Status::from_header_map(response.headers()).filter(is_unreadable) {
        None => response,
        Some(status) => {
            let why = format!("the request can't be read: {}", status.message());
            told(invalid(why), true)
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
    told(Status::new(code, format!("{}: {why}", note.path)), is_grpc)
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

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc"))
}
