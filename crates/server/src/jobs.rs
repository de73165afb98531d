//! `JobService`: queries that run by themselves.

mod convert;
mod page;
mod report;

use std::ops::Range;
use std::sync::Arc;

use didymium_api::v1::job_service_server::JobService;
use didymium_api::v1::preview_schedule_request::Source;
use didymium_api::v1::{
    BackfillJobRequest, BackfillJobResponse, CancelJobRunRequest, CancelJobRunResponse,
    CreateJobRequest, CreateJobResponse, DeleteJobRequest, DeleteJobResponse, GetJobRequest,
    GetJobResponse, Job as WireJob, JobDefinition, ListJobRunsRequest, ListJobRunsResponse,
    ListJobsRequest, ListJobsResponse, PauseJobRequest, PauseJobResponse, PreviewScheduleRequest,
    PreviewScheduleResponse, ReplayJobRunRequest, ReplayJobRunResponse, ResumeJobRequest,
    ResumeJobResponse, RunJobRequest, RunJobResponse, UpdateJobRequest, UpdateJobResponse,
};
use didymium_engine::ErrorKind;
use didymium_jobs::{Definition, Job, Jobs, Owner, RunKind, RunStatus, Schedule};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

pub use convert::{job_definition_of_proto, job_definition_to_proto};
use page::Place;

use crate::call::within;
use crate::caller::{Caller, Role};
use crate::desk::Desk;
use crate::request::{grpc_timeout, invalid, ms, timestamp};
use crate::status::refused;

/// Runs of one page, where the caller does not say, and at most.
const PAGE_RUNS: usize = 100;
const MOST_PAGE_RUNS: usize = 1000;

/// Runs of a backfill that its answer holds: those of years would fill no message.
const BACKFILLED_RUNS: usize = 1000;

/// Times of a preview, where the caller does not say, and at most.
const PREVIEWED_TIMES: usize = 5;
const MOST_PREVIEWED_TIMES: usize = 100;

/// The seconds of the years 1 to 9999, which are those of the wire.
const YEARS_S: Range<i64> = -62_135_596_800..253_402_300_800;

/// The service over one desk.
#[derive(Debug)]
pub(crate) struct Scheduling {
    pub(crate) desk: Arc<Desk>,
}

impl Scheduling {
    fn jobs(&self) -> &Jobs {
        self.desk.jobs.jobs()
    }

    /// A job of the caller's.
    ///
    /// # Errors
    /// NOT_FOUND, in the same words for one that is another caller's and one that is not there.
    async fn seen(&self, name: &str, caller: &Caller) -> Result<Job, Status> {
        match self.jobs().get(name).await {
            Ok(job) if caller.oversees(&job.owner) => Ok(job),
            Ok(_) | Err(didymium_jobs::Error::Unknown(_)) => Err(refused(
                ErrorKind::NotFound,
                format!("there is no job {name}"),
            )),
            Err(error) => Err(of_jobs(error)),
        }
    }

    /// # Errors
    /// Where the caller could not run what is defined.
    async fn validate(&self, definition: &Definition, owner: &Owner) -> Result<(), Status> {
        let validated = self.desk.jobs.validate(definition, owner);
        validated.await.map_err(of_jobs)
    }

    /// A job as the wire has it, and how it fares.
    async fn report(&self, job: Job) -> Result<WireJob, Status> {
        let status = self.desk.jobs.status(&job).await.map_err(of_jobs)?;
        report::job(job, status)
    }

    async fn set_paused(
        &self,
        name: &str,
        paused: bool,
        caller: &Caller,
    ) -> Result<WireJob, Status> {
        self.seen(name, caller).await?;
        let now_ms = self.desk.engine.now_ms();
        let set = self.jobs().set_paused(name, paused, now_ms).await;
        let job = set.map_err(of_jobs)?;
        self.desk.jobs.wake();
        tracing::info!(
            job = name,
            paused,
            by = caller.name,
            "job told to rest or go on"
        );
        self.report(job).await
    }

    async fn schedule(&self, source: Source, caller: &Caller) -> Result<Schedule, Status> {
        match source {
            Source::Schedule(schedule) => convert::schedule(schedule),
            Source::Job(name) => Ok(self.seen(&name, caller).await?.definition.schedule),
        }
    }
}

#[tonic::async_trait]
impl JobService for Scheduling {
    async fn create_job(
        &self,
        request: Request<CreateJobRequest>,
    ) -> Result<Response<CreateJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let definition = defined(request.into_inner().definition)?;
        let owner = Owner::from(&caller);
        self.validate(&definition, &owner).await?;
        let now_ms = self.desk.engine.now_ms();
        let made = self.jobs().create(definition, &owner, now_ms).await;
        let job = made.map_err(of_jobs)?;
        self.desk.jobs.wake();
        tracing::info!(job = job.definition.name, by = caller.name, "job made");
        Ok(Response::new(CreateJobResponse {
            job: Some(self.report(job).await?),
        }))
    }

    async fn update_job(
        &self,
        request: Request<UpdateJobRequest>,
    ) -> Result<Response<UpdateJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let definition = defined(request.into_inner().definition)?;
        self.seen(&definition.name, &caller).await?;
        let owner = Owner::from(&caller);
        self.validate(&definition, &owner).await?;
        let now_ms = self.desk.engine.now_ms();
        let changed = self.jobs().update(definition, &owner, now_ms).await;
        let job = changed.map_err(of_jobs)?;
        self.desk.jobs.wake();
        tracing::info!(job = job.definition.name, by = caller.name, "job changed");
        Ok(Response::new(UpdateJobResponse {
            job: Some(self.report(job).await?),
        }))
    }

    async fn delete_job(
        &self,
        request: Request<DeleteJobRequest>,
    ) -> Result<Response<DeleteJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().name;
        self.seen(&name, &caller).await?;
        let deleted = self.jobs().delete(&name).await;
        deleted.map_err(of_jobs)?;
        self.desk.jobs.wake();
        tracing::info!(job = name, by = caller.name, "job deleted");
        Ok(Response::new(DeleteJobResponse {}))
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let job = self.seen(&request.into_inner().name, &caller).await?;
        Ok(Response::new(GetJobResponse {
            job: Some(self.report(job).await?),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let all = self.jobs().list().await.map_err(of_jobs)?;
        let mut jobs = Vec::new();
        for job in all.into_iter().filter(|job| caller.oversees(&job.owner)) {
            jobs.push(self.report(job).await?);
        }
        Ok(Response::new(ListJobsResponse { jobs }))
    }

    async fn pause_job(
        &self,
        request: Request<PauseJobRequest>,
    ) -> Result<Response<PauseJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().name;
        Ok(Response::new(PauseJobResponse {
            job: Some(self.set_paused(&name, true, &caller).await?),
        }))
    }

    async fn resume_job(
        &self,
        request: Request<ResumeJobRequest>,
    ) -> Result<Response<ResumeJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().name;
        Ok(Response::new(ResumeJobResponse {
            job: Some(self.set_paused(&name, false, &caller).await?),
        }))
    }

    async fn run_job(
        &self,
        request: Request<RunJobRequest>,
    ) -> Result<Response<RunJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let RunJobRequest { name, logical_time } = request.into_inner();
        let job = self.seen(&name, &caller).await?;
        let now_ms = self.desk.engine.now_ms();
        let logical_ms = match logical_time {
            Some(time) => moment("logical_time", time)?,
            None => now_ms,
        };
        tracing::info!(job = name, by = caller.name, "run asked for");
        let scheduler = &self.desk.jobs;
        let ended = async {
            let run = scheduler.run_now(&job, logical_ms, RunKind::Manual);
            run.await.map_err(of_jobs)
        };
        let run = within(deadline, ended, "").await?;
        Ok(Response::new(RunJobResponse {
            run: Some(report::run(run)),
        }))
    }

    async fn backfill_job(
        &self,
        request: Request<BackfillJobRequest>,
    ) -> Result<Response<BackfillJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let BackfillJobRequest { name, from, to } = request.into_inner();
        let (from_ms, to_ms) = (required("from", from)?, required("to", to)?);
        if from_ms > to_ms {
            return Err(invalid("to: it lies before from"));
        }
        let job = self.seen(&name, &caller).await?;
        tracing::info!(job = name, by = caller.name, "backfill asked for");
        let scheduler = &self.desk.jobs;
        let ended = async {
            let runs = scheduler.backfill(&job, from_ms, to_ms);
            runs.await.map_err(of_jobs)
        };
        let runs = within(deadline, ended, "").await?;
        let is_skipped = |run: &&didymium_jobs::Run| run.status == RunStatus::Skipped;
        let skipped = runs.iter().filter(is_skipped).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(BackfillJobResponse {
            started: count(runs.len() - skipped),
            skipped: count(skipped),
            runs: runs
                .into_iter()
                .take(BACKFILLED_RUNS)
                .map(report::run)
                .collect(),
        }))
    }

    async fn cancel_job_run(
        &self,
        request: Request<CancelJobRunRequest>,
    ) -> Result<Response<CancelJobRunResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let CancelJobRunRequest { job, logical_time } = request.into_inner();
        let logical_ms = required("logical_time", logical_time)?;
        self.seen(&job, &caller).await?;
        match self.desk.jobs.cancel(&job, logical_ms) {
            true => {
                tracing::info!(job, by = caller.name, "run told to stop");
                Ok(Response::new(CancelJobRunResponse {}))
            }
            false => Err(refused(
                ErrorKind::NotFound,
                format!(
                    "job {job}: no run of {} is under way",
                    timestamp(logical_ms)
                ),
            )),
        }
    }

    async fn list_job_runs(
        &self,
        request: Request<ListJobRunsRequest>,
    ) -> Result<Response<ListJobRunsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let ListJobRunsRequest {
            job,
            page_size,
            page_token,
        } = request.into_inner();
        let size = up_to("page_size", page_size, PAGE_RUNS, MOST_PAGE_RUNS)?;
        let place = Place::parse(&page_token)?;
        let job = Some(job.as_str()).filter(|name| !name.is_empty());
        if let Some(name) = job {
            self.seen(name, &caller).await?;
        }
        let (before, limit) = Place::reach(place, size);
        // An admin sees everybody's; a name may have been another caller's before.
        let owner = (caller.role < Role::Admin).then_some(caller.id.as_str());
        let found = self.desk.jobs.runs(job, owner, before, limit).await;
        let (runs, next) = Place::page(place, found.map_err(of_jobs)?, size);
        Ok(Response::new(ListJobRunsResponse {
            runs: runs.into_iter().map(report::run).collect(),
            next_page_token: next.map(|place| place.to_string()).unwrap_or_default(),
        }))
    }

    async fn preview_schedule(
        &self,
        request: Request<PreviewScheduleRequest>,
    ) -> Result<Response<PreviewScheduleResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let PreviewScheduleRequest { source, count } = request.into_inner();
        let count = up_to("count", count, PREVIEWED_TIMES, MOST_PREVIEWED_TIMES)?;
        let source = source.ok_or_else(|| invalid("give a schedule, or a job's name"))?;
        let schedule = self.schedule(source, &caller).await?;
        let now_ms = self.desk.engine.now_ms();
        let times = std::iter::successors(schedule.next(now_ms), |time| schedule.next(*time));
        Ok(Response::new(PreviewScheduleResponse {
            times: times.take(count).map(timestamp).collect(),
        }))
    }

    async fn replay_job_run(
        &self,
        request: Request<ReplayJobRunRequest>,
    ) -> Result<Response<ReplayJobRunResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let ReplayJobRunRequest { job, logical_time } = request.into_inner();
        let logical_ms = required("logical_time", logical_time)?;
        let job = self.seen(&job, &caller).await?;
        let scheduler = &self.desk.jobs;
        let ended = async {
            let replayed = scheduler.replay(&job, logical_ms);
            replayed.await.map_err(of_jobs)
        };
        let replayed = within(deadline, ended, "").await?;
        Ok(Response::new(ReplayJobRunResponse {
            rows_equal: replayed.rows_equal,
            file_equal: replayed.file_equal,
            rows: replayed.rows,
            versions: replayed.versions.into_iter().collect(),
        }))
    }
}

impl From<&Caller> for Owner {
    fn from(caller: &Caller) -> Self {
        Self {
            id: caller.id.clone(),
            name: caller.name.clone(),
            grants: caller.grants.clone(),
            may_write: caller.role >= Role::Write,
            oversees: caller.role == Role::Admin,
        }
    }
}

fn defined(definition: Option<JobDefinition>) -> Result<Definition, Status> {
    job_definition_of_proto(definition.ok_or_else(|| invalid("definition: say what the job is"))?)
}

fn required(field: &str, time: Option<Timestamp>) -> Result<i64, Status> {
    let time = time.ok_or_else(|| invalid(format!("{field}: it is not set")))?;
    moment(field, time)
}

/// A moment in milliseconds, which what is reckoned from it must not overflow.
fn moment(field: &str, time: Timestamp) -> Result<i64, Status> {
    match YEARS_S.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos) {
        true => Ok(ms(&time)),
        false => Err(invalid(format!(
            "{field}: a moment of the years 1 to 9999, its nanos from 0 to 999,999,999"
        ))),
    }
}

/// How many a caller asks for; 0 stands for what is usual.
fn up_to(field: &str, asked: u32, usual: usize, most: usize) -> Result<usize, Status> {
    match asked as usize {
        0 => Ok(usual),
        asked if asked <= most => Ok(asked),
        _ => Err(invalid(format!("{field}: at most {most}"))),
    }
}

fn of_jobs(error: didymium_jobs::Error) -> Status {
    refused(error.kind(), error.to_string())
}
