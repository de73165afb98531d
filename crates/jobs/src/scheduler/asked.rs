//! What callers ask of the scheduler: to look at a definition, to run a job now or for a time that has passed, to
//! stop a run or to make it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use didymium_engine::ListedJob;
use tokio_util::sync::CancellationToken;

use super::{Scheduler, broke_off, lock};
use crate::definition::RESULT;
use crate::executor::Task;
use crate::jobs::{Job, Owner};
use crate::overview::JobStatus;
use crate::replay::{Replayed, replay};
use crate::result::{Asking, Pins};
use crate::run::{Run, RunKind, RunStatus};
use crate::{Declared, Definition, Error, Result, logical_time, new_table};

/// Runs of one backfill.
const BACKFILLED: usize = 10_000;

impl Scheduler {
    /// Makes the jobs that files declare what the files say.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an owner who may not run jobs; as [`crate::Jobs::declare`].
    pub async fn declare(&self, declared: Vec<Declared>) -> Result<()> {
        let mut owned = Vec::new();
        for Declared { definition, owner } in declared {
            let name = definition.name.clone();
            let rights = self.executor.owners.owner(&owner).await?;
            let rights = rights.ok_or_else(|| {
                Error::Unauthenticated(format!(
                    "job {name}: its owner {owner} is no token that may run jobs (role 'schedule')"
                ))
            })?;
            self.webhooks.check(&definition)?;
            // What it reads may come later.
            if let Err(error) = self.validate(&definition, &rights).await {
                tracing::warn!(job = name, %error, "the job can't run yet");
            }
            owned.push((definition, rights));
        }
        self.jobs
            .declare(owned, self.executor.engine.now_ms())
            .await
    }

    /// How a job stands, whichever server runs it.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn status(&self, job: &Job) -> Result<JobStatus> {
        let running_ms = self.running_ms(&job.definition.name);
        self.overview.status(job, running_ms).await
    }

    /// Some of the jobs, for `system.jobs`.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn listed(&self, is_seen: impl Fn(&Job) -> bool) -> Result<Vec<ListedJob>> {
        let running_ms = |name: &str| self.running_ms(name);
        self.overview.listed(is_seen, running_ms).await
    }

    /// The logical time of a job's run under way on this server.
    fn running_ms(&self, name: &str) -> Option<i64> {
        let under_way = lock(&self.under_way);
        let mut of_job = under_way.keys().filter(|(job, _)| job == name);
        of_job.next().map(|(_, logical_ms)| *logical_ms)
    }

    /// Refuses a definition that could not run: its statements are planned with its owner's rights.
    ///
    /// # Errors
    /// What its run would say.
    pub async fn validate(&self, definition: &Definition, owner: &Owner) -> Result<()> {
        definition.check()?;
        self.webhooks.check(definition)?;
        let engine = &self.executor.engine;
        if let Some(table) = definition.target_table()
            && !owner.grants.allows(table)
        {
            return Err(engine.unknown(table, &owner.grants).await.into());
        }
        if let Some(table) = definition.schedule.watched() {
            let is_seen = owner.grants.allows(table);
            if !is_seen || !engine.store().has_table(table).await? {
                return Err(engine.unknown(table, &owner.grants).await.into());
            }
        }
        let asking = Asking {
            engine,
            definition,
            owner,
            logical_ms: engine.now_ms(),
            pins: Pins::default(),
        };
        let described = engine.describe(asking.request(&definition.sql), ()).await;
        let described = described.map_err(|error| within_job(&definition.name, "sql", &error))?;
        if described.is_command {
            return Err(Error::Invalid(format!(
                "job {}: sql is one SELECT statement: its target says where its rows go",
                definition.name
            )));
        }
        if let Some(table) = definition.target_table()
            && !engine.store().has_table(table).await?
        {
            new_table::declaration(table, &definition.name, &described.schema)?;
        }
        for check in &definition.checks {
            let mut request = asking.request(&check.sql);
            let given = didymium_engine::Given {
                schema: Arc::clone(&described.schema),
                rows: Arc::default(),
            };
            request.given = BTreeMap::from([(RESULT.to_owned(), given)]);
            let planned = engine.describe(request, ()).await;
            let place = format!("check {}", check.name);
            let planned = planned.map_err(|error| within_job(&definition.name, &place, &error))?;
            if planned.is_command {
                return Err(Error::Invalid(format!(
                    "job {}, {place}: sql is one SELECT statement that gives the rows that are wrong",
                    definition.name
                )));
            }
        }
        Ok(())
    }

    /// Runs a job for a time, now, and waits for its end.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the run has landed before or is under way; a run that fails is none.
    pub async fn run_now(&self, job: &Job, logical_ms: i64, kind: RunKind) -> Result<Run> {
        let name = &job.definition.name;
        let time = logical_time::text(logical_ms);
        let refused = |what: &str| {
            Err(Error::Precondition(format!(
                "job {name}: the run of {time} {what}"
            )))
        };
        let before = self.runs.at(name, logical_ms).await?;
        if before.iter().any(|run| has_landed(run, job)) {
            return refused("has landed and can't land twice: replay it, or run for another time");
        }
        if lock(&self.under_way).contains_key(&(name.clone(), logical_ms)) {
            return refused("is under way");
        }
        let task = Task {
            job: job.clone(),
            logical_ms,
            kind,
            sequence: before.len() as u32,
        };
        let noted = self.noted(&task);
        let stop = noted.stop.clone();
        // Who goes away stops it, but not in the middle of its landing.
        let _stops = stop.clone().drop_guard();
        let executor = Arc::clone(&self.executor);
        let run = async move {
            let _noted = noted;
            executor.run(task, stop).await
        };
        let running = self.executor.engine.spawn(run).detach();
        let run = running.await.unwrap_or_else(|error| {
            tracing::error!(job = name, %error, "a run broke off");
            Err(broke_off())
        })?;
        self.count(&run);
        Ok(run)
    }

    /// Runs a job for every time of a span at which it was due and has not succeeded, one after the other.
    ///
    /// # Errors
    /// [`Error::Precondition`] where no clock says when it was due.
    pub async fn backfill(&self, job: &Job, from_ms: i64, to_ms: i64) -> Result<Vec<Run>> {
        let definition = &job.definition;
        let until_ms = to_ms.min(self.executor.engine.now_ms());
        let due = definition.schedule.due(from_ms - 1, until_ms, BACKFILLED);
        if !definition.schedule.is_clocked() {
            return Err(Error::Precondition(format!(
                "job {}: it is due by events and not by a clock: run it for a time of its own (run --at)",
                definition.name
            )));
        }
        if due.count > due.newest.len() as u64 {
            return Err(Error::Invalid(format!(
                "job {}: {} runs are more than the {BACKFILLED} of one backfill: choose a shorter span",
                definition.name, due.count
            )));
        }
        let mut runs = Vec::new();
        for logical_ms in due.newest {
            let before = self.runs.at(&definition.name, logical_ms).await?;
            if !before.iter().any(|run| has_landed(run, job)) {
                runs.push(self.run_now(job, logical_ms, RunKind::Backfill).await?);
            }
        }
        Ok(runs)
    }

    /// Stops a run of this server's. Says whether there was one.
    pub fn cancel(&self, job: &str, logical_ms: i64) -> bool {
        let under_way = lock(&self.under_way);
        let stop = under_way.get(&(job.to_owned(), logical_ms));
        stop.map(CancellationToken::cancel).is_some()
    }

    /// The newest runs, of one job or of all, of one owner's or everybody's, before a time.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn runs(
        &self,
        job: Option<&str>,
        owner: Option<&str>,
        before_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Run>> {
        self.runs.newest(job, owner, before_ms, limit).await
    }

    /// Makes a run's rows again from the versions that it read.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a run that is not in the history; [`Error::Precondition`] for one that did not
    /// succeed, and where a version can't be read any more.
    pub async fn replay(&self, job: &Job, logical_ms: i64) -> Result<Replayed> {
        let name = &job.definition.name;
        let mut runs = self.runs.at(name, logical_ms).await?.into_iter();
        let run = runs.find(|run| run.owner_id == job.owner);
        let run = run.ok_or_else(|| {
            let time = logical_time::text(logical_ms);
            Error::Unknown(format!("there is no run of {name} for {time}"))
        })?;
        replay(&self.executor, &run).await
    }
}

/// Whether a run has brought rows of this job, and not of another owner's of the same name.
fn has_landed(run: &Run, job: &Job) -> bool {
    run.status == RunStatus::Succeeded && run.owner_id == job.owner
}

fn within_job(job: &str, place: &str, error: &didymium_engine::Error) -> Error {
    let said = format!("job {job}, {place}: {error}");
    didymium_engine::Error::new(error.kind(), said).into()
}
