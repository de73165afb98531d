//! The one place where an engine error meets the wire.

use std::collections::HashMap;
use std::time::Duration;

use didymium_engine::{Error, ErrorKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

/// Who speaks in the details of an error.
const DOMAIN: &str = "didymium";

/// An error as every protocol sends it: a code, a sentence, and details that programs read.
pub(crate) fn status(error: &Error, query_id: &str) -> Status {
    let (code, reason) = code(error.kind());
    let mut details = ErrorDetails::with_error_info(
        reason,
        DOMAIN,
        HashMap::from([("query_id".to_owned(), query_id.to_owned())]),
    );
    details.set_request_info(query_id, "");
    if error.kind() == ErrorKind::Internal {
        // What went wrong inside is for the log; the id ties the two together.
        tracing::error!(query_id, %error, "internal error");
        let message =
            format!("internal error; the server's log has the details of query {query_id}");
        return Status::with_error_details(code, message, details);
    }
    Status::with_error_details(code, shortened(error.to_string()), details)
}

/// What a caller is told who may come again later.
pub(crate) fn turned_away(why: &str, again: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info("OVERLOADED", DOMAIN, HashMap::new());
    details.set_retry_info(Some(again));
    let message = format!("{why}: try again in {} s", again.as_secs() + 1);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// What a query is told that finds the queue full.
pub(crate) fn overloaded(query_id: &str, again: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(
        "OVERLOADED",
        DOMAIN,
        HashMap::from([("query_id".to_owned(), query_id.to_owned())]),
    );
    details
        .set_request_info(query_id, "")
        .set_retry_info(Some(again));
    let message = format!("too many queries run and wait: try again in {again:?}");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A failure that no query's id stands for.
pub(crate) fn failed(error: &Error) -> Status {
    status(error, &Uuid::new_v4().to_string())
}

/// A request that is refused before it reaches the engine.
pub(crate) fn refused(kind: ErrorKind, message: impl Into<String>) -> Status {
    status(&Error::new(kind, message), &Uuid::new_v4().to_string())
}

/// What whoever shows no token that opens anything is told.
pub(crate) fn unauthenticated(message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info("UNAUTHENTICATED", DOMAIN, HashMap::new());
    Status::with_error_details(Code::Unauthenticated, message, details)
}

/// A message that fits: stock clients take 8 KiB of headers, in which it stands twice, escaped and as
/// base64. A long one ends with its last whole line, if it has several.
fn shortened(mut message: String) -> String {
    const LONGEST: usize = 6 * 1024;
    let cost = |c: char| match c {
        ' '..='~' if c != '%' => 1 + 2,
        c => 3 * c.len_utf8() + 2 * c.len_utf8(),
    };
    let mut spent = 0;
    let is_beyond = |(_, c): &(usize, char)| {
        spent += cost(*c);
        spent > LONGEST
    };
    let end = message.char_indices().find(is_beyond);
    if let Some((end, _)) = end {
        let line = message[..end].rfind('\n').filter(|line| *line > end / 2);
        message.truncate(line.unwrap_or(end));
        message.push_str(if line.is_some() { "\n  …" } else { "…" });
    }
    message
}

fn code(kind: ErrorKind) -> (Code, &'static str) {
    match kind {
        ErrorKind::InvalidInput => (Code::InvalidArgument, "INVALID_INPUT"),
        ErrorKind::NotFound => (Code::NotFound, "NOT_FOUND"),
        ErrorKind::Denied => (Code::PermissionDenied, "DENIED"),
        ErrorKind::AlreadyExists => (Code::AlreadyExists, "ALREADY_EXISTS"),
        ErrorKind::Precondition => (Code::FailedPrecondition, "PRECONDITION"),
        ErrorKind::Conflict => (Code::Aborted, "CONFLICT"),
        ErrorKind::OutOfRange => (Code::OutOfRange, "OUT_OF_RANGE"),
        ErrorKind::OverLimit => (Code::ResourceExhausted, "OVER_LIMIT"),
        ErrorKind::Deadline => (Code::DeadlineExceeded, "DEADLINE"),
        ErrorKind::Cancelled => (Code::Cancelled, "CANCELLED"),
        ErrorKind::Unavailable => (Code::Unavailable, "UNAVAILABLE"),
        ErrorKind::Corrupt => (Code::DataLoss, "CORRUPT"),
        ErrorKind::Unsupported => (Code::Unimplemented, "UNSUPPORTED"),
        ErrorKind::Internal => (Code::Internal, "INTERNAL"),
    }
}
