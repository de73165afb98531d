//! When a job is due: by the clock, after a commit, when a release arrives, or after another job.

mod cron;
mod every;
mod release;

use std::fmt;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub use cron::Cron;
pub use every::Every;
pub use release::Release;

use crate::definition::is_name;

/// When a job is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleText", into = "ScheduleText")]
pub enum Schedule {
    /// `{ cron = "0 6 * * *", zone = "Asia/Shanghai" }`; UTC where no zone is given.
    Cron(Cron),
    /// `{ every = "10 minutes" }`: at the multiples of that time since 1970.
    Every(Every),
    /// `{ on_commit = "exports" }`
    OnCommit {
        /// The table whose commits start the job.
        table: String,
    },
    /// `{ release = { table = "exports", by_day = 10, zone = "Asia/Shanghai", except_months = [2] } }`
    Release(Release),
    /// `{ after = "growth" }`
    After {
        /// The job whose success starts this one.
        job: String,
    },
}

/// The fires of a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// How many.
    pub count: u64,
    /// The newest of them in milliseconds since 1970, the latest last.
    pub newest: Vec<i64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    release: Option<Release>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl TryFrom<ScheduleText> for Schedule {
    type Error = String;

    fn try_from(text: ScheduleText) -> Result<Self, String> {
        if text.zone.is_some() && text.cron.is_none() {
            return Err("zone belongs beside cron, or inside of release".to_owned());
        }
        match (
            text.cron,
            text.every,
            text.on_commit,
            text.release,
            text.after,
        ) {
            (Some(expression), None, None, None, None) => {
                let zone = checked_zone(text.zone.as_deref())?;
                Cron::parse(&expression, zone).map(Self::Cron)
            }
            (None, Some(step), None, None, None) => Every::parse(&step).map(Self::Every),
            (None, None, Some(table), None, None) => {
                let table = checked_name("on_commit", table)?;
                Ok(Self::OnCommit { table })
            }
            (None, None, None, Some(release), None) => Ok(Self::Release(release)),
            (None, None, None, None, Some(job)) => {
                let job = checked_name("after", job)?;
                Ok(Self::After { job })
            }
            _ => Err(
                "a schedule is exactly one of cron, every, on_commit, release and after".to_owned(),
            ),
        }
    }
}

impl From<Schedule> for ScheduleText {
    fn from(schedule: Schedule) -> Self {
        let mut text = Self::default();
        match schedule {
            Schedule::Cron(cron) => {
                text.cron = Some(cron.expression().to_owned());
                text.zone = Some(cron.zone().name().to_owned());
            }
            Schedule::Every(every) => text.every = Some(every.text()),
            Schedule::OnCommit { table } => text.on_commit = Some(table),
            Schedule::Release(release) => text.release = Some(release),
            Schedule::After { job } => text.after = Some(job),
        }
        text
    }
}

fn checked_name(field: &str, name: String) -> Result<String, String> {
    if is_name(&name) {
        Ok(name)
    } else {
        Err(format!(
            "{field} '{name}' is no name: lower-case letters, digits and _, a letter first"
        ))
    }
}

fn checked_zone(name: Option<&str>) -> Result<Tz, String> {
    name.map_or(Ok(Tz::UTC), |name| {
        name.parse().map_err(|_| {
            format!("'{name}' is no time zone: give one of the IANA list, such as Asia/Shanghai")
        })
    })
}

impl Schedule {
    /// The job after whose success this one is due.
    pub fn after(&self) -> Option<&str> {
        match self {
            Self::After { job } => Some(job),
            Self::Cron(_) | Self::Every(_) | Self::OnCommit { .. } | Self::Release(_) => None,
        }
    }

    /// The table after whose commits it is due.
    pub fn on_commit(&self) -> Option<&str> {
        match self {
            Self::OnCommit { table } => Some(table),
            Self::Cron(_) | Self::Every(_) | Self::Release(_) | Self::After { .. } => None,
        }
    }

    /// The release that it waits for.
    pub fn release(&self) -> Option<&Release> {
        match self {
            Self::Release(release) => Some(release),
            Self::Cron(_) | Self::Every(_) | Self::OnCommit { .. } | Self::After { .. } => None,
        }
    }

    /// Whether a clock makes it due, and nothing else.
    pub fn is_clocked(&self) -> bool {
        matches!(self, Self::Cron(_) | Self::Every(_))
    }

    /// The table that it waits for.
    pub fn watched(&self) -> Option<&str> {
        let release = self.release().map(|release| release.table.as_str());
        self.on_commit().or(release)
    }

    /// The zone whose calendar it reckons with; UTC where it has none.
    pub fn zone(&self) -> Tz {
        match self {
            Self::Cron(cron) => cron.zone(),
            Self::Release(release) => release.zone,
            Self::Every(_) | Self::OnCommit { .. } | Self::After { .. } => Tz::UTC,
        }
    }

    /// The first fire strictly after a moment, both in milliseconds since 1970; of a release, which fires when
    /// it arrives, the day by which it should. `None` where no clock tells.
    pub fn next(&self, after_ms: i64) -> Option<i64> {
        match self {
            Self::Cron(cron) => cron.next(after_ms),
            Self::Every(every) => every.next(after_ms),
            Self::Release(release) => release.due_for_month_after(after_ms),
            Self::OnCommit { .. } | Self::After { .. } => None,
        }
    }

    /// The fires after one moment and up to another, and the newest so many of them; none where no clock
    /// starts the job.
    pub fn due(&self, after_ms: i64, until_ms: i64, most: usize) -> Due {
        match self {
            Self::Cron(cron) => cron.due(after_ms, until_ms, most),
            Self::Every(every) => every.due(after_ms, until_ms, most),
            Self::Release(_) | Self::OnCommit { .. } | Self::After { .. } => Due::default(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => cron.fmt(f),
            Self::Every(every) => every.fmt(f),
            Self::OnCommit { table } => write!(f, "on commit of {table}"),
            Self::Release(release) => release.fmt(f),
            Self::After { job } => write!(f, "after {job}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Job {
        schedule: Schedule,
    }

    fn read(schedule: &str) -> Result<Schedule, String> {
        toml::from_str::<Job>(&format!("schedule = {schedule}"))
            .map(|job| job.schedule)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_schedule_reads_plainly_and_comes_back_from_json() {
        for (written, plain) in [
            (
                r#"{ cron = "0 6 * * *", zone = "Asia/Shanghai" }"#,
                "cron 0 6 * * * in Asia/Shanghai",
            ),
            (r#"{ cron = "@daily" }"#, "cron @daily in UTC"),
            (r#"{ every = "10 minutes" }"#, "every 10m"),
            (r#"{ on_commit = "exports" }"#, "on commit of exports"),
            (
                r#"{ release = { table = "exports", by_day = 10, zone = "Asia/Shanghai", except_months = [2] } }"#,
                "release of exports by day 10 in Asia/Shanghai",
            ),
            (r#"{ after = "growth" }"#, "after growth"),
        ] {
            let schedule = read(written).unwrap();
            assert_eq!(schedule.to_string(), plain);
            let json = serde_json::to_string(&schedule).unwrap();
            assert_eq!(
                serde_json::from_str::<Schedule>(&json).unwrap(),
                schedule,
                "{json}"
            );
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (written, said) in [
            ("{ }", "exactly one of"),
            (r#"{ every = "1h", after = "growth" }"#, "exactly one of"),
            (r#"{ every = "1h", zone = "UTC" }"#, "beside cron"),
            (
                r#"{ cron = "0 6 * * *", zone = "Peking" }"#,
                "'Peking' is no time zone",
            ),
            (r#"{ cron = "0 0 31 2 *" }"#, "never fires"),
            (
                r#"{ on_commit = "Exports" }"#,
                "on_commit 'Exports' is no name",
            ),
            (r#"{ after = "" }"#, "after '' is no name"),
            (r#"{ hourly = true }"#, "unknown field"),
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(said), "{written}: {error}");
        }
    }

    #[test]
    fn only_a_clock_makes_due_and_a_release_is_previewed() {
        let hour_ms = 3_600_000;
        let hourly = read(r#"{ every = "1h" }"#).unwrap();
        assert_eq!(hourly.next(0), Some(hour_ms));
        assert_eq!(hourly.due(0, 2 * hour_ms, 1).newest, [2 * hour_ms]);

        let release = read(r#"{ release = { table = "exports", by_day = 2 } }"#).unwrap();
        assert_eq!(release.next(0), Some(24 * hour_ms));
        assert_eq!(release.due(0, 48 * hour_ms, 9), Due::default());

        let after = read(r#"{ after = "growth" }"#).unwrap();
        assert_eq!((after.next(0), after.after()), (None, Some("growth")));
    }
}
