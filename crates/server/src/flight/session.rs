//! Flight's session actions. The messages are declared here: arrow-flight 59 has none of them.

use std::collections::HashMap;

use prost::Message;
use tonic::Status;

use crate::request::invalid;
use crate::seal::Seal;
use crate::session_options::{NAMES, SessionOptions, Untaken};

pub(crate) const SET: &str = "SetSessionOptions";
pub(crate) const GET: &str = "GetSessionOptions";
pub(crate) const CLOSE: &str = "CloseSession";

#[derive(Clone, PartialEq, Message)]
struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Number(f64),
    #[prost(message, tag = "5")]
    Texts(Texts),
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionError {
    #[prost(enumeration = "ErrorValue", tag = "1")]
    value: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

#[derive(Clone, PartialEq, Message)]
struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct CloseSessionResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
    Closing = 2,
    NotCloseable = 3,
}

/// What an action answers, and the cookie that it sets.
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    pub(crate) cookie: Option<String>,
}

/// Sets options: all that can be set are, and the others are told.
pub(crate) fn set(
    body: &[u8],
    mut options: SessionOptions,
    seal: &Seal,
) -> Result<Answered, Status> {
    let request = SetSessionOptionsRequest::decode(body)
        .map_err(|error| invalid(format!("SetSessionOptions: {error}")))?;
    let mut errors = HashMap::new();
    for (name, value) in request.session_options {
        let text = match value.kind {
            None => None,
            Some(Kind::Text(text)) => Some(text),
            Some(Kind::Integer(number)) => Some(number.to_string()),
            Some(Kind::Number(number)) => Some(number.to_string()),
            Some(Kind::Truth(truth)) => Some(truth.to_string()),
            Some(Kind::Texts(texts)) => Some(texts.values.join(",")),
        };
        let value = match options.set(&name, text.as_deref()) {
            Ok(()) => continue,
            Err(Untaken::Name) => ErrorValue::InvalidName,
            Err(Untaken::Value(why)) => {
                tracing::debug!(name, why, "a session's option is not taken");
                ErrorValue::InvalidValue
            }
        };
        let value = value.into();
        errors.insert(name, OptionError { value });
    }
    Ok(Answered {
        body: SetSessionOptionsResult { errors }.encode_to_vec(),
        cookie: Some(options.cookie(seal)),
    })
}

/// The options that have a value.
pub(crate) fn get(options: &SessionOptions) -> Answered {
    debug_assert!(
        options
            .listed()
            .iter()
            .all(|(name, _)| NAMES.contains(name))
    );
    let listed = options.listed().into_iter().map(|(name, value)| {
        let kind = Some(Kind::Text(value));
        (name.to_owned(), OptionValue { kind })
    });
    let session_options = listed.collect();
    Answered {
        body: GetSessionOptionsResult { session_options }.encode_to_vec(),
        cookie: None,
    }
}

/// Forgets the options.
pub(crate) fn close() -> Answered {
    let status = CloseStatus::Closed.into();
    Answered {
        body: CloseSessionResult { status }.encode_to_vec(),
        cookie: Some(SessionOptions::no_cookie()),
    }
}
