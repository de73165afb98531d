//! Which jobs are due, and that one server runs them.

mod asked;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use didymium_engine::{Engine, ErrorKind};
use didymium_store::Exports;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::due::Watch;
use crate::executor::{Executor, Owners, Task};
use crate::jobs::{Job, Jobs};
use crate::lease::Lease;
use crate::overview::{JobState, Overview, cursor_ms, overdue, state};
use crate::run::{Run, RunKind, RunStatus};
use crate::runs::{Runs, Standing};
use crate::settle::{Busy, Next};
use crate::webhook::Webhooks;
use crate::{Error, Event, Result, logical_time};

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
    overview: Overview,
    executor: Arc<Executor>,
    lease: Arc<Lease>,
    slots: usize,
    history: Duration,
    /// How often storage is looked at.
    refresh: Duration,
    /// How long the server sleeps at most between two looks at the clock: the right to run jobs is kept
    /// in time.
    tick: Duration,
    webhooks: Webhooks,
    changed: Notify,
    under_way: Arc<Mutex<BTreeMap<(String, i64), CancellationToken>>>,
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

/// The longest tick.
const TICK: Duration = Duration::from_secs(1);

/// How often old runs are looked for.
const FORGETTING: Duration = Duration::from_secs(24 * 3600);

impl Scheduler {
    /// A scheduler whose runs use an engine of their own.
    pub fn new(engine: Arc<Engine>, owners: Arc<dyn Owners>, settings: Settings) -> Self {
        let store = Arc::clone(engine.store());
        let lease = Arc::new(Lease::of(Arc::clone(&store), settings.lease));
        let runs = Runs::of(Arc::clone(&engine));
        Self {
            jobs: Jobs::of(store),
            overview: Overview::of(Arc::clone(&engine)),
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
            tick: (settings.lease / 3).min(TICK),
            webhooks: settings.webhooks,
            changed: Notify::new(),
            under_way: Arc::default(),
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
                Ok(true) if stop.is_cancelled() => self.tick,
                Ok(true) => {
                    let leading = leading.get_or_insert_with(|| {
                        tracing::info!("this server runs the store's jobs");
                        Leading::default()
                    });
                    tokio::select! {
                        turn = self.turn(leading, &mut under_way, &mut tellings) => {
                            turn.unwrap_or_else(|error| {
                                tracing::warn!(%error, "jobs");
                                self.tick
                            })
                        }
                        () = self.held() => continue,
                    }
                }
                Ok(false) => {
                    if leading.take().is_some() {
                        tracing::warn!("another server runs the store's jobs now");
                        under_way.clear();
                        let mut figures = lock(&self.figures);
                        figures.overdue.clear();
                        figures.last_success_ms.clear();
                    }
                    self.tick
                }
                Err(error) => {
                    tracing::warn!(%error, "the right to run jobs");
                    self.tick
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

    /// Keeps the right to run jobs while something else takes its time; ready when it is lost.
    async fn held(&self) {
        loop {
            sleep(self.tick).await;
            if matches!(self.lease.hold().await, Ok(false)) {
                return;
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
            if let Err(error) = self.runs.compact().await {
                tracing::info!(%error, "the history of jobs is not compacted now");
            }
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
        let mut wait = self.tick;
        for progress in leading.jobs.values_mut() {
            if looks {
                self.tell_overdue(progress, tellings);
            }
            if let Err(error) = self.settle(progress, looks, under_way).await {
                let job = &progress.job.definition.name;
                tracing::warn!(job, %error, "what is due is not known");
                continue;
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
            let standing = self.runs.standing(&job).await?;
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
                    self.lease.confirm().await?;
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
        let (noted, from_ms) = (self.noted(&task), self.executor.engine.now_ms());
        let executor = Arc::clone(&self.executor);
        let run = async move {
            let stop = noted.stop.clone();
            let run = executor.run(task, stop).await;
            drop(noted);
            run
        };
        let running = self.executor.engine.spawn(run);
        Box::pin(async move {
            let run = running.await.unwrap_or_else(|error| {
                tracing::error!(job, %error, "a run broke off");
                Err(broke_off())
            });
            Ended { job, from_ms, run }
        })
    }

    /// Notes that a run is under way, until what this gives is dropped.
    fn noted(&self, task: &Task) -> Noted {
        let stop = CancellationToken::new();
        let key = (task.job.definition.name.clone(), task.logical_ms);
        lock(&self.under_way).insert(key.clone(), stop.clone());
        Noted {
            under_way: Arc::clone(&self.under_way),
            key,
            stop,
        }
    }

    fn note_end(
        &self,
        leading: &mut Leading,
        ended: Ended,
        tellings: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) {
        if let Ok(run) = &ended.run {
            self.count(run);
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
        if run.owner_id != progress.job.owner {
            // Another owner's job has taken the name meanwhile.
            return;
        }
        progress.busy = Some(Busy {
            from_ms: ended.from_ms,
            until_ms: run.ended_ms,
        });
        progress.standing.settled_ms = Some(run.logical_ms);
        // Others may come after it.
        leading.refreshed = None;
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
    fn tell_overdue(
        &self,
        progress: &mut Progress,
        tellings: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) {
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
    }
}

/// A run that is under way; dropped when it has ended, however that is.
struct Noted {
    under_way: Arc<Mutex<BTreeMap<(String, i64), CancellationToken>>>,
    key: (String, i64),
    stop: CancellationToken,
}

impl Drop for Noted {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
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

fn broke_off() -> Error {
    didymium_engine::Error::new(ErrorKind::Internal, "the run broke off").into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
