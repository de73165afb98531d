//! One corpus of statements by every way in: whoever asks gets the same columns, rows and refusals.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow_flight::FlightDescriptor;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use didymium_engine::{Engine, Error, ErrorKind, Limits, QueryRequest};
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::figures::{NOW_MS, shipped};
use crate::server::TestServer;

/// Statements between empty lines. One that is wrong stands below its code; a block of comments is a heading.
const CORPUS: &str = include_str!("corpus.sql");

struct Statement {
    sql: &'static str,
    /// The code that the statement must fail with.
    wrong: Option<&'static str>,
}

/// The whole of the rows, or why there are none.
type Outcome = Result<RecordBatch, (Code, String)>;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = shipped(folder.path()).await;
    let engine = Engine::new(Arc::clone(&store), Limits::default(), || NOW_MS);
    let engine = Arc::new(engine.unwrap());
    let server = TestServer::start(store, Limits::default()).await;
    let channel = Channel::from_shared(server.address.clone()).unwrap();
    let mut client = FlightServiceClient::new(channel.connect().await.unwrap());
    let mut faults = Vec::new();
    for Statement { sql, wrong } in statements() {
        let embedded = over_engine(&engine, sql).await;
        let said = [
            ("engine", unexpected(sql, wrong, &embedded)),
            (
                "gRPC",
                difference(&embedded, &over_grpc(&server, sql).await),
            ),
            (
                "Flight SQL",
                difference(&embedded, &over_flight(&mut client, sql).await),
            ),
            (
                "HTTP",
                difference(&embedded, &over_http(&server, sql).await),
            ),
        ];
        let said = said
            .into_iter()
            .filter_map(|(way, fault)| Some(format!("{way}: {}", fault?)));
        faults.extend(said.map(|fault| format!("{sql}\n  {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    drop(client);
    server.stop().await;
}

#[test]
fn the_corpus_is_whole() {
    let statements = statements();
    let wrong = statements.iter().filter(|it| it.wrong.is_some()).count();
    assert_eq!((statements.len(), wrong), (300, 100));
    let mut texts: Vec<&str> = statements.iter().map(|it| it.sql).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 300, "no statement stands twice");
}

fn statements() -> Vec<Statement> {
    let blocks = CORPUS.trim_end().split("\n\n");
    let blocks = blocks.filter(|block| block.lines().any(|line| !line.starts_with("--")));
    let statement = |block: &'static str| {
        let marked = block.strip_prefix("-- wrong: ");
        match marked.and_then(|rest| rest.split_once('\n')) {
            Some((code, sql)) => Statement {
                sql,
                wrong: Some(code),
            },
            None => Statement {
                sql: block,
                wrong: None,
            },
        }
    };
    blocks.map(statement).collect()
}

/// What the embedded engine does otherwise than the corpus says.
fn unexpected(sql: &str, wrong: Option<&str>, outcome: &Outcome) -> Option<String> {
    match (wrong, outcome) {
        (None, Err((code, message))) => Some(format!("{code:?}: {message}")),
        (Some(wrong), Ok(_)) => Some(format!("it gives rows, not {wrong}")),
        (Some(wrong), Err((code, message))) => {
            let code = screaming(*code);
            (code != wrong).then(|| format!("{code}, not {wrong}: {message}"))
        }
        (None, Ok(rows)) => {
            let is_ordered = sql.contains("ORDER BY") || sql.starts_with("EXPLAIN");
            let is_fixed = rows.num_rows() <= 1 || is_ordered;
            (!is_fixed).then(|| "an ORDER BY must fix the order of its rows".to_owned())
        }
    }
}

/// What one way in does otherwise than the engine.
fn difference(expected: &Outcome, found: &Outcome) -> Option<String> {
    match (expected, found) {
        (Ok(expected), Ok(found)) => {
            let (known, told) = (expected.schema(), found.schema());
            if known.fields() != told.fields() {
                return Some(format!(
                    "columns {:?}, not {:?}",
                    told.fields(),
                    known.fields()
                ));
            }
            let (many, few) = (expected.num_rows(), found.num_rows());
            let is_same = expected.columns() == found.columns();
            (!is_same).then(|| format!("other rows: {few}, where the engine gives {many}"))
        }
        (Ok(_), Err((code, message))) => Some(format!("{code:?}: {message}")),
        (Err((code, _)), Ok(_)) => Some(format!("it gives rows, not {code:?}")),
        (Err(expected), Err(found)) => {
            (expected != found).then(|| format!("{found:?}, not {expected:?}"))
        }
    }
}

async fn over_engine(engine: &Arc<Engine>, sql: &str) -> Outcome {
    let failed = |error: Error| (code(error.kind()), error.to_string());
    let request = QueryRequest {
        sql: sql.to_owned(),
        may_write: true,
        ..QueryRequest::default()
    };
    let mut result = engine.query(request).await.map_err(failed)?;
    let mut batches = Vec::new();
    while let Some(rows) = result.next().await {
        batches.push(rows.map_err(failed)?);
    }
    Ok(whole(result.schema(), &batches))
}

async fn over_grpc(server: &TestServer, sql: &str) -> Outcome {
    let answer = server.query(sql).await.map_err(refused)?;
    let rows = whole(&answer.schema, &answer.batches);
    let told = answer.header.columns.iter().map(|column| &column.name);
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name());
    assert!(told.eq(names), "{sql}: the header tells other columns");
    Ok(rows)
}

async fn over_flight(client: &mut FlightServiceClient<Channel>, sql: &str) -> Outcome {
    let command = CommandStatementQuery {
        query: sql.to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client
        .get_flight_info(descriptor)
        .await
        .map_err(refused)?
        .into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let promised = Arc::new(info.try_decode_schema().unwrap());
    let messages = client.do_get(ticket).await.map_err(refused)?.into_inner();
    let messages = messages.map_err(FlightError::from);
    let mut rows = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch.map_err(|error| refused(error.into()))?);
    }
    assert_eq!(rows.schema(), Some(&promised), "{sql}");
    Ok(whole(&promised, &batches))
}

/// As curl asks: one request by HTTP/1.1 on a connection of its own.
async fn over_http(server: &TestServer, sql: &str) -> Outcome {
    let address = server.address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = sql.len();
    let request = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Accept: application/vnd.apache.arrow.stream\r\nContent-Length: {length}\r\n\r\n{sql}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let (head, body) = parted(&answer, b"\r\n\r\n");
    let head = str::from_utf8(head).unwrap().to_ascii_lowercase();
    let body = match head.contains("transfer-encoding: chunked") {
        true => unchunked(body),
        false => body.to_vec(),
    };
    if head.starts_with("http/1.1 200 ") {
        let reader = StreamReader::try_new(body.as_slice(), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        return Ok(whole(&schema, &batches));
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let member = |name: &str| problem[name].as_str().unwrap().to_owned();
    let code = (0..=16)
        .map(Code::from_i32)
        .find(|code| format!("{code:?}") == member("code"));
    Err((code.unwrap(), member("detail")))
}

/// The chunks of a body together; a body that was broken off has no last one.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let (size, after) = parted(rest, b"\r\n");
        let size = usize::from_str_radix(str::from_utf8(size).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend(&after[..size]);
        rest = &after[size + 2..];
    }
}

/// What stands before a mark and what after it.
fn parted<'a>(bytes: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = bytes.windows(mark.len()).position(|found| found == mark);
    let at = at.expect("an answer that was not broken off");
    (&bytes[..at], &bytes[at + mark.len()..])
}

fn whole(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(schema, batches).unwrap()
}

fn refused(status: Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

/// The code of an engine's error, by the error map.
fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::OverLimit => Code::ResourceExhausted,
        ErrorKind::Unsupported => Code::Unimplemented,
        other => panic!("no statement of the corpus fails as {other:?}"),
    }
}

/// A code as gRPC's own documents write it.
fn screaming(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
