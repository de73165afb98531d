//! `POST /api/v1/sql`: one statement in, its rows out in the form that the client accepts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use didymium_engine::{ErrorKind, Format, FormatEncoder, Parameters, QueryRequest, Value};
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use tonic::Status;

use super::problem;
use crate::call::Answer;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::metrics::Protocol;
use crate::request::invalid;
use crate::session_options::{SessionOptions, Untaken};
use crate::status::refused;

/// The longest body: a statement of the longest length, and its parameters.
const BODY_BYTES: usize = 1024 * 1024;

/// How much of a longer one is read, so that its client hears why it is refused.
const FORGOTTEN_BYTES: usize = 256 * 1024 * 1024;

/// The forms, by the types that clients accept them as; the first one is what they get who accept all.
const FORMS: [(&str, Format); 6] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Ndjson),
    ("text/csv", Format::Csv),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
    ("application/vnd.apache.parquet", Format::Parquet),
    ("application/ndjson", Format::Ndjson),
];

/// A request with more than its text.
#[derive(Deserialize)]
struct Asked {
    sql: String,
    /// A list for `$1`, `$2`, … and `?`, an object for `$name`.
    #[serde(default)]
    parameters: Given,
    /// The options, under the names that a session has for them.
    #[serde(flatten)]
    options: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    query_id: String,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Given {
    #[default]
    None,
    Listed(Vec<serde_json::Value>),
    Named(BTreeMap<String, serde_json::Value>),
}

/// Runs the statement. What fails before the first rows is a problem document; what fails later breaks
/// the answer off, so that it can't be taken for a whole one.
pub(crate) async fn run(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    answer(&desk, request)
        .await
        .unwrap_or_else(|status| problem(&status))
}

async fn answer(desk: &Arc<Desk>, request: Request) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts.extensions)?;
    let (kind, format) = form(&parts.headers)?;
    let coding = parts.headers.get(header::CONTENT_ENCODING);
    if let Some(coding) = coding.filter(|coding| *coding != "identity") {
        return Err(invalid(format!(
            "Content-Encoding: {coding:?} is not read here; send the request as it is"
        )));
    }
    let body = read(body).await?;
    let (asked, query_id) = asked(&parts.headers, &body, desk)?;
    let mut answer = desk
        .call(&caller, Protocol::Http, &query_id, asked)?
        .start()
        .await?;
    let encoder = FormatEncoder::new(format, answer.schema());
    let mut encoder = encoder.map_err(|error| answer.failed(&error))?;
    // Most of what can fail does before the first rows.
    let first = next(&mut answer, &mut encoder).await?;
    let id = HeaderValue::try_from(answer.query_id());
    let rest = Rest {
        answer,
        encoder: Some(encoder),
        first,
    };
    let body = stream::try_unfold(rest, |mut rest| async move {
        let part = rest.next().await?;
        Ok::<_, Status>(part.map(|part| (Bytes::from(part), rest)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = id {
        headers.insert("didymium-query-id", id);
    }
    Ok(response)
}

/// The body of a request. One that is too long is read on for a while and forgotten: a client that is hung up
/// on while it sends does not read what it is told.
async fn read(body: Body) -> Result<Vec<u8>, Status> {
    let mut parts = body.into_data_stream();
    let (mut read, mut length) = (Vec::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| invalid(format!("the request broke off: {error}")))?;
        length += part.len();
        if length <= BODY_BYTES {
            read.extend_from_slice(&part);
        } else {
            read = Vec::new();
        }
        if length > FORGOTTEN_BYTES {
            break;
        }
    }
    match length <= BODY_BYTES {
        true => Ok(read),
        false => Err(refused(
            ErrorKind::OutOfRange,
            format!("the request holds more than {BODY_BYTES} bytes: load long lists as a table"),
        )),
    }
}

/// What is still to be sent.
struct Rest {
    answer: Answer,
    encoder: Option<FormatEncoder>,
    first: Option<Vec<u8>>,
}

impl Rest {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let part = match self.first.take() {
            Some(first) => Some(first),
            None => next(&mut self.answer, encoder).await?,
        };
        if part.is_some() {
            return Ok(part);
        }
        let end = self.encoder.take().map(FormatEncoder::finish).transpose();
        end.map_err(|error| self.answer.failed(&error))
    }
}

/// The next rows in their form; `None` after the last ones.
async fn next(answer: &mut Answer, encoder: &mut FormatEncoder) -> Result<Option<Vec<u8>>, Status> {
    let Some(rows) = answer.next().await? else {
        return Ok(None);
    };
    let part = encoder.encode(&rows);
    part.map(Some).map_err(|error| answer.failed(&error))
}

/// The form that the client likes best among those that there are: the heaviest one, and of those the
/// first that is named. A weight of 0 excludes what it stands by.
fn form(headers: &HeaderMap) -> Result<(&'static str, Format), Status> {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    let accepted: Vec<Accepted> = accepted
        .flat_map(|accepted| accepted.split(','))
        .map(Accepted::of)
        .collect();
    if accepted.is_empty() {
        return Ok(FORMS[0]);
    }
    // What is said of a form itself counts before what is said of all of its kind.
    let weight = |known: &str| {
        let fitting = accepted.iter().filter(|it| it.fits(known));
        fitting
            .max_by_key(|it| it.exactness())
            .map_or(0.0, |it| it.weight)
    };
    let mut best: Option<(f32, usize, (&str, Format))> = None;
    for form in FORMS {
        let weight = weight(form.0);
        let place = accepted
            .iter()
            .position(|it| it.fits(form.0))
            .unwrap_or(usize::MAX);
        let is_better = best.is_none_or(|(heaviest, first, _)| {
            weight > heaviest || (weight == heaviest && place < first)
        });
        if weight > 0.0 && is_better {
            best = Some((weight, place, form));
        }
    }
    best.map(|(_, _, form)| form).ok_or_else(|| {
        let known = FORMS.map(|(kind, _)| kind);
        invalid(format!("Accept: there is only {}", known[..5].join(", ")))
    })
}

/// One entry of an Accept header.
struct Accepted {
    kind: String,
    weight: f32,
}

impl Accepted {
    fn of(entry: &str) -> Self {
        let entry = entry.to_ascii_lowercase();
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_owned();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok());
        let weight = weight.unwrap_or(1.0);
        Self { kind, weight }
    }

    fn fits(&self, known: &str) -> bool {
        self.kind == "*/*"
            || self.kind == known
            || self
                .kind
                .strip_suffix('*')
                .is_some_and(|start| known.starts_with(start))
    }

    /// How much it says: all forms, those of a kind, or one.
    fn exactness(&self) -> usize {
        match self.kind.as_str() {
            "*/*" => 0,
            kind if kind.ends_with('*') => 1,
            _ => 2,
        }
    }
}

/// The statement and how to run it: a JSON object, or its text alone.
fn asked(headers: &HeaderMap, body: &[u8], desk: &Desk) -> Result<(QueryRequest, String), Status> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    });
    let mut options = SessionOptions::of(headers, &desk.seal)?;
    if !is_json {
        let sql = std::str::from_utf8(body).map_err(|_| invalid("the statement is no UTF-8"))?;
        let mut request = QueryRequest {
            sql: sql.to_owned(),
            ..QueryRequest::default()
        };
        options.put_into(&mut request);
        return Ok((request, String::new()));
    }
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("the request is no JSON of a query: {error}")))?;
    for (name, value) in &asked.options {
        let text = match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        options
            .set(name, text.as_deref())
            .map_err(|untaken| match untaken {
                Untaken::Name => invalid(format!("{name}: no such field")),
                Untaken::Value(why) => invalid(format!("{name}: {why}")),
            })?;
    }
    let parameters = match asked.parameters {
        Given::None => Parameters::default(),
        Given::Listed(values) => Parameters {
            positional: values.iter().map(parameter).collect::<Result<_, _>>()?,
            ..Parameters::default()
        },
        Given::Named(values) => {
            let named = values
                .iter()
                .map(|(name, value)| Ok((name.clone(), parameter(value)?)));
            Parameters {
                named: named.collect::<Result<_, Status>>()?,
                ..Parameters::default()
            }
        }
    };
    let mut request = QueryRequest {
        sql: asked.sql,
        parameters,
        ..QueryRequest::default()
    };
    options.put_into(&mut request);
    Ok((request, asked.query_id))
}

fn parameter(value: &serde_json::Value) -> Result<Value, Status> {
    Ok(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Boolean(*truth),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Integer(number),
            (None, Some(double)) if number.is_f64() => Value::Double(double),
            _ => {
                return Err(invalid(format!(
                    "{number} is no BIGINT: send it as a text and cast it"
                )));
            }
        },
        other => {
            return Err(invalid(format!(
                "a parameter is a number, a text, true, false or null, not {other}"
            )));
        }
    })
}
