//! One run from its start to its line in the history.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use didymium_engine::{Engine, ErrorKind};
use didymium_model::Day;
use didymium_store::Exports;
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::definition::Knowledge;
use crate::digest::sha256;
use crate::jobs::{Job, Owner};
use crate::landing::{Landed, Landing, Made};
use crate::lease::Lease;
use crate::result::{Asking, Pins};
use crate::run::{Run, RunKind, RunStatus};
use crate::runs::Runs;
use crate::settle::GRACE_MS;
use crate::{Error, Result, logical_time};

/// Who may run jobs.
#[async_trait]
pub trait Owners: fmt::Debug + Send + Sync {
    /// The rights that an owner has now; `None` for one who may not run jobs any more.
    ///
    /// # Errors
    /// Where the storage fails.
    async fn owner(&self, id: &str) -> Result<Option<Owner>>;
}

/// A run that is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) job: Job,
    pub(crate) logical_ms: i64,
    pub(crate) kind: RunKind,
    pub(crate) sequence: u32,
}

/// What runs have in common.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) engine: Arc<Engine>,
    pub(crate) runs: Runs,
    pub(crate) exports: Exports,
    pub(crate) owners: Arc<dyn Owners>,
    pub(crate) lease: Arc<Lease>,
    /// One for each run at a time.
    pub(crate) slots: Arc<Semaphore>,
}

/// How a run's attempts went.
#[derive(Debug, Default)]
struct Attempts {
    count: u32,
    made: Option<Made>,
}

/// The first wait before another attempt, and the longest.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

impl Executor {
    /// Runs it, and writes down what came of it.
    ///
    /// # Errors
    /// [`Error::Superseded`] where another server runs the jobs now, and where the history can't be written:
    /// then the run is not settled.
    pub(crate) async fn run(self: Arc<Self>, task: Task, stop: CancellationToken) -> Result<Run> {
        let started_ms = self.engine.now_ms();
        let mut attempts = Attempts::default();
        let outcome = self.attempts(&task, &stop, &mut attempts).await;
        if matches!(outcome, Err(Error::Superseded)) {
            return Err(Error::Superseded);
        }
        if outcome.is_ok() {
            note(&task, "landed");
        }
        let run = self.ended(&task, started_ms, &attempts, outcome);
        if task.kind.settles() {
            // What another server makes of it counts.
            self.lease.confirm().await?;
        }
        self.record(&run).await?;
        note(&task, "recorded");
        Ok(run)
    }

    /// Writes a run down, several times where the storage fails.
    pub(crate) async fn record(&self, run: &Run) -> Result<()> {
        (|| self.runs.record(run))
            .retry(delays(5))
            .sleep(sleep)
            .when(Error::may_pass)
            .await
    }

    async fn attempts(
        &self,
        task: &Task,
        stop: &CancellationToken,
        attempts: &mut Attempts,
    ) -> Result<Landed> {
        let policy = &task.job.definition.policy;
        let mut delays = delays(policy.retries).build();
        let mut deadline = None;
        loop {
            let slot = tokio::select! {
                () = stop.cancelled() => return Err(cancelled()),
                slot = self.slots.acquire() => slot,
            };
            // Waiting for others takes none of its time.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + policy.timeout);
            attempts.count += 1;
            note(task, "begun");
            let attempt = AssertUnwindSafe(self.attempt(task, stop, deadline, attempts));
            let attempt = attempt.catch_unwind().await;
            let error = match attempt.unwrap_or_else(|_| Err(panicked())) {
                Ok(landed) => return Ok(landed),
                Err(error) => error,
            };
            drop(slot);
            let delay = match error.may_pass() {
                true => delays.next(),
                false => None,
            };
            let Some(delay) = delay else {
                return Err(error);
            };
            let job = &task.job.definition.name;
            tracing::warn!(job, %error, ?delay, "a run's attempt failed");
            within(stop, deadline, policy.timeout, async {
                sleep(delay).await;
                Ok(())
            })
            .await?;
        }
    }

    async fn attempt(
        &self,
        task: &Task,
        stop: &CancellationToken,
        deadline: Instant,
        attempts: &mut Attempts,
    ) -> Result<Landed> {
        let definition = &task.job.definition;
        let limit = definition.policy.timeout;
        let owner_id = task.job.owner.as_str();
        let landing = Landing {
            owner: owner_id,
            store: self.engine.store(),
            exports: &self.exports,
            definition,
            logical_ms: task.logical_ms,
        };
        if let Some(landed) = landing.landed().await? {
            return Ok(landed);
        }
        let owner = self.owner(&task.job).await?;
        let known_by = self.known_by(task);
        let asking = Asking {
            engine: &self.engine,
            definition,
            owner: &owner,
            logical_ms: task.logical_ms,
            pins: Pins {
                known_by: Some(known_by),
                versions: BTreeMap::new(),
            },
        };
        let asked = async {
            let result = asking.result().await?;
            let made = Made::of(&result, owner_id, known_by);
            // Known of a run that fails its checks as well.
            attempts.made = Some(made.clone());
            asking.check(&result).await?;
            Ok((result, made))
        };
        let (result, made) = within(stop, deadline, limit, asked).await?;
        if task.kind.settles() {
            self.lease.confirm().await?;
        }
        note(task, "landing");
        // From here on it is not stopped: it lands, or it does not.
        landing.land(&asking, &result, made).await
    }

    /// The owner, with the rights of today.
    async fn owner(&self, job: &Job) -> Result<Owner> {
        let owner = self.owners.owner(&job.owner).await?;
        let owner = owner.ok_or_else(|| {
            Error::Unauthenticated(format!(
                "the token of the job's owner {} may not run jobs any more: it was revoked or has expired",
                job.owner_name
            ))
        })?;
        match job.definition.target_table() {
            Some(table) if !owner.grants.allows(table) => {
                Err(self.engine.unknown(table, &owner.grants).await.into())
            }
            _ => Ok(owner),
        }
    }

    /// The day up to which a run knows: always one that can be named again for its replay.
    fn known_by(&self, task: &Task) -> Day {
        let definition = &task.job.definition;
        let now_ms = self.engine.now_ms();
        let latest = self.engine.latest_day();
        let was_in_time = match task.kind {
            RunKind::Scheduled => true,
            RunKind::Manual => task.logical_ms >= now_ms - GRACE_MS,
            RunKind::CatchUp | RunKind::Backfill => false,
        };
        let is_pinned = match definition.policy.knowledge {
            // What an event starts sees what it brought.
            Knowledge::Auto => !was_in_time && definition.schedule.is_clocked(),
            Knowledge::RunDate => true,
            Knowledge::Now => false,
        };
        match is_pinned {
            true => logical_time::day(task.logical_ms, definition.schedule.zone()).min(latest),
            false => latest,
        }
    }

    fn ended(
        &self,
        task: &Task,
        started_ms: i64,
        attempts: &Attempts,
        outcome: Result<Landed>,
    ) -> Run {
        let mut run = self.line(task, started_ms);
        run.attempts = attempts.count;
        let made = match &outcome {
            Ok(landed) => Some(&landed.made),
            Err(_) => attempts.made.as_ref(),
        };
        if let Some(made) = made.filter(|made| !made.digest.is_empty()) {
            run.rows = Some(made.rows);
            run.bytes = Some(made.bytes);
            run.versions.clone_from(&made.versions);
            run.known_by = made.known_by.as_deref().and_then(Day::parse);
            run.rows_digest = Some(made.digest.clone());
        }
        match outcome {
            Ok(landed) => {
                run.status = RunStatus::Succeeded;
                run.committed_version = landed.version;
                run.file = landed.file;
                run.file_sha256 = landed.file_sha256;
                run.message = landed.remark;
            }
            Err(error) => {
                run.code = Some(error.code().to_owned());
                run.message = Some(error.to_string());
            }
        }
        run
    }

    /// A run that has failed, as far as it is known without its attempts.
    pub(crate) fn line(&self, task: &Task, started_ms: i64) -> Run {
        let job = &task.job;
        Run {
            job: job.definition.name.clone(),
            logical_ms: task.logical_ms,
            sequence: task.sequence,
            kind: task.kind,
            status: RunStatus::Failed,
            started_ms,
            ended_ms: self.engine.now_ms(),
            attempts: 0,
            rows: None,
            bytes: None,
            code: None,
            message: None,
            versions: BTreeMap::new(),
            known_by: None,
            sql_sha256: sha256(job.definition.sql.as_bytes()),
            rows_digest: None,
            committed_version: None,
            file: None,
            file_sha256: None,
            owner: job.owner_name.clone(),
            owner_id: job.owner.clone(),
            definition: Some(job.definition.clone()),
        }
    }
}

/// Growing waits, each a little longer or shorter than the next server's.
fn delays(times: u32) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_max_times(times as usize)
        .with_jitter()
}

/// Work that ends when it is stopped or its time is over.
async fn within<T>(
    stop: &CancellationToken,
    deadline: Instant,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        () = stop.cancelled() => Err(cancelled()),
        done = timeout_at(deadline, work) => done.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            let said = format!("the run was stopped after {limit}: raise its timeout, or let it do less");
            Err(didymium_engine::Error::new(ErrorKind::Deadline, said).into())
        }),
    }
}

fn cancelled() -> Error {
    didymium_engine::Error::new(ErrorKind::Cancelled, "the run was cancelled").into()
}

fn panicked() -> Error {
    let said = "the run panicked; the server's log says where";
    didymium_engine::Error::new(ErrorKind::Internal, said).into()
}

/// Says in the log how far a run has come.
fn note(task: &Task, point: &str) {
    let time = logical_time::text(task.logical_ms);
    tracing::debug!(job = task.job.definition.name, time, point, "run");
}
