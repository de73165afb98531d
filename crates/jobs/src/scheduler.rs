//! Which jobs are due, and that one server runs them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use didymium_engine::{Engine, ErrorKind, ListedJob};
use didymium_store::Exports;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::due::Watch;
use crate::executor::{Executor, Owners, Task};
use crate::jobs::{Job, Jobs, Owner};
use crate::lease::Lease;
use crate::replay::{Replayed, replay};
use crate::result::{Asking, Pins};
use crate::run::{Run, RunKind, RunStatus};
use crate::runs::{Runs, Standing};
use crate::settle::{Busy, Next};
use crate::webhook::Webhooks;
use crate::{Declared, Definition, Error, Event, Result, logical_time, new_table};

/// How a server runs jobs.
#[derive(Debug)]
pub struct Settings {
    /// Runs at once; with 0 this server runs none that are due.
    pub slots: usize,
    /// After how long without a sign of life another server takes over.
    pub lease: Duration,
    /// How long the history is kept.
    pub history: Duration,
    /// Where runs that write files write them.
    pub exports: Exports,
    /// Who is told of runs.
    pub webhooks: Webhooks,
}

/// Runs a store's jobs while it has the right to, and answers about them always.
#[derive(Debug)]
pub struct Scheduler {
    jobs: Jobs,
    runs: Runs,
    executor: Arc<Executor>,
    lease: Arc<Lease>,
    slots: usize,
    history: Duration,
    refresh: Duration,
    webhooks: Webhooks,
    changed: Notify,
    under_way: Mutex<BTreeMap<(String, i64), CancellationToken>>,
    figures: Mutex<Figures>,
}

/// What the metrics say of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runs that this server has ended, by job and status.
    pub runs: BTreeMap<(String, &'static str), u64>,
    /// When a run last succeeded, by job, in milliseconds since 1970.
    pub last_success_ms: BTreeMap<String, i64>,
    /// Whether what a job waits for has not arrived by its day.
    pub overdue: BTreeMap<String, bool>,
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

/// What the running server knows of a job.
struct Progress {
    /// What it was when this was read.
    job: Job,
    standing: Standing,
    busy: Option<Busy>,
    watch: Watch,
    is_running: bool,
    /// The release that somebody was told is overdue.
    told_overdue: Option<i64>,
}

/// All of it, while this server has the right to run jobs.
#[derive(Default)]
struct Leading {
    jobs: BTreeMap<String, Progress>,
    refreshed: Option<Instant>,
    forgotten: Option<Instant>,
}

/// A run that has ended, or was given up.
struct Ended {
    job: String,
    from_ms: i64,
    run: Result<Run>,
}

type UnderWay = FuturesUnordered<BoxFuture<'static, Ended>>;

/// How long the server sleeps at most between two looks.
const TICK: Duration = Duration::from_secs(1);

/// How often old runs are looked for.
const FORGETTING: Duration = Duration::from_secs(24 * 3600);

/// Runs of one backfill.
const BACKFILLED: usize = 10_000;

impl Scheduler {
    /// A scheduler whose runs use an engine of their own.
    pub fn new(engine: Arc<Engine>, owners: Arc<dyn Owners>, settings: Settings) -> Self {
        let store = Arc::clone(engine.store());
        let lease = Arc::new(Lease::of(Arc::clone(&store), settings.lease));
        let runs = Runs::of(Arc::clone(&engine));
        Self {
            jobs: Jobs::of(store),
            executor: Arc::new(Executor {
                runs: runs.clone(),
                exports: settings.exports,
                owners,
                lease: Arc::clone(&lease),
                slots: Arc::new(Semaphore::new(settings.slots.max(1))),
                engine,
            }),
            runs,
            lease,
            slots: settings.slots,
            history: settings.history,
            refresh: settings.lease / 3,
            webhooks: settings.webhooks,
            changed: Notify::new(),
            under_way: Mutex::default(),
            figures: Mutex::default(),
        }
    }

    /// The definitions.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What the metrics say.
    pub fn figures(&self) -> Figures {
        lock(&self.figures).clone()
    }

    /// Makes the jobs that files declare what the files say.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an owner who may not run jobs; as [`Jobs::declare`].
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

    /// Looks at the jobs again at once: one of them was changed.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Runs what is due until it is told to stop; then what runs may end, and the right goes to the next server
    /// at once. Dropping it stops what runs.
    pub async fn run(&self, stop: CancellationToken) {
        if self.slots == 0 {
            return stop.cancelled().await;
        }
        let mut leading = None;
        let mut under_way = UnderWay::new();
        let mut tellings = FuturesUnordered::new();
        loop {
            if stop.is_cancelled() && under_way.is_empty() && tellings.is_empty() {
                return self.lease.give_up().await;
            }
            let wait = match self.lease.hold().await {
                Ok(true) if stop.is_cancelled() => TICK,
                Ok(true) => {
                    let leading = leading.get_or_insert_with(|| {
                        tracing::info!("this server runs the store's jobs");
                        Leading::default()
                    });
                    let turn = self.turn(leading, &mut under_way, &mut tellings).await;
                    turn.unwrap_or_else(|error| {
                        tracing::warn!(%error, "jobs");
                        TICK
                    })
                }
                Ok(false) => {
                    if leading.take().is_some() {
                        tracing::warn!("another server runs the store's jobs now");
                        under_way.clear();
                        lock(&self.under_way).clear();
                    }
                    self.refresh.min(TICK)
                }
                Err(error) => {
                    tracing::warn!(%error, "the right to run jobs");
                    TICK
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = self.changed.notified() => {
                    if let Some(leading) = &mut leading {
                        leading.refreshed = None;
                    }
                }
                Some(ended) = under_way.next() => {
                    if let Some(leading) = &mut leading {
                        self.note_end(leading, ended, &mut tellings);
                    }
                }
                Some(()) = tellings.next() => {}
            }
        }
    }

    /// Starts what is due and notes what is skipped. Gives how long nothing will be due.
    async fn turn(
        &self,
        leading: &mut Leading,
        under_way: &mut UnderWay,
        tellings: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) -> Result<Duration> {
        let is_stale = |at: Option<Instant>, after| at.is_none_or(|at| at.elapsed() >= after);
        let looks = is_stale(leading.refreshed, self.refresh);
        if looks {
            self.refresh(leading).await?;
            leading.refreshed = Some(Instant::now());
        }
        if is_stale(leading.forgotten, FORGETTING) {
            leading.forgotten = Some(Instant::now());
            let forgotten = self.runs.forget(self.history).await;
            match forgotten {
                Ok(0) => {}
                Ok(runs) => tracing::info!(runs, "old runs of jobs are forgotten"),
                // Whoever wrote a run meanwhile: tomorrow is early enough.
                Err(error) => tracing::info!(%error, "no runs are forgotten today"),
            }
        }
        let mut wait = TICK;
        for progress in leading.jobs.values_mut() {
            if looks {
                self.tell_overdue(progress, tellings).await?;
            }
            if let Err(error) = self.settle(progress, looks, under_way).await {
                let job = &progress.job.definition.name;
                tracing::warn!(job, %error, "what is due is not known");
            }
            if let Some(next_ms) = progress.next_ms() {
                let left = next_ms.saturating_sub(self.executor.engine.now_ms());
                wait = wait.min(Duration::from_millis(left.max(10) as u64));
            }
        }
        Ok(wait)
    }

    /// Reads the definitions anew, and of new and changed ones how they stand.
    async fn refresh(&self, leading: &mut Leading) -> Result<()> {
        let jobs = self.jobs.list().await?;
        leading
            .jobs
            .retain(|name, _| jobs.iter().any(|job| job.definition.name == *name));
        for job in jobs {
            let name = job.definition.name.clone();
            if let Some(known) = leading.jobs.get(&name)
                && known.job == job
            {
                continue;
            }
            let standing = self.runs.standing(&name, job.active_since_ms).await?;
            let mut figures = lock(&self.figures);
            if let Some(succeeded_ms) = standing.succeeded_ms {
                figures.last_success_ms.insert(name.clone(), succeeded_ms);
            }
            drop(figures);
            let known = leading.jobs.remove(&name);
            let is_running = known.as_ref().is_some_and(|known| known.is_running);
            let progress = Progress {
                busy: known.and_then(|known| known.busy),
                watch: Watch::default(),
                is_running,
                told_overdue: None,
                standing,
                job,
            };
            leading.jobs.insert(name, progress);
        }
        let mut figures = lock(&self.figures);
        let is_known = |name: &String| leading.jobs.contains_key(name);
        figures.last_success_ms.retain(|name, _| is_known(name));
        figures.overdue.retain(|name, _| is_known(name));
        figures.runs.retain(|(name, _), _| is_known(name));
        Ok(())
    }

    /// Settles what is open of one job, up to a run that starts.
    async fn settle(
        &self,
        progress: &mut Progress,
        looks: bool,
        under_way: &mut UnderWay,
    ) -> Result<()> {
        while !progress.is_running && progress.state() == JobState::Active {
            let since_ms = progress.cursor_ms();
            let engine = &self.executor.engine;
            let next = progress
                .watch
                .next(
                    &progress.job,
                    since_ms,
                    progress.busy,
                    engine,
                    &self.runs,
                    looks,
                )
                .await?;
            match next.what {
                Next::Nothing => return Ok(()),
                Next::Skip { through_ms, .. } => {
                    let task = self
                        .task(&progress.job, through_ms, RunKind::Scheduled)
                        .await?;
                    let mut run = self.executor.line(&task, engine.now_ms());
                    run.status = RunStatus::Skipped;
                    (run.code, run.message) = next.said();
                    self.executor.record(&run).await?;
                    self.count(&run);
                    progress.standing.settled_ms = Some(through_ms);
                }
                Next::Run { at_ms, kind } => {
                    let task = self.task(&progress.job, at_ms, kind).await?;
                    progress.is_running = true;
                    under_way.push(self.start(task));
                }
            }
        }
        Ok(())
    }

    async fn task(&self, job: &Job, logical_ms: i64, kind: RunKind) -> Result<Task> {
        let before = self.runs.at(&job.definition.name, logical_ms).await?;
        Ok(Task {
            job: job.clone(),
            logical_ms,
            kind,
            sequence: before.len() as u32,
        })
    }

    /// Starts a run on the threads of the jobs' engine. Dropping it breaks it off, wherever it is.
    fn start(&self, task: Task) -> BoxFuture<'static, Ended> {
        let job = task.job.definition.name.clone();
        let (stop, from_ms) = (self.noted(&task), self.executor.engine.now_ms());
        let executor = Arc::clone(&self.executor);
        let running = self.executor.engine.spawn(executor.run(task, stop));
        Box::pin(async move {
            let run = running.await.unwrap_or_else(|error| {
                tracing::error!(job, %error, "a run broke off");
                Err(broke_off())
            });
            Ended { job, from_ms, run }
        })
    }

    /// Notes that a run is under way, and gives what stops it.
    fn noted(&self, task: &Task) -> CancellationToken {
        let stop = CancellationToken::new();
        let key = (task.job.definition.name.clone(), task.logical_ms);
        lock(&self.under_way).insert(key, stop.clone());
        stop
    }

    fn note_end(
        &self,
        leading: &mut Leading,
        ended: Ended,
        tellings: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) {
        let now_ms = self.executor.engine.now_ms();
        if let Ok(run) = &ended.run {
            self.forget_start(&run.job, run.logical_ms);
            self.count(run);
        } else {
            lock(&self.under_way).retain(|(job, _), _| *job != ended.job);
        }
        let Some(progress) = leading.jobs.get_mut(&ended.job) else {
            return;
        };
        progress.is_running = false;
        let run = match ended.run {
            Ok(run) => run,
            Err(error) => {
                // It is not settled, and so it is due again.
                tracing::error!(job = ended.job, %error, "a run is not settled");
                return;
            }
        };
        progress.busy = Some(Busy {
            from_ms: ended.from_ms,
            until_ms: now_ms,
        });
        progress.standing.settled_ms = Some(run.logical_ms);
        let event = match run.status {
            RunStatus::Succeeded => {
                progress.standing.failures = 0;
                progress.standing.succeeded_ms = Some(run.ended_ms);
                Event::Succeeded
            }
            _ => {
                progress.standing.failures += 1;
                Event::Failed
            }
        };
        tellings.push(self.webhooks.tell_of_run(&progress.job, event, &run));
        if progress.state() == JobState::Suspended {
            let (job, failures) = (&ended.job, progress.standing.failures);
            tracing::error!(job, failures, "the job is suspended until it is resumed");
            tellings.push(
                self.webhooks
                    .tell_of_run(&progress.job, Event::Suspended, &run),
            );
        }
    }

    fn forget_start(&self, job: &str, logical_ms: i64) {
        lock(&self.under_way).remove(&(job.to_owned(), logical_ms));
    }

    fn count(&self, run: &Run) {
        let mut figures = lock(&self.figures);
        let key = (run.job.clone(), run.status.name());
        *figures.runs.entry(key).or_default() += 1;
        if run.status == RunStatus::Succeeded {
            figures
                .last_success_ms
                .insert(run.job.clone(), run.ended_ms);
        }
    }

    /// Says once of a release that it has not arrived by its day.
    async fn tell_overdue(
        &self,
        progress: &mut Progress,
        tellings: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) -> Result<()> {
        let engine = &self.executor.engine;
        let cursor_ms = progress.cursor_ms();
        let overdue = overdue(&progress.job, cursor_ms, engine.now_ms());
        if progress.job.definition.schedule.release().is_some() {
            let name = progress.job.definition.name.clone();
            lock(&self.figures).overdue.insert(name, overdue.is_some());
        }
        if let Some(due_ms) = overdue.filter(|_| progress.state() == JobState::Active)
            && progress.told_overdue != Some(due_ms)
        {
            let job = &progress.job.definition.name;
            let due = logical_time::text(due_ms);
            tracing::warn!(job, due, "a release is overdue");
            progress.told_overdue = Some(due_ms);
            tellings.push(self.webhooks.tell_overdue(&progress.job, due_ms));
        }
        Ok(())
    }

    /// How a job stands, whichever server runs it.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn status(&self, job: &Job) -> Result<JobStatus> {
        let name = &job.definition.name;
        let standing = self.runs.standing(name, job.active_since_ms).await?;
        let last = self.runs.newest(Some(name), None, 1).await?.pop();
        let now_ms = self.executor.engine.now_ms();
        let state = state(job, standing.failures);
        let cursor_ms = cursor_ms(job, &standing);
        let running = lock(&self.under_way);
        let mut running = running.keys().filter(|(job, _)| job == name);
        Ok(JobStatus {
            next_ms: match state {
                JobState::Active => job.definition.schedule.next(cursor_ms.max(now_ms)),
                _ => None,
            },
            overdue: overdue(job, cursor_ms, now_ms).is_some(),
            last_success_ms: standing.succeeded_ms,
            running_ms: running.next().map(|(_, logical_ms)| *logical_ms),
            last,
            state,
        })
    }

    /// The jobs of one owner, or of all, for `system.jobs`.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn listed(&self, is_seen: impl Fn(&Job) -> bool) -> Result<Vec<ListedJob>> {
        let mut listed = Vec::new();
        for job in self.jobs.list().await?.into_iter().filter(is_seen) {
            let status = self.status(&job).await?;
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
            request.given = BTreeMap::from([("result".to_owned(), given)]);
            let planned = engine.describe(request, ()).await;
            let place = format!("check {}", check.name);
            planned.map_err(|error| within_job(&definition.name, &place, &error))?;
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
        if before.iter().any(|run| run.status == RunStatus::Succeeded) {
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
        let stop = self.noted(&task);
        let _awaited = Awaited {
            scheduler: self,
            job: name.clone(),
            logical_ms,
            stop: stop.clone(),
        };
        let executor = Arc::clone(&self.executor);
        // Who goes away stops it, but not in the middle of its landing.
        let running = self
            .executor
            .engine
            .spawn(executor.run(task, stop))
            .detach();
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
            if before.iter().all(|run| run.status != RunStatus::Succeeded) {
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

    /// The newest runs, of one job or of all, before a time.
    ///
    /// # Errors
    /// Where the storage fails.
    pub async fn runs(
        &self,
        job: Option<&str>,
        before_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Run>> {
        self.runs.newest(job, before_ms, limit).await
    }

    /// Makes a run's rows again from the versions that it read.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a run that is not in the history; [`Error::Precondition`] for one that did not
    /// succeed, and where a version can't be read any more.
    pub async fn replay(&self, job: &str, logical_ms: i64) -> Result<Replayed> {
        let run = self.runs.at(job, logical_ms).await?.into_iter().next();
        let run = run.ok_or_else(|| {
            let time = logical_time::text(logical_ms);
            Error::Unknown(format!("there is no run of {job} for {time}"))
        })?;
        replay(&self.executor, &run).await
    }
}

/// A run that somebody waits for: it is stopped when they go.
struct Awaited<'a> {
    scheduler: &'a Scheduler,
    job: String,
    logical_ms: i64,
    stop: CancellationToken,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.scheduler.forget_start(&self.job, self.logical_ms);
    }
}

impl Progress {
    fn state(&self) -> JobState {
        state(&self.job, self.standing.failures)
    }

    fn cursor_ms(&self) -> i64 {
        cursor_ms(&self.job, &self.standing)
    }

    /// When the clock makes it due next.
    fn next_ms(&self) -> Option<i64> {
        let is_clocked = self.job.definition.schedule.is_clocked();
        match is_clocked && !self.is_running && self.state() == JobState::Active {
            true => self.job.definition.schedule.next(self.cursor_ms()),
            false => None,
        }
    }
}

fn state(job: &Job, failures: u32) -> JobState {
    let most = job.definition.policy.suspend_after;
    match job.paused {
        true => JobState::Paused,
        false if most > 0 && failures >= most => JobState::Suspended,
        false => JobState::Active,
    }
}

/// Up to when all that was due is settled.
fn cursor_ms(job: &Job, standing: &Standing) -> i64 {
    let settled = standing.settled_ms.unwrap_or(i64::MIN);
    settled.max(job.active_since_ms)
}

/// The release that should have arrived by now, by its logical time.
fn overdue(job: &Job, cursor_ms: i64, now_ms: i64) -> Option<i64> {
    let release = job.definition.schedule.release()?;
    let due_ms = job.definition.schedule.next(cursor_ms)?;
    (now_ms >= release.overdue_from(due_ms)).then_some(due_ms)
}

fn broke_off() -> Error {
    didymium_engine::Error::new(ErrorKind::Internal, "the run broke off").into()
}

fn within_job(job: &str, place: &str, error: &didymium_engine::Error) -> Error {
    let said = format!("job {job}, {place}: {error}");
    didymium_engine::Error::new(error.kind(), said).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
