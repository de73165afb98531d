//! A job's definition, between the wire and the domain.

use std::time::Duration;

use didymium_api::v1::schedule::Kind as ScheduleKind;
use didymium_api::v1::target::Kind as TargetKind;
use didymium_api::v1::value::Kind as ValueKind;
use didymium_api::v1::{
    self as wire, CronSchedule, JobDefinition, JobEvent, ReleaseSchedule, TableTarget, TargetMode,
};
use didymium_engine::{ErrorKind, Value};
use didymium_jobs::{
    CatchUp, Check, Definition, Event, Knowledge, Mode, Notify, Overlap, ParameterValue, Policy,
    Schedule, Target,
};
use didymium_model::Day;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::Status;

use super::of_jobs;
use crate::request::{invalid, parameter};
use crate::status::refused;

/// A schedule as it is written: the domain reads it and knows what it means.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ScheduleText {
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// A release as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct ReleaseText {
    table: String,
    by_day: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except_months: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_months: Option<u32>,
}

/// A definition in the words of the wire.
///
/// # Errors
/// INTERNAL for a schedule that the wire has no words for.
pub fn job_definition_to_proto(definition: &Definition) -> Result<JobDefinition, Status> {
    let parameters = definition.parameters.iter();
    let checks = definition.checks.iter();
    Ok(JobDefinition {
        name: definition.name.clone(),
        description: definition.description.clone(),
        sql: definition.sql.clone(),
        schedule: Some(wire_schedule(&definition.schedule)?),
        target: Some(wire_target(&definition.target)),
        parameters: parameters
            .map(|(name, value)| (name.clone(), wire_value(value)))
            .collect(),
        policy: Some(wire_policy(&definition.policy)),
        checks: checks
            .map(|check| wire::Check {
                name: check.name.clone(),
                sql: check.sql.clone(),
            })
            .collect(),
        notify: definition.notify.as_ref().map(|notify| wire::Notify {
            url: notify.url.clone(),
            on: notify.on.iter().map(|it| wire_event(*it).into()).collect(),
        }),
    })
}

/// A definition of the wire's, checked as one that is written in TOML.
///
/// # Errors
/// INVALID_ARGUMENT, with the field and the rule.
pub fn job_definition_of_proto(definition: JobDefinition) -> Result<Definition, Status> {
    let missing = |what: &str| invalid(format!("definition.{what}: it is not set"));
    let parameters = definition.parameters.into_iter();
    let checks = definition.checks.into_iter();
    let read = Definition {
        name: definition.name,
        description: definition.description,
        sql: definition.sql,
        schedule: schedule(definition.schedule.ok_or_else(|| missing("schedule"))?)?,
        target: target(definition.target.ok_or_else(|| missing("target"))?)?,
        parameters: parameters
            .map(|(name, value)| Ok((name.clone(), parameter_value(&name, value)?)))
            .collect::<Result<_, Status>>()?,
        policy: policy(definition.policy.unwrap_or_default())?,
        checks: checks
            .map(|check| Check {
                name: check.name,
                sql: check.sql,
            })
            .collect(),
        notify: definition.notify.map(notify).transpose()?,
    };
    read.check().map_err(of_jobs)?;
    Ok(read)
}

/// A schedule in the domain's terms.
pub(super) fn schedule(schedule: wire::Schedule) -> Result<Schedule, Status> {
    let mut text = ScheduleText::default();
    match schedule.kind {
        None => return Err(invalid("schedule: say when the job is due")),
        Some(ScheduleKind::Cron(cron)) => {
            text.cron = Some(cron.expression);
            text.zone = said(cron.zone);
        }
        Some(ScheduleKind::Every(every)) => {
            let every = duration("schedule.every", every)?;
            text.every = Some(humantime::format_duration(every).to_string());
        }
        Some(ScheduleKind::OnCommitTable(table)) => text.on_commit = Some(table),
        Some(ScheduleKind::Release(release)) => {
            text.release = Some(ReleaseText {
                table: release.table,
                by_day: release.by_day,
                zone: said(release.zone),
                except_months: release.except_months,
                lag_months: release.lag_months,
            });
        }
        Some(ScheduleKind::AfterJob(job)) => text.after = Some(job),
    }
    read("schedule", &text)
}

fn wire_schedule(schedule: &Schedule) -> Result<wire::Schedule, Status> {
    let text = serde_json::to_value(schedule).and_then(serde_json::from_value::<ScheduleText>);
    let text = text.map_err(|error| unspoken(&error.to_string()))?;
    let kind = match text {
        ScheduleText {
            cron: Some(expression),
            zone,
            ..
        } => ScheduleKind::Cron(CronSchedule {
            expression,
            zone: zone.unwrap_or_default(),
        }),
        ScheduleText {
            every: Some(every), ..
        } => ScheduleKind::Every(wire_duration(&every)?),
        ScheduleText {
            on_commit: Some(table),
            ..
        } => ScheduleKind::OnCommitTable(table),
        ScheduleText {
            release: Some(release),
            ..
        } => ScheduleKind::Release(ReleaseSchedule {
            table: release.table,
            by_day: release.by_day,
            zone: release.zone.unwrap_or_default(),
            except_months: release.except_months,
            lag_months: release.lag_months,
        }),
        ScheduleText {
            after: Some(job), ..
        } => ScheduleKind::AfterJob(job),
        nothing => return Err(unspoken(&format!("{nothing:?}"))),
    };
    Ok(wire::Schedule { kind: Some(kind) })
}

fn target(target: wire::Target) -> Result<Target, Status> {
    match target.kind {
        None => Err(invalid("target: say where the rows go")),
        Some(TargetKind::Table(into)) => Ok(Target::Table {
            mode: mode(into.mode()),
            table: into.table,
        }),
        Some(TargetKind::File(path)) => read("target", &json!({ "file": path })),
    }
}

fn wire_target(target: &Target) -> wire::Target {
    let kind = match target {
        Target::Table { table, mode } => TargetKind::Table(TableTarget {
            table: table.clone(),
            mode: wire_mode(*mode).into(),
        }),
        Target::File { path } => TargetKind::File(path.clone().into()),
    };
    wire::Target { kind: Some(kind) }
}

fn mode(mode: TargetMode) -> Mode {
    match mode {
        TargetMode::Unspecified => Mode::default(),
        TargetMode::Append => Mode::Append,
        TargetMode::Replace => Mode::Replace,
        TargetMode::ReplacePeriod => Mode::ReplacePeriod,
        TargetMode::Upsert => Mode::Upsert,
    }
}

fn wire_mode(mode: Mode) -> TargetMode {
    match mode {
        Mode::Append => TargetMode::Append,
        Mode::Replace => TargetMode::Replace,
        Mode::ReplacePeriod => TargetMode::ReplacePeriod,
        Mode::Upsert => TargetMode::Upsert,
    }
}

fn parameter_value(name: &str, value: wire::Value) -> Result<ParameterValue, Status> {
    let field = format!("${name}");
    match parameter(&field, value)? {
        Value::Boolean(truth) => Ok(ParameterValue::Boolean(truth)),
        Value::Integer(number) => Ok(ParameterValue::Integer(number)),
        Value::Double(number) if number.is_finite() => Ok(ParameterValue::Double(number)),
        Value::Double(_) => Err(invalid(format!("{field}: it must be finite"))),
        Value::Text(text) => Ok(ParameterValue::Text(text)),
        Value::Date(day) => Ok(ParameterValue::Date {
            date: day.to_string(),
        }),
        Value::Null | Value::Decimal(_) | Value::Timestamp(_) => Err(invalid(format!(
            "{field}: a job's parameter is true or false, a number, text or a day; cast it in the statement"
        ))),
    }
}

fn wire_value(value: &ParameterValue) -> wire::Value {
    let kind = match value {
        ParameterValue::Boolean(truth) => ValueKind::Boolean(*truth),
        ParameterValue::Integer(number) => ValueKind::Integer(*number),
        ParameterValue::Double(number) => ValueKind::Number(*number),
        ParameterValue::Text(text) => ValueKind::Text(text.clone()),
        ParameterValue::Date { date } => match Day::parse(date).and_then(Day::ymd) {
            Some((year, month, day)) => ValueKind::Date(wire::Date { year, month, day }),
            // A definition that was checked has none.
            None => ValueKind::Text(date.clone()),
        },
    };
    wire::Value { kind: Some(kind) }
}

fn policy(policy: wire::Policy) -> Result<Policy, Status> {
    let default = Policy::default();
    Ok(Policy {
        catch_up: match policy.catch_up() {
            wire::CatchUp::Unspecified => default.catch_up,
            wire::CatchUp::None => CatchUp::None,
            wire::CatchUp::Latest => CatchUp::Latest,
            wire::CatchUp::All => CatchUp::All,
        },
        catch_up_limit: policy.catch_up_limit.unwrap_or(default.catch_up_limit),
        overlap: match policy.overlap() {
            wire::Overlap::Unspecified => default.overlap,
            wire::Overlap::Skip => Some(Overlap::Skip),
            wire::Overlap::Queue => Some(Overlap::Queue),
        },
        timeout: match policy.timeout {
            Some(timeout) => duration("policy.timeout", timeout)?,
            None => default.timeout,
        },
        retries: policy.retries.unwrap_or(default.retries),
        suspend_after: policy.suspend_after.unwrap_or(default.suspend_after),
        knowledge: match policy.knowledge() {
            wire::Knowledge::Unspecified => default.knowledge,
            wire::Knowledge::Auto => Knowledge::Auto,
            wire::Knowledge::RunDate => Knowledge::RunDate,
            wire::Knowledge::Now => Knowledge::Now,
        },
    })
}

fn wire_policy(policy: &Policy) -> wire::Policy {
    let catch_up = match policy.catch_up {
        CatchUp::None => wire::CatchUp::None,
        CatchUp::Latest => wire::CatchUp::Latest,
        CatchUp::All => wire::CatchUp::All,
    };
    let overlap = match policy.overlap {
        None => wire::Overlap::Unspecified,
        Some(Overlap::Skip) => wire::Overlap::Skip,
        Some(Overlap::Queue) => wire::Overlap::Queue,
    };
    let knowledge = match policy.knowledge {
        Knowledge::Auto => wire::Knowledge::Auto,
        Knowledge::RunDate => wire::Knowledge::RunDate,
        Knowledge::Now => wire::Knowledge::Now,
    };
    wire::Policy {
        catch_up: catch_up.into(),
        catch_up_limit: Some(policy.catch_up_limit),
        overlap: overlap.into(),
        timeout: policy.timeout.try_into().ok(),
        retries: Some(policy.retries),
        suspend_after: Some(policy.suspend_after),
        knowledge: knowledge.into(),
    }
}

fn notify(notify: wire::Notify) -> Result<Notify, Status> {
    let on: Vec<Event> = notify
        .on
        .iter()
        .map(|number| event(*number))
        .collect::<Result<_, Status>>()?;
    // The domain knows what it tells of where nothing is said.
    let told: Notify = read("notify", &json!({ "url": notify.url }))?;
    Ok(Notify {
        on: if on.is_empty() { told.on } else { on },
        url: told.url,
    })
}

fn event(event: i32) -> Result<Event, Status> {
    match JobEvent::try_from(event) {
        Ok(JobEvent::Succeeded) => Ok(Event::Succeeded),
        Ok(JobEvent::Failed) => Ok(Event::Failed),
        Ok(JobEvent::Suspended) => Ok(Event::Suspended),
        Ok(JobEvent::Overdue) => Ok(Event::Overdue),
        Ok(JobEvent::Unspecified) | Err(_) => {
            Err(invalid(format!("notify.on: there is no event {event}")))
        }
    }
}

fn wire_event(event: Event) -> JobEvent {
    match event {
        Event::Succeeded => JobEvent::Succeeded,
        Event::Failed => JobEvent::Failed,
        Event::Suspended => JobEvent::Suspended,
        Event::Overdue => JobEvent::Overdue,
    }
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// What the domain reads out of its own text.
fn read<T: DeserializeOwned>(field: &str, text: &impl Serialize) -> Result<T, Status> {
    let read = serde_json::to_value(text).and_then(serde_json::from_value);
    read.map_err(|error| invalid(format!("{field}: {error}")))
}

fn duration(field: &str, time: prost_types::Duration) -> Result<Duration, Status> {
    Duration::try_from(time).map_err(|_| invalid(format!("{field}: must not be negative")))
}

fn wire_duration(text: &str) -> Result<prost_types::Duration, Status> {
    let time = humantime::parse_duration(text).map_err(|error| unspoken(&error.to_string()))?;
    let time = prost_types::Duration::try_from(time);
    time.map_err(|error| unspoken(&error.to_string()))
}

fn unspoken(why: &str) -> Status {
    let message = format!("the wire has no words for a schedule: {why}");
    refused(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_back_from_the_wire() {
        let table = r#"{ table = "growth", mode = "replace_period" }"#;
        for (schedule, target) in [
            (r#"{ cron = "0 6 * * *", zone = "Asia/Shanghai" }"#, table),
            (
                r#"{ every = "10m" }"#,
                r#"{ file = "{job}/{run_time}.csv" }"#,
            ),
            (r#"{ on_commit = "output" }"#, table),
            (r#"{ release = { table = "output", by_day = 20 } }"#, table),
            (
                r#"{ release = { table = "output", by_day = 20, zone = "Asia/Shanghai", except_months = [2], lag_months = 0 } }"#,
                table,
            ),
            (r#"{ after = "other" }"#, table),
        ] {
            let definition = Definition::parse(&format!(
                r#"
                name = "growth"
                description = "for the report"
                sql = "SELECT 1 AS x"
                schedule = {schedule}
                target = {target}
                parameters = {{ element = "NdPr", least = 3, share = 0.5, all = true, day = {{ date = "2026-03-31" }} }}
                policy = {{ catch_up = "all", overlap = "queue", retries = 0, suspend_after = 0, knowledge = "now" }}
                checks = [{{ name = "rows", sql = "SELECT 1 FROM result WHERE x IS NULL" }}]
                notify = {{ url = "https://example.org/hook", on = ["overdue"] }}
                "#
            ))
            .unwrap();
            let wire = job_definition_to_proto(&definition).unwrap();
            assert_eq!(job_definition_of_proto(wire).unwrap(), definition);
        }
    }

    #[test]
    fn what_is_not_said_is_as_in_a_file() {
        let definition = Definition::parse(
            r#"
            name = "growth"
            sql = "SELECT 1 AS x"
            schedule = { every = "10m" }
            target = { table = "growth" }
            notify = { url = "https://example.org/hook" }
            "#,
        )
        .unwrap();
        let mut wire = job_definition_to_proto(&definition).unwrap();
        wire.policy = None;
        if let Some(notify) = &mut wire.notify {
            notify.on.clear();
        }
        assert_eq!(job_definition_of_proto(wire).unwrap(), definition);
    }

    #[test]
    fn what_is_missing_is_named() {
        let definition = JobDefinition {
            name: "growth".to_owned(),
            schedule: Some(wire::Schedule::default()),
            ..JobDefinition::default()
        };
        let status = job_definition_of_proto(definition).unwrap_err();
        assert!(status.message().contains("when the job is due"), "{status}");
    }
}
