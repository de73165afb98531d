//! One query from its text to its last row.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::execute_stream;
use didymium_model::Day;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::conform::{conform, conformed_schema};
use crate::{Engine, Error, ErrorKind, Parameters, Result, guard, views};

/// One statement and how to run it.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    /// The text of one SELECT statement.
    pub sql: String,
    /// Time for the whole query; never more than the engine's own limit.
    pub timeout: Option<Duration>,
    /// The values of its parameters.
    pub parameters: Parameters,
    /// The day up to which the statement knows what was published; by default everything.
    pub published_as_of: Option<Day>,
    /// The time, in milliseconds since 1970, at which the store is read; by default now.
    pub committed_as_of_ms: Option<i64>,
}

/// A query's rows, as they come. Dropping it stops the query.
#[derive(Debug)]
pub struct QueryResult {
    schema: SchemaRef,
    versions: BTreeMap<String, u64>,
    rows: mpsc::Receiver<Result<RecordBatch>>,
    deadline: Deadline,
    ended: bool,
    /// Stops the query when it is dropped.
    running: AbortOnDropHandle<()>,
}

/// What is known once a query is planned.
type Planned = (SchemaRef, BTreeMap<String, u64>);

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    after: Duration,
}

/// Batches that wait for a slow client.
const WAITING_BATCHES: usize = 2;

pub(crate) async fn start(engine: &Arc<Engine>, request: QueryRequest) -> Result<QueryResult> {
    let limit = engine.limits().timeout;
    let after = request.timeout.map_or(limit, |asked| asked.min(limit));
    let at = Instant::now()
        .checked_add(after)
        .ok_or_else(|| Error::invalid("the timeout is too long"))?;
    let deadline = Deadline { at, after };
    let (planned, is_planned) = tokio::sync::oneshot::channel();
    let (sender, rows) = mpsc::channel(WAITING_BATCHES);
    let on_threads = Arc::clone(engine);
    let running = engine.spawn(async move {
        let run = run(&on_threads, &request, planned, &sender);
        let failure = match timeout_at(deadline.at, AssertUnwindSafe(run).catch_unwind()).await {
            // The reader knows the time as well; a slow one must not keep the query's memory.
            Err(_) | Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error,
            Ok(Err(panic)) => panicked(panic.as_ref()),
        };
        // Where the client has gone, nobody needs to know.
        let _ = sender.send(Err(failure)).await;
    });
    let mut result = QueryResult {
        schema: Arc::new(arrow::datatypes::Schema::empty()),
        versions: BTreeMap::new(),
        rows,
        deadline,
        ended: false,
        running,
    };
    match timeout_at(deadline.at, is_planned).await {
        Err(_) => Err(deadline.passed()),
        Ok(Ok((schema, versions))) => {
            (result.schema, result.versions) = (schema, versions);
            Ok(result)
        }
        // It failed before it was planned: the failure is all that it sends.
        Ok(Err(_)) => match result.next().await {
            Some(Err(error)) => Err(error),
            _ => Err(Error::new(
                ErrorKind::Internal,
                "the query ended without a word",
            )),
        },
    }
}

impl QueryResult {
    /// The columns, in types that every client knows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The version of each table that the query reads.
    pub fn versions(&self) -> &BTreeMap<String, u64> {
        &self.versions
    }

    /// The next rows; `None` after the last. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.ended {
            return None;
        }
        let next = match timeout_at(self.deadline.at, self.rows.recv()).await {
            // What is ready would come for ever to a reader that is slow.
            Ok(_) if Instant::now() >= self.deadline.at => Some(Err(self.deadline.passed())),
            Ok(next) => next,
            Err(_) => Some(Err(self.deadline.passed())),
        };
        if !matches!(next, Some(Ok(_))) {
            self.ended = true;
            self.running.abort();
        }
        next
    }
}

impl Deadline {
    fn passed(self) -> Error {
        Error::new(
            ErrorKind::Deadline,
            format!(
                "the query was stopped after {:?}: ask for less, or allow more time",
                self.after
            ),
        )
    }
}

/// Plans the statement, says so, and sends its rows.
async fn run(
    engine: &Engine,
    request: &QueryRequest,
    planned: tokio::sync::oneshot::Sender<Planned>,
    rows: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    let mut statement = guard::parse(&request.sql)?;
    let planning = engine.prepare(&mut statement, request).await?;
    let state = planning.state;
    let while_planning = |error| Error::while_planning(&error);
    let plan = state
        .statement_to_plan(statement)
        .await
        .map_err(while_planning)?;
    views::refuse_large(&plan)?;
    // The guard has said so already; this is the second wall.
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|error| Error::new(ErrorKind::Denied, Error::from(error).to_string()))?;
    let plan = state
        .create_physical_plan(&plan)
        .await
        .map_err(while_planning)?;
    let mut stream = execute_stream(plan, state.task_ctx())?;
    let schema = conformed_schema(&stream.schema());
    if planned
        .send((Arc::clone(&schema), planning.versions))
        .is_err()
    {
        return Ok(());
    }
    while let Some(batch) = stream.next().await {
        let batch = conform(&batch?, &schema)
            .map_err(|error| Error::from(datafusion::common::DataFusionError::from(error)))?;
        if batch.num_rows() > 0 && rows.send(Ok(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A panic in the engine ends its query and nothing else.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::new(ErrorKind::Internal, format!("the engine panicked: {text}"))
}
