//! `system.jobs` and `system.job_runs`: what is scheduled, and what came of it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, TimestampMillisecondArray};
use datafusion::catalog::TableProvider;
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{col, lit};
use didymium_store::{JOB_RUNS, SnapshotTable, Store, job_runs};

use crate::Result;
use crate::system::{in_memory, rows, texts};

/// A job in the list of those that a caller may know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedJob {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whose it is.
    pub owner: String,
    /// When it is due, in words.
    pub schedule: String,
    /// Where its rows go, in words.
    pub target: String,
    /// `active`, `paused` or `suspended`.
    pub state: &'static str,
    /// When it is due next, in milliseconds since 1970, where a clock decides.
    pub next_ms: Option<i64>,
    /// The logical time of the run under way.
    pub running_ms: Option<i64>,
    /// The logical time of its last run.
    pub last_ms: Option<i64>,
    /// What came of it.
    pub last_status: Option<&'static str>,
    /// When a run last succeeded.
    pub last_success_ms: Option<i64>,
    /// Whether what it waits for has not arrived by its day.
    pub overdue: bool,
    /// Its statement.
    pub sql: String,
}

/// Whose runs a caller may know of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunsOf {
    /// Everybody's.
    #[default]
    Everybody,
    /// Those of one owner's jobs.
    Owner(String),
}

/// The jobs that the caller may know of.
pub(crate) fn jobs(jobs: &[ListedJob]) -> Result<Arc<dyn TableProvider>> {
    let text = |text: fn(&ListedJob) -> &str| texts(jobs.iter().map(|job| Some(text(job))));
    let time = |time: fn(&ListedJob) -> Option<i64>| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter(jobs.iter().map(time)))
    };
    let overdue = jobs.iter().map(|job| Some(job.overdue));
    in_memory(rows([
        ("job_name", text(|job| &job.name)),
        ("owner", text(|job| &job.owner)),
        ("state", text(|job| job.state)),
        ("schedule", text(|job| &job.schedule)),
        ("target", text(|job| &job.target)),
        ("next_run", time(|job| job.next_ms)),
        ("running", time(|job| job.running_ms)),
        ("last_run", time(|job| job.last_ms)),
        ("last_status", texts(jobs.iter().map(|job| job.last_status))),
        ("last_success_at", time(|job| job.last_success_ms)),
        ("overdue", Arc::new(BooleanArray::from_iter(overdue))),
        ("description", text(|job| &job.description)),
        ("sql", text(|job| &job.sql)),
    ]))
}

/// The runs of those jobs, from the store's own table.
pub(crate) async fn runs(store: &Store, of: &RunsOf) -> Result<Arc<dyn TableProvider>> {
    if !store.has_table(JOB_RUNS).await? {
        return no_runs();
    }
    let table = store.table(JOB_RUNS).await?;
    let snapshot = table.snapshot().await?;
    let runs = Arc::new(SnapshotTable::new(table, snapshot));
    let RunsOf::Owner(owner) = of else {
        return Ok(runs);
    };
    let plan = LogicalPlanBuilder::scan("job_runs", provider_as_source(runs), None)?
        .filter(col("owner_id").eq(lit(owner.as_str())))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The same table of a store in which no job has run.
pub(crate) fn no_runs() -> Result<Arc<dyn TableProvider>> {
    let none = MemTable::try_new(job_runs()?.schema(), vec![Vec::new()])?;
    Ok(Arc::new(none))
}
