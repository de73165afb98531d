//! What of a job is open: the times at which it was due by a clock, by commits, by a release, by another job.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Date32Type;
use didymium_engine::{Engine, QueryRequest};
use didymium_model::Day;

use crate::definition::{CatchUp, Policy};
use crate::jobs::{Job, Jobs};
use crate::run::{Run, RunKind, RunStatus};
use crate::runs::Runs;
use crate::schedule::{Release, Schedule};
use crate::settle::{self, Busy, Next, Open};
use crate::{Result, logical_time};

/// Fires that are in time: the most within a minute of every second.
const IN_TIME: usize = 64;

/// What has been seen of what a job waits for.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The version of the table that it watches, or of the history.
    version: Option<u64>,
    /// The times of commits.
    fires: Vec<i64>,
    /// The end of the newest period that the table knows.
    newest: Option<Day>,
    /// What the job before it has settled.
    before: Vec<Run>,
}

/// What is to be done next.
pub(crate) struct Due {
    pub(crate) what: Next,
    /// The run before it, where that is why it is skipped.
    because_of: Option<Run>,
}

impl Due {
    /// Why a run is skipped, for programs and for people.
    pub(crate) fn said(&self) -> (Option<String>, Option<String>) {
        let Next::Skip { count, why, .. } = self.what else {
            return (None, None);
        };
        match &self.because_of {
            None => (Some(why.code().to_owned()), Some(why.text(count))),
            Some(run) => {
                let time = logical_time::text(run.logical_ms);
                let said = format!("{} of {time} {}", run.job, run.status.name());
                (Some("SKIPPED_UPSTREAM".to_owned()), Some(said))
            }
        }
    }
}

impl Watch {
    /// What comes next after all that is settled. Storage is only looked at where `looks` says so.
    pub(crate) async fn next(
        &mut self,
        job: &Job,
        since_ms: i64,
        busy: Option<Busy>,
        engine: &Arc<Engine>,
        runs: &Runs,
        looks: bool,
    ) -> Result<Due> {
        let definition = &job.definition;
        let policy = &definition.policy;
        let now_ms = engine.now_ms();
        let most = policy.catch_up_limit as usize + IN_TIME;
        let settled = |open: &Open| Due {
            what: settle::next(open, policy, definition.overlap(), busy, now_ms),
            because_of: None,
        };
        let looks = looks || self.version.is_none();
        match &definition.schedule {
            Schedule::Cron(_) | Schedule::Every(_) => {
                let due = definition.schedule.due(since_ms, now_ms, most);
                Ok(settled(&Open {
                    count: due.count,
                    newest: due.newest,
                }))
            }
            Schedule::OnCommit { table } => {
                if looks {
                    self.look_at_commits(engine, table, since_ms).await?;
                }
                self.fires.retain(|at| *at > since_ms);
                let newest = self.fires.iter().rev().take(most).rev();
                Ok(settled(&Open {
                    count: self.fires.len() as u64,
                    newest: newest.copied().collect(),
                }))
            }
            Schedule::Release(release) => {
                if looks {
                    self.look_for_release(engine, release).await?;
                }
                let arrived = arrived(release, self.newest, since_ms, now_ms);
                Ok(Due {
                    what: released(&arrived, policy),
                    because_of: None,
                })
            }
            Schedule::After { job: before } => {
                if looks {
                    self.look_at_runs(engine, runs, before, since_ms).await?;
                }
                self.before.retain(|run| run.logical_ms > since_ms);
                Ok(after(self.before.first()))
            }
        }
    }

    async fn look_at_commits(&mut self, engine: &Engine, table: &str, since_ms: i64) -> Result<()> {
        let store = engine.store();
        if !store.has_table(table).await? {
            return Ok(());
        }
        let table = store.table(table).await?;
        let snapshot = table.snapshot().await?;
        if self.version == Some(snapshot.version()) {
            return Ok(());
        }
        let commits = table.commits_after(&snapshot, since_ms).await?;
        let brought = commits.iter().filter(|commit| commit.brings_rows());
        self.fires = brought.filter_map(|commit| commit.committed_ms).collect();
        self.version = Some(snapshot.version());
        Ok(())
    }

    async fn look_for_release(&mut self, engine: &Arc<Engine>, release: &Release) -> Result<()> {
        let store = engine.store();
        if !store.has_table(&release.table).await? {
            return Ok(());
        }
        let version = store
            .table(&release.table)
            .await?
            .snapshot()
            .await?
            .version();
        if self.version == Some(version) {
            return Ok(());
        }
        self.newest = newest_period_end(engine, &release.table).await?;
        self.version = Some(version);
        Ok(())
    }

    async fn look_at_runs(
        &mut self,
        engine: &Engine,
        runs: &Runs,
        job: &str,
        since_ms: i64,
    ) -> Result<()> {
        let version = runs.version().await?;
        if version.is_some() && self.version != version {
            let before = Jobs::of(Arc::clone(engine.store())).get(job).await?;
            self.before = runs.settled_after(job, &before.owner, since_ms).await?;
            self.version = version;
        }
        Ok(())
    }
}

/// The releases that have arrived after those that are settled, by their logical times. What is said of a period
/// that has not ended is no release of it.
fn arrived(release: &Release, newest: Option<Day>, since_ms: i64, now_ms: i64) -> Vec<i64> {
    let today = logical_time::day(now_ms, release.zone);
    let mut arrived = Vec::new();
    let mut due_ms = release.due_for_month_after(since_ms);
    while let Some(at_ms) = due_ms
        && newest.is_some_and(|newest| release.arrived(at_ms, newest))
        && release.expected_period_end(at_ms) < today
    {
        arrived.push(at_ms);
        due_ms = release.due_for_month_after(at_ms);
    }
    arrived
}

/// What comes next of releases: the newest is due, however late it is; those before it were missed.
fn released(arrived: &[i64], policy: &Policy) -> Next {
    let Some((newest, missed)) = arrived.split_last() else {
        return Next::Nothing;
    };
    let kept = match policy.catch_up {
        CatchUp::All => policy.catch_up_limit as usize,
        CatchUp::Latest | CatchUp::None => 0,
    };
    match (missed, missed.len().saturating_sub(kept)) {
        ([], _) => Next::Run {
            at_ms: *newest,
            kind: RunKind::Scheduled,
        },
        (missed, 0) => Next::Run {
            at_ms: missed[0],
            kind: RunKind::CatchUp,
        },
        (missed, skipped) => Next::Skip {
            through_ms: missed[skipped - 1],
            count: skipped as u64,
            why: settle::Why::Late,
        },
    }
}

/// The same time as the job before: run where that succeeded.
fn after(before: Option<&Run>) -> Due {
    let Some(run) = before else {
        return Due {
            what: Next::Nothing,
            because_of: None,
        };
    };
    match run.status {
        RunStatus::Succeeded => Due {
            what: Next::Run {
                at_ms: run.logical_ms,
                kind: run.kind,
            },
            because_of: None,
        },
        RunStatus::Failed | RunStatus::Skipped => Due {
            what: Next::Skip {
                through_ms: run.logical_ms,
                count: 1,
                why: settle::Why::Late,
            },
            because_of: Some(run.clone()),
        },
    }
}

/// The end of the newest period that a table knows.
async fn newest_period_end(engine: &Arc<Engine>, table: &str) -> Result<Option<Day>> {
    let request = QueryRequest {
        sql: format!("SELECT CAST(max(period_end) AS DATE) FROM {table}"),
        may_write: true,
        ..QueryRequest::default()
    };
    let rows = engine.query(request).await?.rest().await?;
    let days = rows.column(0).as_primitive::<Date32Type>();
    Ok(days.iter().next().flatten().map(Day::from_epoch))
}
