//! How jobs stand, whichever server runs them.

use std::sync::Arc;

use didymium_engine::{Engine, ListedJob};

use crate::Result;
use crate::jobs::{Job, Jobs};
use crate::run::Run;
use crate::runs::{Runs, Standing};

/// What a store says of its jobs.
#[derive(Debug, Clone)]
pub struct Overview {
    jobs: Jobs,
    runs: Runs,
    engine: Arc<Engine>,
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// Whether it runs when it is due.
    pub state: JobState,
    /// When it is due next, where a clock decides.
    pub next_ms: Option<i64>,
    /// Its newest run.
    pub last: Option<Run>,
    /// When a run last succeeded.
    pub last_success_ms: Option<i64>,
    /// Whether what it waits for has not arrived by its day.
    pub overdue: bool,
    /// The logical time of the run under way on this server.
    pub running_ms: Option<i64>,
}

/// Whether a job runs when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It does.
    Active,
    /// Somebody lets it rest.
    Paused,
    /// Too many of its runs have failed.
    Suspended,
}

impl JobState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
        }
    }
}

impl Overview {
    /// That of the store that an engine queries.
    pub fn of(engine: Arc<Engine>) -> Self {
        Self {
            jobs: Jobs::of(Arc::clone(engine.store())),
            runs: Runs::of(Arc::clone(&engine)),
            engine,
        }
    }

    /// How a job stands; `running_ms` is the logical time of its run under way.
    ///
    /// # Errors
    /// Where the storage fails.
    pub(crate) async fn status(&self, job: &Job, running_ms: Option<i64>) -> Result<JobStatus> {
        let name = &job.definition.name;
        let standing = self.runs.standing(job).await?;
        let last = self.runs.last(name, &job.owner).await?;
        let now_ms = self.engine.now_ms();
        let state = state(job, standing.failures);
        let cursor_ms = cursor_ms(job, &standing);
        Ok(JobStatus {
            next_ms: match state {
                JobState::Active => job.definition.schedule.next(cursor_ms.max(now_ms)),
                _ => None,
            },
            overdue: overdue(job, cursor_ms, now_ms).is_some(),
            last_success_ms: standing.succeeded_ms,
            running_ms,
            last,
            state,
        })
    }

    /// Some of the jobs, for `system.jobs`.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn listed(
        &self,
        is_seen: impl Fn(&Job) -> bool,
        running_ms: impl Fn(&str) -> Option<i64>,
    ) -> Result<Vec<ListedJob>> {
        let mut listed = Vec::new();
        for job in self.jobs.list().await?.into_iter().filter(is_seen) {
            let running_ms = running_ms(&job.definition.name);
            let status = self.status(&job, running_ms).await?;
            let last = status.last.as_ref();
            listed.push(ListedJob {
                schedule: job.definition.schedule.to_string(),
                target: job.definition.target.to_string(),
                state: status.state.name(),
                next_ms: status.next_ms,
                running_ms: status.running_ms,
                last_ms: last.map(|run| run.logical_ms),
                last_status: last.map(|run| run.status.name()),
                last_success_ms: status.last_success_ms,
                overdue: status.overdue,
                owner: job.owner_name,
                name: job.definition.name,
                description: job.definition.description,
                sql: job.definition.sql,
            });
        }
        Ok(listed)
    }
}

pub(crate) fn state(job: &Job, failures: u32) -> JobState {
    let most = job.definition.policy.suspend_after;
    match job.paused {
        true => JobState::Paused,
        false if most > 0 && failures >= most => JobState::Suspended,
        false => JobState::Active,
    }
}

/// Up to when all that was due is settled.
pub(crate) fn cursor_ms(job: &Job, standing: &Standing) -> i64 {
    let settled = standing.settled_ms.unwrap_or(i64::MIN);
    settled.max(job.active_since_ms)
}

/// The release that should have arrived by now, by its logical time.
pub(crate) fn overdue(job: &Job, cursor_ms: i64, now_ms: i64) -> Option<i64> {
    let release = job.definition.schedule.release()?;
    let due_ms = job.definition.schedule.next(cursor_ms)?;
    (now_ms >= release.overdue_from(due_ms)).then_some(due_ms)
}
