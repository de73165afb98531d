//! `QueryService`: one statement in, one Arrow IPC stream out.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_server::QueryService;
use didymium_api::v1::value::Kind;
use didymium_api::v1::{
    CancelRequest, CancelResponse, Column, ExecuteResponse, ExplainRequest, ExplainResponse,
    Header, ListQueriesRequest, ListQueriesResponse, Phase, Progress, QueryRequest, QueryResponse,
    RunningQuery, Summary, Warning,
};
use didymium_engine::{Error, ErrorKind, IpcEncoder, MESSAGE_BYTES};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message as _;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Request, Response, Status};

use crate::call::{Answer, Call, within};
use crate::caller::Caller;
use crate::desk::Desk;
use crate::metrics::Protocol;
use crate::request::{grpc_timeout, invalid, query_request, timestamp};
use crate::running::Entry;
use crate::status::{refused, status};
use crate::typed_rows::typed_rows;

/// The most rows that [`execute`] gives in its one message.
const EXECUTE_ROWS: usize = 1000;

/// How often a client may hear of its query at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The service over one engine.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) desk: Arc<Desk>,
}

impl Queries {
    fn call(&self, request: Request<QueryRequest>) -> Result<Call, Status> {
        let caller = Caller::of(request.extensions())?;
        let chosen = request.get_ref().query_id.clone();
        self.desk
            .call(&caller, Protocol::Grpc, &chosen, query_request(request)?)
    }
}

#[tonic::async_trait]
impl QueryService for Queries {
    type QueryStream = BoxStream<'static, Result<QueryResponse, Status>>;

    /// Answers at once with a stream. Planning happens on its first poll: the transport's own
    /// time-out covers what comes before the stream and would end it with the wrong code.
    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        let interval = interval(request.get_ref())?;
        let dry_run = request.get_ref().dry_run;
        let call = self.call(request)?;
        if dry_run {
            return Ok(Response::new(
                stream::once(planned(call)).try_flatten().boxed(),
            ));
        }
        let entry = call.entry();
        let replies = stream::once(replies(call)).try_flatten().boxed();
        Ok(Response::new(match interval {
            None => replies,
            Some(interval) => with_progress(replies, entry, &self.desk, interval),
        }))
    }

    async fn execute(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        let deadline = grpc_timeout(request.metadata());
        let dry_run = request.get_ref().dry_run;
        let call = self.call(request)?;
        let executed = async {
            match dry_run {
                false => execute(call).await,
                true => Ok(ExecuteResponse {
                    columns: columns(&call.describe().await?.description.schema),
                    ..ExecuteResponse::default()
                }),
            }
        };
        within(deadline, executed, "").await.map(Response::new)
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let (metadata, extensions, ExplainRequest { query, analyze }) = request.into_parts();
        let query = query.ok_or_else(|| invalid("there is no query to explain"))?;
        let query = query_request(Request::from_parts(metadata, extensions, query))?;
        let explained = explain(&self.desk, &caller, query, analyze);
        within(deadline, explained, "").await.map(Response::new)
    }

    async fn list_queries(
        &self,
        request: Request<ListQueriesRequest>,
    ) -> Result<Response<ListQueriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let queries = self.desk.running.seen_by(&caller).into_iter();
        let queries = queries.map(|query| RunningQuery {
            query_id: query.query_id.clone(),
            caller: query.owner.name.clone(),
            sql: query.sql.clone(),
            phase: phase(&query).into(),
            arrived: Some(timestamp(query.arrived_ms)),
            elapsed: query.arrived.elapsed().try_into().ok(),
            rows: query.rows(),
        });
        Ok(Response::new(ListQueriesResponse {
            queries: queries.collect(),
        }))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let query_id = request.into_inner().query_id;
        match self.desk.running.cancel(&query_id, &caller) {
            true => Ok(Response::new(CancelResponse {})),
            false => Err(refused(
                ErrorKind::NotFound,
                format!("no query {query_id} is running"),
            )),
        }
    }
}

/// A query's replies: its header, its rows, its summary.
async fn replies(
    call: Call,
) -> Result<impl Stream<Item = Result<QueryResponse, Status>> + Send, Status> {
    let answer = call.start().await?;
    let mut encoder = IpcEncoder::new(answer.schema()).map_err(|error| answer.failed(&error))?;
    let header = header(&answer);
    let schema = encoder.take();
    if header.encoded_len().max(schema.len()) > MESSAGE_BYTES {
        return Err(answer.failed(&Error::new(
            ErrorKind::OutOfRange,
            "the names of the columns fill more than a message: give them shorter aliases",
        )));
    }
    let warnings = answer.warnings().iter().map(|warning| {
        reply(Payload::Warning(Warning {
            message: warning.message.clone(),
            code: warning.code.to_owned(),
        }))
    });
    let first = [
        reply(Payload::Header(header)),
        reply(Payload::ArrowIpc(schema)),
    ];
    let first: Vec<_> = first.into_iter().chain(warnings).collect();
    let sending = Sending {
        answer,
        encoder: Some(encoder),
    };
    let rest = stream::try_unfold(sending, |mut sending| async move {
        let replies = sending.next().await?;
        Ok::<_, Status>(replies.map(|replies| (replies, sending)))
    });
    let rest = rest
        .map_ok(|replies| stream::iter(replies.into_iter().map(Ok)))
        .try_flatten();
    Ok(stream::iter(first.into_iter().map(Ok)).chain(rest))
}

/// The replies of a dry run: the header and the schema, and what would be read.
async fn planned(
    call: Call,
) -> Result<impl Stream<Item = Result<QueryResponse, Status>> + Send, Status> {
    let described = call.describe().await?;
    let description = described.description;
    let to_status = |error: Error| status(&error, &described.query_id);
    let mut encoder = IpcEncoder::new(&description.schema).map_err(to_status)?;
    let mut ipc = encoder.take();
    ipc.extend(encoder.finish().map_err(to_status)?);
    let summary = Summary {
        table_versions: described.seen.into_iter().collect(),
        ..Summary::default()
    };
    let header = Header {
        columns: columns(&description.schema),
        query_id: described.query_id,
    };
    Ok(stream::iter([
        Ok(reply(Payload::Header(header))),
        Ok(reply(Payload::ArrowIpc(ipc))),
        Ok(reply(Payload::Summary(summary))),
    ]))
}

/// How a statement is run, and with `analyze` what its run did.
async fn explain(
    desk: &Arc<Desk>,
    caller: &Caller,
    request: didymium_engine::QueryRequest,
    analyze: bool,
) -> Result<ExplainResponse, Status> {
    let mut response = ExplainResponse::default();
    if !analyze {
        let described = desk
            .call(caller, Protocol::Grpc, "", request.clone())?
            .describe()
            .await?;
        if described.description.is_command {
            return Err(invalid(
                "there is no plan for a statement that only does something",
            ));
        }
        response.columns = columns(&described.description.schema);
        response.table_versions = described.seen.into_iter().collect();
    }
    let verb = if analyze {
        "EXPLAIN ANALYZE"
    } else {
        "EXPLAIN FORMAT INDENT"
    };
    let explained = didymium_engine::QueryRequest {
        sql: format!("{verb} {}", request.sql),
        ..request
    };
    let mut answer = desk
        .call(caller, Protocol::Grpc, "", explained)?
        .start()
        .await?;
    while let Some(batch) = answer.next().await? {
        for row in typed_rows(&batch)? {
            for value in row.values {
                if let Some(Kind::Text(text)) = value.kind {
                    response.plan.push_str(text.trim_end());
                    response.plan.push('\n');
                }
            }
        }
    }
    Ok(response)
}

/// Replies with what is known of the query between them.
fn with_progress(
    replies: BoxStream<'static, Result<QueryResponse, Status>>,
    entry: Arc<Entry>,
    desk: &Arc<Desk>,
    interval: Duration,
) -> BoxStream<'static, Result<QueryResponse, Status>> {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = Some((replies, ticks, Arc::clone(desk)));
    let step = move |state: Option<(BoxStream<'static, _>, Interval, Arc<Desk>)>| {
        let entry = Arc::clone(&entry);
        async move {
            let (mut replies, mut ticks, desk) = state?;
            tokio::select! {
                biased;
                next = replies.next() => {
                    let next: Result<QueryResponse, Status> = next?;
                    let goes_on = next.is_ok();
                    Some((next, goes_on.then_some((replies, ticks, desk))))
                }
                _ = ticks.tick() => {
                    let progress = Payload::Progress(progress(&entry, &desk));
                    Some((Ok(reply(progress)), Some((replies, ticks, desk))))
                }
            }
        }
    };
    stream::unfold(state, step).boxed()
}

fn progress(entry: &Entry, desk: &Desk) -> Progress {
    let read = entry.read();
    let fraction = read.rows_to_read.filter(|rows| *rows > 0);
    Progress {
        phase: phase(entry).into(),
        fraction: fraction.map(|all| (read.rows as f64 / all as f64).min(1.0)),
        rows_read: read.rows,
        bytes_read: read.bytes,
        files: read.files,
        queue_position: match entry.is_queued() {
            true => u32::try_from(desk.slots.waiting().saturating_sub(1)).unwrap_or(u32::MAX),
            false => 0,
        },
        elapsed: entry.arrived.elapsed().try_into().ok(),
    }
}

fn phase(entry: &Entry) -> Phase {
    match entry.is_queued() {
        true => Phase::Queued,
        false => Phase::Running,
    }
}

/// How often the client wants to hear of its query.
fn interval(request: &QueryRequest) -> Result<Option<Duration>, Status> {
    let Some(interval) = request.progress_interval else {
        return Ok(None);
    };
    let interval = Duration::try_from(interval).ok();
    match interval.filter(|interval| *interval >= SHORTEST_INTERVAL) {
        Some(interval) => Ok(Some(interval)),
        None => Err(invalid(format!(
            "progress_interval: must be at least {SHORTEST_INTERVAL:?}"
        ))),
    }
}

/// A query whose rows are being sent.
struct Sending {
    answer: Answer,
    encoder: Option<IpcEncoder>,
}

impl Sending {
    /// The replies for the next rows, or the last ones; `None` after those.
    async fn next(&mut self) -> Result<Option<Vec<QueryResponse>>, Status> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let Some(rows) = self.answer.next().await? else {
            let end = self.encoder.take().map(IpcEncoder::finish).transpose();
            let end = end.map_err(|error| self.answer.failed(&error))?;
            return Ok(Some(vec![
                reply(Payload::ArrowIpc(end.unwrap_or_default())),
                reply(Payload::Summary(summary(&self.answer))),
            ]));
        };
        let chunks = encoder.encode(&rows);
        let chunks = chunks.map_err(|error| self.answer.failed(&error))?;
        let replies = chunks
            .into_iter()
            .map(|chunk| reply(Payload::ArrowIpc(chunk)));
        Ok(Some(replies.collect()))
    }
}

/// Runs a query to its end and gives its rows in one message.
async fn execute(call: Call) -> Result<ExecuteResponse, Status> {
    let mut answer = call.start().await?;
    let mut rows = Vec::new();
    while let Some(batch) = answer.next().await? {
        rows.extend(typed_rows(&batch)?);
        if rows.len() > EXECUTE_ROWS {
            return Err(answer.failed(&Error::new(
                ErrorKind::OutOfRange,
                format!(
                    "the result has more than {EXECUTE_ROWS} rows: use Query, which streams them"
                ),
            )));
        }
    }
    let response = ExecuteResponse {
        columns: columns(answer.schema()),
        summary: Some(summary(&answer)),
        rows,
    };
    if response.encoded_len() > MESSAGE_BYTES {
        return Err(answer.failed(&Error::new(
            ErrorKind::OutOfRange,
            format!(
                "the result has more than {MESSAGE_BYTES} bytes: use Query, which streams them"
            ),
        )));
    }
    Ok(response)
}

fn summary(answer: &Answer) -> Summary {
    let (rows, elapsed) = answer.so_far();
    let (queued, planning) = answer.beginning();
    let read = answer.read();
    Summary {
        rows,
        elapsed: elapsed.try_into().ok(),
        table_versions: answer.versions().into_iter().collect(),
        queued: queued.try_into().ok(),
        planning: planning.try_into().ok(),
        execution: elapsed.saturating_sub(queued + planning).try_into().ok(),
        rows_read: read.rows,
        bytes_read: read.bytes,
        files_read: read.files,
        files_total: read.files_total,
    }
}

fn header(answer: &Answer) -> Header {
    Header {
        query_id: answer.query_id().to_owned(),
        columns: columns(answer.schema()),
    }
}

fn columns(schema: &Schema) -> Vec<Column> {
    let columns = schema.fields().iter().map(|field| Column {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    });
    columns.collect()
}

fn reply(payload: Payload) -> QueryResponse {
    QueryResponse {
        payload: Some(payload),
    }
}
