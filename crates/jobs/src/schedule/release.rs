//! Releases: figures that a publisher brings out by a day of the month, and that a job waits for.

use std::fmt;

use chrono_tz::Tz;
use didymium_model::Day;
use serde::{Deserialize, Serialize};

use super::{checked_name, checked_zone};
use crate::logical_time::{day, midnight_ms, month_days, month_number};

/// A release that is expected month by month. The job runs when it has arrived; its logical time is the
/// release's day at midnight, whenever that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ReleaseText", into = "ReleaseText")]
pub struct Release {
    /// The table that it arrives in.
    pub table: String,
    /// The day of the month by which it is out; the month's last where it has none such.
    pub by_day: u32,
    /// The zone of that day.
    pub zone: Tz,
    /// Months, 1 to 12, in which nothing is released. Chinese customs publish January and February as one
    /// figure in March: `[2]`.
    pub except_months: Vec<u32>,
    /// By how many months the figure is older than its release.
    pub lag_months: u32,
}

const MOST_LAG_MONTHS: u32 = 120;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl TryFrom<ReleaseText> for Release {
    type Error = String;

    fn try_from(text: ReleaseText) -> Result<Self, String> {
        if !(1..=31).contains(&text.by_day) {
            return Err(format!(
                "by_day {}: a day of the month, 1 to 31",
                text.by_day
            ));
        }
        if let Some(month) = text.except_months.iter().find(|it| !(1..=12).contains(*it)) {
            return Err(format!("except_months: {month} is no month, 1 to 12"));
        }
        if (1..=12).all(|month| text.except_months.contains(&month)) {
            return Err(
                "except_months names every month: nothing would ever be released".to_owned(),
            );
        }
        let lag_months = text.lag_months.unwrap_or(1);
        if lag_months > MOST_LAG_MONTHS {
            return Err(format!(
                "lag_months {lag_months}: at most {MOST_LAG_MONTHS}"
            ));
        }
        Ok(Self {
            table: checked_name("release: table", text.table)?,
            by_day: text.by_day,
            zone: checked_zone(text.zone.as_deref())?,
            except_months: text.except_months,
            lag_months,
        })
    }
}

impl From<Release> for ReleaseText {
    fn from(release: Release) -> Self {
        Self {
            table: release.table,
            by_day: release.by_day,
            zone: Some(release.zone.name().to_owned()),
            except_months: release.except_months,
            lag_months: Some(release.lag_months),
        }
    }
}

impl Release {
    /// The next logical time strictly after a moment.
    pub fn due_for_month_after(&self, after_ms: i64) -> Option<i64> {
        let month = month_number(day(after_ms, self.zone))?;
        // This month's day may be over and the next eleven without a release.
        (month..=month + 12)
            .filter(|month| {
                !self
                    .except_months
                    .contains(&(month.rem_euclid(12) as u32 + 1))
            })
            .filter_map(|month| self.due_in(month))
            .find(|due| *due > after_ms)
    }

    fn due_in(&self, month: i32) -> Option<i64> {
        let (first, last) = month_days(month)?;
        let wanted = Day::from_epoch(first.days_from_epoch() + self.by_day as i32 - 1);
        Some(midnight_ms(wanted.min(last), self.zone))
    }

    /// The last day of the period whose figure is released.
    pub fn expected_period_end(&self, due_ms: i64) -> Day {
        let due = day(due_ms, self.zone);
        let period = month_number(due).and_then(|month| month_days(month - self.lag_months as i32));
        period.map_or(due, |(_, last)| last)
    }

    /// Whether the figure is there, by the newest period that the table holds.
    pub fn arrived(&self, due_ms: i64, newest_period_end: Day) -> bool {
        newest_period_end >= self.expected_period_end(due_ms)
    }

    /// When a release that has not arrived is overdue: the day is over.
    pub fn overdue_from(&self, due_ms: i64) -> i64 {
        let due = day(due_ms, self.zone);
        due.next()
            .map_or(i64::MAX, |next| midnight_ms(next, self.zone))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, by_day, .. } = self;
        write!(
            f,
            "release of {table} by day {by_day} in {}",
            self.zone.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical_time::{parse, text};

    fn release(more: &str) -> Release {
        toml::from_str(&format!("table = \"exports\"\n{more}")).unwrap()
    }

    const CUSTOMS: &str = "by_day = 10\nzone = \"Asia/Shanghai\"\nexcept_months = [2]";

    #[test]
    fn a_release_is_due_by_its_day_in_its_zone() {
        for (more, after, due) in [
            (CUSTOMS, "2026-01-01", "2026-01-09T16:00:00Z"),
            (CUSTOMS, "2026-01-09T15:59:59.999Z", "2026-01-09T16:00:00Z"),
            (CUSTOMS, "2026-01-09T16:00:00Z", "2026-03-09T16:00:00Z"),
            (CUSTOMS, "2026-12-31T15:59:00Z", "2027-01-09T16:00:00Z"),
            ("by_day = 31", "2026-01-31", "2026-02-28T00:00:00Z"),
            ("by_day = 31", "2026-02-28", "2026-03-31T00:00:00Z"),
            ("by_day = 29", "2028-02-01", "2028-02-29T00:00:00Z"),
            (
                "by_day = 5\nexcept_months = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]",
                "2026-06-05",
                "2027-06-05T00:00:00Z",
            ),
            // Beirut leaves out that midnight.
            (
                "by_day = 29\nzone = \"Asia/Beirut\"",
                "2026-03-01",
                "2026-03-28T22:00:00Z",
            ),
        ] {
            let next = release(more).due_for_month_after(parse(after).unwrap());
            assert_eq!(next.map(text).as_deref(), Some(due), "{more} after {after}");
        }
    }

    #[test]
    fn it_has_arrived_with_the_month_before() {
        let customs = release(CUSTOMS);
        let due = parse("2026-03-09T16:00:00Z").unwrap();
        let day = |text: &str| Day::parse(text).unwrap();
        assert_eq!(customs.expected_period_end(due), day("2026-02-28"));
        assert!(!customs.arrived(due, day("2026-01-31")));
        assert!(customs.arrived(due, day("2026-02-28")));
        assert!(customs.arrived(due, day("2026-03-31")));
        assert_eq!(text(customs.overdue_from(due)), "2026-03-10T16:00:00Z");

        for (lag, end) in [(0, "2026-03-31"), (1, "2026-02-28"), (3, "2025-12-31")] {
            let lagging = release(&format!("{CUSTOMS}\nlag_months = {lag}"));
            assert_eq!(lagging.expected_period_end(due), day(end), "{lag}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (more, said) in [
            ("by_day = 0", "1 to 31"),
            ("by_day = 32", "1 to 31"),
            ("by_day = 10\nexcept_months = [13]", "13 is no month"),
            (
                "by_day = 10\nexcept_months = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]",
                "every month",
            ),
            ("by_day = 10\nlag_months = 121", "at most 120"),
            ("by_day = 10\nzone = \"Peking\"", "no time zone"),
            ("by_day = 10\nday = 3", "unknown field"),
        ] {
            let read = toml::from_str::<Release>(&format!("table = \"exports\"\n{more}"));
            let error = read.unwrap_err().to_string();
            assert!(error.contains(said), "{more}: {error}");
        }
    }
}
