//! How jobs fare, as the wire has it.

use didymium_api::v1::{
    Job as WireJob, JobRun, JobState as WireState, RunKind as WireKind, RunStatus as WireStatus,
};
use didymium_jobs::{Job, JobState, JobStatus, Run, RunKind, RunStatus};
use tonic::Status;

use super::convert::job_definition_to_proto;
use crate::request::timestamp;

/// A job and its state.
pub(super) fn job(job: Job, status: JobStatus) -> Result<WireJob, Status> {
    let state = match status.state {
        JobState::Active => WireState::Active,
        JobState::Paused => WireState::Paused,
        JobState::Suspended => WireState::Suspended,
    };
    Ok(WireJob {
        definition: Some(job_definition_to_proto(&job.definition)?),
        owner: job.owner_name,
        created: Some(timestamp(job.created_ms)),
        changed: Some(timestamp(job.changed_ms)),
        active_since: Some(timestamp(job.active_since_ms)),
        state: state.into(),
        from_file: job.from_file,
        next_run: status.next_ms.map(timestamp),
        last_run: status.last.map(run),
        last_success: status.last_success_ms.map(timestamp),
        overdue: status.overdue,
        running: status.running_ms.map(timestamp),
    })
}

/// A run that has ended.
pub(super) fn run(run: Run) -> JobRun {
    JobRun {
        job: run.job,
        logical_time: Some(timestamp(run.logical_ms)),
        kind: kind(run.kind).into(),
        status: status(run.status).into(),
        started: Some(timestamp(run.started_ms)),
        ended: Some(timestamp(run.ended_ms)),
        attempts: run.attempts,
        rows: run.rows,
        bytes: run.bytes,
        code: run.code.unwrap_or_default(),
        message: run.message.unwrap_or_default(),
        versions: run.versions.into_iter().collect(),
        known_by: run.known_by.map(|day| day.to_string()).unwrap_or_default(),
        committed_version: run.committed_version,
        file: run.file,
        file_sha256: run.file_sha256.unwrap_or_default(),
        rows_digest: run.rows_digest.unwrap_or_default(),
        sql_sha256: run.sql_sha256,
        sequence: run.sequence,
        owner: run.owner,
    }
}

fn kind(kind: RunKind) -> WireKind {
    match kind {
        RunKind::Scheduled => WireKind::Scheduled,
        RunKind::CatchUp => WireKind::CatchUp,
        RunKind::Manual => WireKind::Manual,
        RunKind::Backfill => WireKind::Backfill,
    }
}

fn status(status: RunStatus) -> WireStatus {
    match status {
        RunStatus::Succeeded => WireStatus::Succeeded,
        RunStatus::Failed => WireStatus::Failed,
        RunStatus::Skipped => WireStatus::Skipped,
    }
}
