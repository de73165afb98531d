//! `didymium job`: scheduled queries of a server.

mod listing;

use std::io::Write;
use std::path::{Path, PathBuf};

use didymium_api::v1::job_service_client::JobServiceClient;
use didymium_api::v1::preview_schedule_request::Source;
use didymium_api::v1::schedule::Kind;
use didymium_api::v1::{
    BackfillJobRequest, CancelJobRunRequest, CreateJobRequest, CronSchedule, DeleteJobRequest,
    GetJobRequest, Job, JobDefinition, JobRun, ListJobRunsRequest, ListJobsRequest,
    PauseJobRequest, PreviewScheduleRequest, ReplayJobRunRequest, ResumeJobRequest, RunJobRequest,
    RunStatus, Schedule, UpdateJobRequest,
};
use didymium_jobs::Definition;
use didymium_model::Day;
use didymium_server::{job_definition_of_proto, job_definition_to_proto};

use crate::args::{JobCommand, OutputArgs, ServerArgs};
use crate::failure::{Failure, read_text};
use crate::moment::{beginning, timestamp};
use crate::output::write_batch;
use crate::target::{Connection, server};

/// The most runs that a server gives at once.
const PAGE_RUNS: usize = 1000;

type Client = JobServiceClient<Connection>;

/// Makes, changes, shows and runs jobs.
pub(crate) async fn run(command: JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::Create { files, server } => create(&files, &server).await,
        JobCommand::Update { files, server } => update(&files, &server).await,
        JobCommand::Delete { name, server } => delete(name, &server).await,
        JobCommand::List { server, output } => list(&server, &output).await,
        JobCommand::Show { name, server } => show(name, &server).await,
        JobCommand::Pause { name, server } => pause(name, &server).await,
        JobCommand::Resume { name, server } => resume(name, &server).await,
        JobCommand::Run {
            name,
            at,
            server,
            output,
        } => run_once(name, at, &server, &output).await,
        JobCommand::Backfill {
            name,
            from,
            to,
            server,
            output,
        } => backfill(name, (from, to), &server, &output).await,
        JobCommand::Runs {
            name,
            limit,
            server,
            output,
        } => {
            let runs = runs(name.unwrap_or_default(), limit, &server).await?;
            write_batch(listing::runs(&runs)?, &output)
        }
        JobCommand::Cancel { name, at, server } => cancel(name, at, &server).await,
        JobCommand::Replay {
            name,
            at,
            server,
            output,
        } => replay(name, at, &server, &output).await,
        JobCommand::Preview {
            name,
            cron,
            zone,
            count,
            server,
            output,
        } => preview(source(name, cron, zone)?, count, &server, &output).await,
    }
}

async fn client(args: &ServerArgs) -> Result<Client, Failure> {
    Ok(JobServiceClient::new(server(args).await?))
}

async fn create(files: &[PathBuf], server: &ServerArgs) -> Result<(), Failure> {
    let definitions = definitions(files)?;
    let mut jobs = client(server).await?;
    for definition in definitions {
        let name = definition.name.clone();
        let definition = Some(definition);
        jobs.create_job(CreateJobRequest { definition }).await?;
        eprintln!("{name}: made");
    }
    Ok(())
}

async fn update(files: &[PathBuf], server: &ServerArgs) -> Result<(), Failure> {
    let definitions = definitions(files)?;
    let mut jobs = client(server).await?;
    for definition in definitions {
        let name = definition.name.clone();
        let definition = Some(definition);
        jobs.update_job(UpdateJobRequest { definition }).await?;
        eprintln!("{name}: changed");
    }
    Ok(())
}

/// Reads every file before anything is done with one.
fn definitions(files: &[PathBuf]) -> Result<Vec<JobDefinition>, Failure> {
    files.iter().map(|file| definition(file)).collect()
}

fn definition(file: &Path) -> Result<JobDefinition, Failure> {
    let read = Definition::parse(&read_text(file)?);
    let read = read.map_err(|error| Failure::own(format!("{}: {error}", file.display())))?;
    Ok(job_definition_to_proto(&read)?)
}

async fn delete(name: String, server: &ServerArgs) -> Result<(), Failure> {
    let request = DeleteJobRequest { name: name.clone() };
    client(server).await?.delete_job(request).await?;
    eprintln!("{name}: deleted");
    Ok(())
}

async fn list(server: &ServerArgs, output: &OutputArgs) -> Result<(), Failure> {
    let listed = client(server).await?.list_jobs(ListJobsRequest {}).await?;
    write_batch(listing::jobs(&listed.into_inner().jobs)?, output)
}

async fn show(name: String, server: &ServerArgs) -> Result<(), Failure> {
    let job = job(&mut client(server).await?, name).await?;
    let toml = toml::to_string(&defined(&job)?);
    let mut text = toml.map_err(|error| Failure::own(format!("the definition: {error}")))?;
    // As comments, so that the whole is a file for `job update`.
    for line in listing::state(&job) {
        text.push_str(&format!("\n# {line}"));
    }
    text.push('\n');
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::own(format!("can't write: {error}")))
}

async fn pause(name: String, server: &ServerArgs) -> Result<(), Failure> {
    let request = PauseJobRequest { name: name.clone() };
    client(server).await?.pause_job(request).await?;
    eprintln!("{name}: rests until it is resumed");
    Ok(())
}

async fn resume(name: String, server: &ServerArgs) -> Result<(), Failure> {
    let request = ResumeJobRequest { name: name.clone() };
    client(server).await?.resume_job(request).await?;
    eprintln!("{name}: goes on");
    Ok(())
}

async fn run_once(
    name: String,
    at: Option<i64>,
    server: &ServerArgs,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let request = RunJobRequest {
        name,
        logical_time: at.map(timestamp),
    };
    let ended = client(server).await?.run_job(request).await?;
    let runs: Vec<JobRun> = ended.into_inner().run.into_iter().collect();
    write_batch(listing::runs(&runs)?, output)?;
    refuse_failed(&runs)
}

async fn backfill(
    name: String,
    (from, to): (Day, Day),
    server: &ServerArgs,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let mut jobs = client(server).await?;
    let zone = defined(&job(&mut jobs, name.clone()).await?)?
        .schedule
        .zone();
    let begins = |day: Option<Day>| {
        let begins = day.and_then(|day| beginning(day, &zone));
        begins.ok_or_else(|| Failure::usage("a day of the span lies beyond the calendar"))
    };
    let request = BackfillJobRequest {
        name,
        from: Some(timestamp(begins(Some(from))?)),
        to: Some(timestamp(begins(to.next())? - 1)),
    };
    let done = jobs.backfill_job(request).await?.into_inner();
    write_batch(listing::runs(&done.runs)?, output)?;
    eprintln!("{} started, {} skipped", done.started, done.skipped);
    refuse_failed(&done.runs)
}

/// The newest runs of a job, or of all where it has no name.
async fn runs(job: String, limit: usize, server: &ServerArgs) -> Result<Vec<JobRun>, Failure> {
    let mut jobs = client(server).await?;
    let mut runs = Vec::new();
    let mut page_token = String::new();
    loop {
        let left = limit.saturating_sub(runs.len()).min(PAGE_RUNS);
        let request = ListJobRunsRequest {
            job: job.clone(),
            page_size: left as u32,
            page_token,
        };
        let page = jobs.list_job_runs(request).await?.into_inner();
        runs.extend(page.runs);
        page_token = page.next_page_token;
        if page_token.is_empty() || runs.len() >= limit {
            return Ok(runs);
        }
    }
}

async fn cancel(name: String, at: i64, server: &ServerArgs) -> Result<(), Failure> {
    let time = timestamp(at);
    let request = CancelJobRunRequest {
        job: name.clone(),
        logical_time: Some(time),
    };
    client(server).await?.cancel_job_run(request).await?;
    eprintln!("{name}: the run of {time} has been told to stop");
    Ok(())
}

async fn replay(
    name: String,
    at: i64,
    server: &ServerArgs,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let request = ReplayJobRunRequest {
        job: name,
        logical_time: Some(timestamp(at)),
    };
    let replayed = client(server).await?.replay_job_run(request).await?;
    let replayed = replayed.into_inner();
    write_batch(listing::replay(&replayed)?, output)?;
    match replayed.rows_equal && replayed.file_equal != Some(false) {
        true => Ok(()),
        false => Err(Failure::own("the run gave something else")),
    }
}

fn source(
    name: Option<String>,
    cron: Option<String>,
    zone: Option<String>,
) -> Result<Source, Failure> {
    match (name, cron) {
        (Some(name), _) => Ok(Source::Job(name)),
        (None, Some(expression)) => Ok(Source::Schedule(Schedule {
            kind: Some(Kind::Cron(CronSchedule {
                expression,
                zone: zone.unwrap_or_default(),
            })),
        })),
        (None, None) => Err(Failure::usage("name a job, or give a schedule (--cron)")),
    }
}

async fn preview(
    source: Source,
    count: u32,
    server: &ServerArgs,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let request = PreviewScheduleRequest {
        source: Some(source),
        count,
    };
    let previewed = client(server).await?.preview_schedule(request).await?;
    write_batch(listing::times(&previewed.into_inner().times)?, output)
}

async fn job(jobs: &mut Client, name: String) -> Result<Job, Failure> {
    let found = jobs.get_job(GetJobRequest { name }).await?;
    Ok(found.into_inner().job.unwrap_or_default())
}

fn defined(job: &Job) -> Result<Definition, Failure> {
    let definition = job.definition.clone().unwrap_or_default();
    Ok(job_definition_of_proto(definition)?)
}

/// The first run that failed is the command's failure.
fn refuse_failed(runs: &[JobRun]) -> Result<(), Failure> {
    let failed = runs.iter().find(|run| run.status() == RunStatus::Failed);
    match failed {
        None => Ok(()),
        Some(run) => Err(Failure::own(format!(
            "{}: a run failed: {}",
            run.job, run.message
        ))),
    }
}
