//! One query from its text to its last row.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use didymium_model::Day;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::command::{Parsed, parsed};
use crate::conform::{conform, conformed_schema};
use crate::engine::Planning;
use crate::limits::CONSTANTS_BYTES;
use crate::portions::{batch_rows, meter};
use crate::warnings::warnings;
use crate::{
    Engine, Error, ErrorKind, Given, Grants, Known, Parameters, Reading, Result, RunsOf, Share,
    Warning, pieces, views,
};

/// One statement and how to run it.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    /// The text of one SELECT statement.
    pub sql: String,
    /// Time for the whole query; never more than the engine's own limit.
    pub timeout: Option<Duration>,
    /// Bytes of its sorts, joins and aggregates; never more than the engine's own limit.
    pub memory_bytes: Option<usize>,
    /// The values of its parameters.
    pub parameters: Parameters,
    /// The day up to which the statement knows what was published; by default everything.
    pub published_as_of: Option<Day>,
    /// The time, in milliseconds since 1970, at which the store is read; by default now.
    pub committed_as_of_ms: Option<i64>,
    /// The versions in which some tables are read, whatever the time.
    pub versions: BTreeMap<String, u64>,
    /// The zone in which times without one are read; by default UTC.
    pub time_zone: Option<String>,
    /// The tables that the caller may name.
    pub grants: Grants,
    /// Whether the caller may make and drop views.
    pub may_write: bool,
    /// Who asks, for the views that they make.
    pub author: String,
    /// What the caller may know of the process around the engine; by default nothing.
    pub known: Option<Arc<dyn Known>>,
    /// Those whose runs the caller may know of, for `system.job_runs`.
    pub runs_of: RunsOf,
    /// Tables that only this statement has.
    pub given: BTreeMap<String, Given>,
}

impl QueryRequest {
    /// Shortens its time to another limit, where there is one.
    pub fn limit_time(&mut self, limit: Option<Duration>) {
        self.timeout = self.timeout.into_iter().chain(limit).min();
    }
}

/// A query's rows, as they come. Dropping it stops the query.
#[derive(Debug)]
pub struct QueryResult {
    planned: Planned,
    rows: mpsc::Receiver<Result<RecordBatch>>,
    deadline: Deadline,
    ended: bool,
    /// Stops the query when it is dropped.
    running: AbortOnDropHandle<()>,
}

/// What is known once a query is planned.
#[derive(Debug)]
struct Planned {
    schema: SchemaRef,
    versions: BTreeMap<String, u64>,
    warnings: Vec<Warning>,
    reading: Option<Reading>,
    share: Option<Arc<Share>>,
    /// How long it took.
    planning: Duration,
}

impl Planned {
    /// Nothing to run.
    fn nothing() -> Self {
        Self {
            schema: Arc::new(Schema::empty()),
            versions: BTreeMap::new(),
            warnings: Vec::new(),
            reading: None,
            share: None,
            planning: Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    after: Duration,
}

/// Pieces of rows that wait for a slow client.
const WAITING_BATCHES: usize = 2;

pub(crate) async fn start(
    engine: &Arc<Engine>,
    request: QueryRequest,
    held: impl Send + 'static,
) -> Result<QueryResult> {
    let deadline = Deadline::of(engine, &request)?;
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
        drop(held);
        // Where the client has gone, nobody needs to know.
        let _ = sender.send(Err(failure)).await;
    });
    let mut result = QueryResult {
        planned: Planned::nothing(),
        rows,
        deadline,
        ended: false,
        running,
    };
    match timeout_at(deadline.at, is_planned).await {
        Err(_) => Err(deadline.passed()),
        Ok(Ok(planned)) => {
            result.planned = planned;
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
        &self.planned.schema
    }

    /// The version of each table that the query reads.
    pub fn versions(&self) -> &BTreeMap<String, u64> {
        &self.planned.versions
    }

    /// What its author may not have meant.
    pub fn warnings(&self) -> &[Warning] {
        &self.planned.warnings
    }

    /// How long planning took.
    pub fn planning(&self) -> Duration {
        self.planned.planning
    }

    /// The memory that it may take; `None` for a statement that only does something.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.planned.share.as_ref()
    }

    /// What it reads; `None` for a statement that only does something.
    pub fn reading(&self) -> Option<&Reading> {
        self.planned.reading.as_ref()
    }

    /// All rows that are left, at once.
    ///
    /// # Errors
    /// The query's own.
    pub async fn rest(&mut self) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        while let Some(rows) = self.next().await {
            batches.push(rows?);
        }
        concat_batches(self.schema(), &batches)
            .map_err(|error| Error::from(datafusion::common::DataFusionError::from(error)))
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
    /// The request's own, or the engine's where that is sooner.
    fn of(engine: &Engine, request: &QueryRequest) -> Result<Self> {
        let limit = engine.limits().timeout;
        let after = request.timeout.map_or(limit, |asked| asked.min(limit));
        let at = Instant::now().checked_add(after);
        let at = at.ok_or_else(|| Error::invalid("the timeout is too long"))?;
        Ok(Self { at, after })
    }

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

/// Plans the statement, says so, and sends its rows; or does what it says.
async fn run(
    engine: &Arc<Engine>,
    request: &QueryRequest,
    planned: tokio::sync::oneshot::Sender<Planned>,
    rows: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    let arrived = Instant::now();
    let statement = match parsed(&request.sql)? {
        Parsed::Query(statement) => statement,
        Parsed::Command(command) => {
            engine.run_command(command, request).await?;
            // Where the client has gone, nobody needs to know.
            let _ = planned.send(Planned::nothing());
            return Ok(());
        }
    };
    let Plan {
        state,
        plan,
        versions,
        warnings,
        files,
        share,
    } = plan(engine, statement, request).await?;
    let schema = conformed_schema(&plan.schema());
    let now = Planned {
        schema: Arc::clone(&schema),
        versions,
        warnings,
        reading: Some(Reading::of(&plan, files)),
        share: Some(share),
        planning: arrived.elapsed(),
    };
    let config = state.config().clone();
    let size = batch_rows(&plan, config.batch_size())?;
    let context = TaskContext::from(&state).with_session_config(config.with_batch_size(size));
    let mut stream = execute_stream(plan, Arc::new(context))?;
    if planned.send(now).is_err() {
        return Ok(());
    }
    while let Some(batch) = stream.next().await {
        let batch = conform(&batch?, &schema)
            .map_err(|error| Error::from(datafusion::common::DataFusionError::from(error)))?;
        let limit = engine.limits().idle;
        // Long rows wait in small pieces for a reader that is slow.
        for piece in pieces(&batch)? {
            match tokio::time::timeout(limit, rows.send(Ok(piece))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Deadline,
                        format!("the query was stopped: its rows were not read for {limit:?}"),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A statement that can be run.
pub(crate) struct Plan {
    pub(crate) state: SessionState,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) warnings: Vec<Warning>,
    /// Files of those versions.
    files: u64,
    share: Arc<Share>,
}

/// Plans a request's query, which is parsed.
pub(crate) async fn plan(
    engine: &Engine,
    mut statement: Statement,
    request: &QueryRequest,
) -> Result<Plan> {
    let Planning {
        state,
        versions,
        files,
        share,
    } = engine.prepare(&mut statement, request).await?;
    let while_planning = |error| Error::while_planning(&error);
    // Constants are made while a statement is planned, and kept.
    let constants = meter::Account::of(CONSTANTS_BYTES);
    constants.open();
    let plan = state.statement_to_plan(statement).await;
    let plan = plan.map_err(while_planning)?;
    views::refuse_large(&plan)?;
    // The guard has said so already; this is the second wall.
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|error| Error::new(ErrorKind::Denied, Error::from(error).to_string()))?;
    let warnings = warnings(&plan);
    let plan = state.create_physical_plan(&plan).await;
    meter::close();
    Ok(Plan {
        share,
        warnings,
        files,
        plan: plan.map_err(while_planning)?,
        state,
        versions,
    })
}

/// A panic in the engine ends its query and nothing else.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::new(ErrorKind::Internal, format!("the engine panicked: {text}"))
}
