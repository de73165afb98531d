//! `QueryService`: one statement in, one Arrow IPC stream out.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_server::QueryService;
use didymium_api::v1::{
    CancelRequest, CancelResponse, Column, ExecuteResponse, Header, QueryRequest, QueryResponse,
    Summary,
};
use didymium_engine::{Engine, IpcEncoder, QueryResult};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::request::query_request;
use crate::running::{Place, Running};
use crate::status::status;
use crate::typed_rows::typed_rows;

/// The most rows that [`execute`] gives in its one message.
const EXECUTE_ROWS: usize = 1000;

/// The longest message.
const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// The service over one engine.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) engine: Arc<Engine>,
    pub(crate) running: Arc<Running>,
    /// Cancelled when the server has waited long enough for running queries.
    pub(crate) stop: CancellationToken,
}

impl Queries {
    fn call(&self, request: Request<QueryRequest>) -> Result<Call, Status> {
        let place = self.running.enter(&request.get_ref().query_id)?;
        let query_id = place.query_id.clone();
        let request = query_request(request)?;
        tracing::info!(query_id, bytes = request.sql.len(), "query");
        let engine = Arc::clone(&self.engine);
        let stop = self.stop.clone();
        Ok(Call {
            place,
            stop,
            arrived: Instant::now(),
            request,
            engine,
        })
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
        let call = self.call(request)?;
        let stopped = call.stopped();
        let replies = stream::once(call.start()).try_flatten();
        Ok(Response::new(until_stopped(
            replies.boxed(),
            stopped.boxed(),
        )))
    }

    async fn execute(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        let call = self.call(request)?;
        let stopped = call.stopped();
        tokio::select! {
            response = execute(call) => response.map(Response::new),
            status = stopped => Err(status),
        }
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let query_id = request.into_inner().query_id;
        match self.running.cancel(&query_id) {
            true => Ok(Response::new(CancelResponse {})),
            false => Err(Status::not_found(format!("no query {query_id} is running"))),
        }
    }
}

/// Replies until the last one, or until the query is stopped, which is an error: a stream that merely
/// ended would look complete. Dropping it drops the query.
fn until_stopped(
    replies: BoxStream<'static, Result<QueryResponse, Status>>,
    stopped: BoxFuture<'static, Status>,
) -> BoxStream<'static, Result<QueryResponse, Status>> {
    let step = |state: Option<(BoxStream<'static, _>, BoxFuture<'static, Status>)>| async move {
        let (mut replies, mut stopped) = state?;
        tokio::select! {
            biased;
            reply = replies.next() => {
                let reply: Result<QueryResponse, Status> = reply?;
                let goes_on = match &reply {
                    Ok(reply) => !matches!(reply.payload, Some(Payload::Summary(_))),
                    Err(_) => false,
                };
                Some((reply, goes_on.then_some((replies, stopped))))
            }
            status = &mut stopped => Some((Err(status), None)),
        }
    };
    stream::unfold(Some((replies, stopped)), step).boxed()
}

/// One call on its way.
struct Call {
    place: Place,
    stop: CancellationToken,
    arrived: Instant,
    request: didymium_engine::QueryRequest,
    engine: Arc<Engine>,
}

/// A call whose rows are being sent.
struct Sending {
    place: Place,
    arrived: Instant,
    result: QueryResult,
    encoder: Option<IpcEncoder>,
    rows: u64,
}

impl Call {
    /// Ready when the query must end before its time, with what its client is told.
    fn stopped(&self) -> impl Future<Output = Status> + Send + 'static {
        let query_id = self.place.query_id.clone();
        let (cancelled, stop) = (self.place.cancelled.clone(), self.stop.clone());
        async move {
            tokio::select! {
                () = cancelled.cancelled_owned() => {
                    Status::cancelled(format!("query {query_id} was cancelled"))
                }
                () = stop.cancelled_owned() => Status::unavailable(format!(
                    "the server is shutting down; query {query_id} was stopped"
                )),
            }
        }
    }

    /// Plans the query and gives its replies; whatever fails carries the query's id.
    async fn start(
        self,
    ) -> Result<impl Stream<Item = Result<QueryResponse, Status>> + Send, Status> {
        let Self {
            place,
            arrived,
            request,
            engine,
            ..
        } = self;
        let to_status = |error| status(&error, &place.query_id);
        let result = engine.query(request).await.map_err(to_status)?;
        let mut encoder = IpcEncoder::new(result.schema()).map_err(to_status)?;
        let header = header(&place.query_id, &result);
        let schema = encoder.take();
        if header.encoded_len().max(schema.len()) > MESSAGE_BYTES {
            return Err(Status::out_of_range(
                "the names of the columns fill more than a message: give them shorter aliases",
            ));
        }
        let first = vec![
            reply(Payload::Header(header)),
            reply(Payload::ArrowIpc(schema)),
        ];
        let sending = Sending {
            place,
            arrived,
            result,
            encoder: Some(encoder),
            rows: 0,
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
}

impl Sending {
    /// The replies for the next rows, or the last ones; `None` after those.
    async fn next(&mut self) -> Result<Option<Vec<QueryResponse>>, Status> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(None);
        };
        let Some(rows) = self.result.next().await else {
            return self.finish().map(Some);
        };
        let rows = rows.map_err(|error| status(&error, &self.place.query_id))?;
        let chunks = encoder
            .encode(&rows)
            .map_err(|error| status(&error, &self.place.query_id))?;
        self.rows += rows.num_rows() as u64;
        let replies = chunks
            .into_iter()
            .map(|chunk| reply(Payload::ArrowIpc(chunk)));
        Ok(Some(replies.collect()))
    }

    fn finish(&mut self) -> Result<Vec<QueryResponse>, Status> {
        let end = self.encoder.take().map(IpcEncoder::finish).transpose();
        let end = end
            .map_err(|error| status(&error, &self.place.query_id))?
            .unwrap_or_default();
        let elapsed = self.arrived.elapsed();
        tracing::info!(
            query_id = self.place.query_id,
            rows = self.rows,
            ?elapsed,
            "query done"
        );
        let summary = summary(self.rows, elapsed, &self.result);
        Ok(vec![
            reply(Payload::ArrowIpc(end)),
            reply(Payload::Summary(summary)),
        ])
    }
}

/// Runs a query to its end and gives its rows in one message.
async fn execute(call: Call) -> Result<ExecuteResponse, Status> {
    let Call {
        place,
        arrived,
        request,
        engine,
        ..
    } = call;
    let to_status = |error| status(&error, &place.query_id);
    let mut result = engine.query(request).await.map_err(to_status)?;
    let mut rows = Vec::new();
    while let Some(batch) = result.next().await {
        rows.extend(typed_rows(&batch.map_err(to_status)?)?);
        if rows.len() > EXECUTE_ROWS {
            return Err(Status::out_of_range(format!(
                "the result has more than {EXECUTE_ROWS} rows: use Query, which streams them"
            )));
        }
    }
    let response = ExecuteResponse {
        columns: columns(&result),
        summary: Some(summary(rows.len() as u64, arrived.elapsed(), &result)),
        rows,
    };
    if response.encoded_len() > MESSAGE_BYTES {
        return Err(Status::out_of_range(format!(
            "the result has more than {MESSAGE_BYTES} bytes: use Query, which streams them"
        )));
    }
    Ok(response)
}

fn summary(rows: u64, elapsed: Duration, result: &QueryResult) -> Summary {
    Summary {
        rows,
        elapsed: elapsed.try_into().ok(),
        table_versions: result.versions().clone().into_iter().collect(),
    }
}

fn header(query_id: &str, result: &QueryResult) -> Header {
    Header {
        query_id: query_id.to_owned(),
        columns: columns(result),
    }
}

fn columns(result: &QueryResult) -> Vec<Column> {
    let fields = result.schema().fields().iter();
    let columns = fields.map(|field| Column {
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
