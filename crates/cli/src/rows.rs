//! A query's rows, from a server or from a store in this process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use async_trait::async_trait;
use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_client::QueryServiceClient;
use didymium_api::v1::{Date, QueryRequest, QueryResponse};
use didymium_engine::{Engine, Known, ListedJob, QueryResult, RunningQuery};
use didymium_jobs::Overview;
use didymium_model::Day;
use didymium_store::Store;
use tonic::Streaming;

use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::target::{Connection, Target, engine};

/// What is asked.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) sql: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) published_as_of: Option<Day>,
}

impl Question {
    pub(crate) fn of(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            ..Self::default()
        }
    }
}

/// The rows of one query, as they come.
pub(crate) enum Rows {
    /// From the engine in this process.
    Embedded {
        result: QueryResult,
        _engine: Arc<Engine>,
    },
    /// From a server.
    Remote(Box<Remote>),
}

/// A server's answer, decoded as it arrives.
pub(crate) struct Remote {
    replies: Streaming<QueryResponse>,
    decoder: StreamDecoder,
    decoded: VecDeque<RecordBatch>,
    complete: bool,
}

/// What a process knows that opened the store itself.
#[derive(Debug)]
struct Beside(Overview);

#[async_trait]
impl Known for Beside {
    fn queries(&self) -> Vec<RunningQuery> {
        Vec::new()
    }

    /// Servers run them, not this process.
    async fn jobs(&self) -> didymium_engine::Result<Vec<ListedJob>> {
        let listed = self.0.listed(|_| true, |_| None).await;
        listed.map_err(|error| didymium_engine::Error::new(error.kind(), error.to_string()))
    }
}

impl Rows {
    /// Starts a query.
    pub(crate) async fn of(target: &TargetArgs, question: Question) -> Result<Self, Failure> {
        match Target::of(target).await? {
            Target::Server(channel) => Ok(Self::Remote(Box::new(
                Remote::ask(channel, question).await?,
            ))),
            Target::Store(store) => Self::embedded(store, question).await,
        }
    }

    async fn embedded(store: Arc<Store>, question: Question) -> Result<Self, Failure> {
        let engine = engine(store)?;
        let known = Beside(Overview::of(Arc::clone(&engine)));
        let request = didymium_engine::QueryRequest {
            sql: question.sql,
            timeout: question.timeout,
            published_as_of: question.published_as_of,
            // Whoever opens the store itself may do all with it.
            may_write: true,
            author: crate::load::author(),
            known: Some(Arc::new(known)),
            ..didymium_engine::QueryRequest::default()
        };
        let result = engine.query(request).await?;
        Ok(Self::Embedded {
            result,
            _engine: engine,
        })
    }

    /// The next rows; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        match self {
            Self::Embedded { result, .. } => Ok(result.next().await.transpose()?),
            Self::Remote(remote) => remote.next().await,
        }
    }

    /// The columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Embedded { result, .. } => Arc::clone(result.schema()),
            Self::Remote(remote) => remote
                .decoder
                .schema()
                .unwrap_or_else(|| Arc::new(Schema::empty())),
        }
    }

    /// Every row at once.
    pub(crate) async fn collect(mut self) -> Result<Vec<RecordBatch>, Failure> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

/// A day in the words of the wire.
pub(crate) fn date(day: Day) -> Option<Date> {
    day.ymd()
        .map(|(year, month, day)| Date { year, month, day })
}

impl Remote {
    async fn ask(connection: Connection, question: Question) -> Result<Self, Failure> {
        let timeout = question
            .timeout
            .map(TryInto::try_into)
            .transpose()
            .map_err(|_| Failure::usage("the timeout is too long"))?;
        let request = QueryRequest {
            sql: question.sql,
            timeout,
            published_as_of: question.published_as_of.and_then(date),
            ..QueryRequest::default()
        };
        let replies = QueryServiceClient::new(connection).query(request).await?;
        let replies = replies.into_inner();
        let mut remote = Self {
            replies,
            decoder: StreamDecoder::new(),
            decoded: VecDeque::new(),
            complete: false,
        };
        // The schema comes before any row: writers need it first.
        while remote.decoder.schema().is_none() && remote.receive().await? {}
        Ok(remote)
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        loop {
            if let Some(batch) = self.decoded.pop_front() {
                return Ok(Some(batch));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// Takes one reply; false after the last.
    async fn receive(&mut self) -> Result<bool, Failure> {
        match self.replies.message().await? {
            Some(QueryResponse {
                payload: Some(Payload::ArrowIpc(bytes)),
            }) => {
                let mut buffer = Buffer::from_vec(bytes.to_vec());
                while let Some(batch) = self.decoder.decode(&mut buffer)? {
                    self.decoded.push_back(batch);
                }
            }
            Some(QueryResponse {
                payload: Some(Payload::Summary(_)),
            }) => self.complete = true,
            Some(_) => {}
            None if self.complete => return Ok(false),
            None => return Err(Failure::unreachable("the answer was cut off")),
        }
        Ok(true)
    }
}
