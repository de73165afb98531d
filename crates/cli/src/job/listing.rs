//! Jobs and their runs, for people.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array,
};
use didymium_api::v1::{Job, JobRun, ReplayJobRunResponse};
use prost_types::Timestamp;

use super::defined;
use crate::failure::Failure;
use crate::moment::ms;

/// Jobs, a row for each.
pub(super) fn jobs(jobs: &[Job]) -> Result<RecordBatch, Failure> {
    let mut schedules = Vec::new();
    for job in jobs {
        schedules.push(defined(job)?.schedule.to_string());
    }
    let last = |job: &Job| job.last_run.as_ref().map(status).unwrap_or_default();
    let name = |job: &Job| job.definition.as_ref().map(|it| it.name.clone());
    Ok(RecordBatch::try_from_iter([
        ("name", texts(jobs, |job| name(job).unwrap_or_default())),
        ("state", texts(jobs, state_name)),
        ("schedule", texts(&schedules, String::clone)),
        ("owner", texts(jobs, |job| job.owner.clone())),
        ("next_run", instants(jobs, |job| job.next_run)),
        ("last_status", texts(jobs, last)),
        ("last_success", instants(jobs, |job| job.last_success)),
        ("overdue", truths(jobs, |job| Some(job.overdue))),
    ])?)
}

/// Runs, a row for each.
pub(super) fn runs(runs: &[JobRun]) -> Result<RecordBatch, Failure> {
    let kind = |run: &JobRun| word(run.kind().as_str_name(), "RUN_KIND_");
    Ok(RecordBatch::try_from_iter([
        ("job", texts(runs, |run| run.job.clone())),
        ("logical_time", instants(runs, |run| run.logical_time)),
        ("kind", texts(runs, kind)),
        ("status", texts(runs, status)),
        ("started", instants(runs, |run| run.started)),
        ("ended", instants(runs, |run| run.ended)),
        ("attempts", counts(runs, |run| Some(run.attempts.into()))),
        ("rows", counts(runs, |run| run.rows)),
        ("known_by", texts(runs, |run| run.known_by.clone())),
        ("code", texts(runs, |run| run.code.clone())),
        ("message", texts(runs, |run| run.message.clone())),
    ])?)
}

/// What a replay gave, in one row.
pub(super) fn replay(replayed: &ReplayJobRunResponse) -> Result<RecordBatch, Failure> {
    let row = std::slice::from_ref(replayed);
    Ok(RecordBatch::try_from_iter([
        ("rows_equal", truths(row, |it| Some(it.rows_equal))),
        ("file_equal", truths(row, |it| it.file_equal)),
        ("rows", counts(row, |it| Some(it.rows))),
        ("versions", texts(row, |it| versions(&it.versions))),
    ])?)
}

/// Times at which a schedule is due.
pub(super) fn times(times: &[Timestamp]) -> Result<RecordBatch, Failure> {
    let due = instants(times, |time| Some(*time));
    Ok(RecordBatch::try_from_iter([("due", due)])?)
}

/// How a job fares, in sentences of a line each.
pub(super) fn state(job: &Job) -> Vec<String> {
    let mut lines = vec![format!("{}, made by {}", state_name(job), job.owner)];
    if let Some(next) = job.next_run {
        lines.push(format!("due next at {next}"));
    }
    if let Some(running) = job.running {
        lines.push(format!("the run of {running} is under way"));
    }
    if job.overdue {
        lines.push("a release that it waits for is overdue".to_owned());
    }
    if let Some(run) = &job.last_run {
        let time = run.logical_time.unwrap_or_default();
        lines.push(format!("the run of {time} {}", status(run)));
        // Only a comment's own line is one.
        lines.extend(run.message.lines().map(|line| format!("  {line}")));
    }
    if let Some(success) = job.last_success {
        lines.push(format!("succeeded last at {success}"));
    }
    lines
}

fn state_name(job: &Job) -> String {
    word(job.state().as_str_name(), "JOB_STATE_")
}

fn status(run: &JobRun) -> String {
    word(run.status().as_str_name(), "RUN_STATUS_")
}

/// A value of an enum as people write it.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

fn versions(versions: &HashMap<String, u64>) -> String {
    let mut tables: Vec<String> = versions
        .iter()
        .map(|(table, version)| format!("{table} {version}"))
        .collect();
    tables.sort();
    tables.join(", ")
}

/// A column of texts; an empty one is NULL.
fn texts<T>(rows: &[T], text: impl Fn(&T) -> String) -> ArrayRef {
    let texts = rows.iter().map(text);
    let texts = texts.map(|text| Some(text).filter(|text| !text.is_empty()));
    Arc::new(StringArray::from_iter(texts))
}

fn truths<T>(rows: &[T], truth: impl Fn(&T) -> Option<bool>) -> ArrayRef {
    let truths: Vec<Option<bool>> = rows.iter().map(truth).collect();
    Arc::new(BooleanArray::from(truths))
}

fn counts<T>(rows: &[T], count: impl Fn(&T) -> Option<u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter(rows.iter().map(count)))
}

/// A column of moments in UTC.
fn instants<T>(rows: &[T], time: impl Fn(&T) -> Option<Timestamp>) -> ArrayRef {
    let times = rows.iter().map(|row| time(row).map(ms));
    Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
}
