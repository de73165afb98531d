//! `QueryService`: one statement in, one Arrow IPC stream out.

use std::sync::Arc;
use std::time::Instant;

use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_server::QueryService;
use didymium_api::v1::{Column, Header, QueryRequest, QueryResponse, Summary};
use didymium_engine::{Engine, IpcEncoder, QueryResult};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::request::query_request;
use crate::status::status;

/// The service over one engine.
#[derive(Debug)]
pub(crate) struct Queries {
    pub(crate) engine: Arc<Engine>,
    /// Cancelled when the server has waited long enough for running queries.
    pub(crate) stop: CancellationToken,
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
        let call = Call {
            query_id: Uuid::new_v4().to_string(),
            arrived: Instant::now(),
            request: query_request(request)?,
            engine: Arc::clone(&self.engine),
        };
        let (query_id, stop) = (call.query_id.clone(), self.stop.clone());
        tracing::info!(query_id, bytes = call.request.sql.len(), "query");
        let replies = stream::once(call.start()).try_flatten();
        let until = async move { stop.cancelled_owned().await };
        // A stopped server says so; a stream that merely ended would look complete.
        let last = stream::once(async move {
            Err(Status::unavailable(format!(
                "the server is shutting down; query {query_id} was stopped"
            )))
        });
        let replies = end_after_summary_or_error(replies.take_until(until).chain(last));
        Ok(Response::new(replies.boxed()))
    }
}

/// Ends a stream after its summary or its first error, whichever comes.
fn end_after_summary_or_error(
    replies: impl stream::Stream<Item = Result<QueryResponse, Status>> + Send + 'static,
) -> impl stream::Stream<Item = Result<QueryResponse, Status>> + Send + 'static {
    replies.scan(false, |ended, reply| {
        if *ended {
            return std::future::ready(None);
        }
        *ended = match &reply {
            Ok(reply) => matches!(reply.payload, Some(Payload::Summary(_))),
            Err(_) => true,
        };
        std::future::ready(Some(reply))
    })
}

/// One call on its way.
struct Call {
    query_id: String,
    arrived: Instant,
    request: didymium_engine::QueryRequest,
    engine: Arc<Engine>,
}

/// A call whose rows are being sent.
struct Sending {
    query_id: String,
    arrived: Instant,
    result: QueryResult,
    encoder: Option<IpcEncoder>,
    rows: u64,
}

impl Call {
    /// Plans the query and gives its replies; whatever fails carries the query's id.
    async fn start(
        self,
    ) -> Result<impl stream::Stream<Item = Result<QueryResponse, Status>> + Send, Status> {
        let Self {
            query_id,
            arrived,
            request,
            engine,
        } = self;
        let to_status = |error| status(&error, &query_id);
        let result = engine.query(request).await.map_err(to_status)?;
        let mut encoder = IpcEncoder::new(result.schema()).map_err(to_status)?;
        let first = vec![
            reply(Payload::Header(header(&query_id, &result))),
            reply(Payload::ArrowIpc(encoder.take())),
        ];
        let sending = Sending {
            query_id,
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
        let rows = rows.map_err(|error| status(&error, &self.query_id))?;
        let chunks = encoder
            .encode(&rows)
            .map_err(|error| status(&error, &self.query_id))?;
        self.rows += rows.num_rows() as u64;
        let replies = chunks
            .into_iter()
            .map(|chunk| reply(Payload::ArrowIpc(chunk)));
        Ok(Some(replies.collect()))
    }

    fn finish(&mut self) -> Result<Vec<QueryResponse>, Status> {
        let end = self.encoder.take().map(IpcEncoder::finish).transpose();
        let end = end
            .map_err(|error| status(&error, &self.query_id))?
            .unwrap_or_default();
        let elapsed = self.arrived.elapsed();
        tracing::info!(
            query_id = self.query_id,
            rows = self.rows,
            ?elapsed,
            "query done"
        );
        let summary = Summary {
            rows: self.rows,
            elapsed: elapsed.try_into().ok(),
            table_versions: self.result.versions().clone().into_iter().collect(),
        };
        Ok(vec![
            reply(Payload::ArrowIpc(end)),
            reply(Payload::Summary(summary)),
        ])
    }
}

fn header(query_id: &str, result: &QueryResult) -> Header {
    let columns = result.schema().fields().iter().map(|field| Column {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    });
    Header {
        query_id: query_id.to_owned(),
        columns: columns.collect(),
    }
}

fn reply(payload: Payload) -> QueryResponse {
    QueryResponse {
        payload: Some(payload),
    }
}
