//! The time that a value covers, and the period one interval earlier.

use std::fmt;

use crate::{Day, Interval};

/// A day, and the time of that day for data with timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// The calendar day.
    pub day: Day,
    /// Nanoseconds since the day's midnight; 0 for dates.
    pub nanosecond: i64,
}

/// A period with both ends included. One date is the period of that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The first day.
    pub start: Moment,
    /// The last day, part of the period.
    pub end: Moment,
}

impl Period {
    /// The period from one day through another.
    pub fn of_days(start: Day, end: Day) -> Self {
        Self {
            start: start.into(),
            end: end.into(),
        }
    }

    /// The periods that count as lying exactly one interval earlier, the preferred one first.
    ///
    /// A single date takes the same date, and only where that is not observed, from a month's end,
    /// the end of the base month. A longer period keeps both its ends: where it ends with a month,
    /// its base does too, so that February 2025 meets all 29 days of February 2024.
    pub fn bases(self, interval: Interval) -> [Option<Self>; 2] {
        let Interval::Months(months) = interval else {
            return [self.days_earlier(interval), None];
        };
        if self.start == self.end {
            return [
                self.start.same_day_earlier(months).map(Self::from),
                self.start.month_end_earlier(months).map(Self::from),
            ];
        }
        let start = self
            .start
            .same_day_earlier(months)
            .or_else(|| self.start.month_end_earlier(months));
        let end = self
            .end
            .month_end_earlier(months)
            .or_else(|| self.end.same_day_earlier(months));
        [start.zip(end).map(|(start, end)| Self { start, end }), None]
    }

    fn days_earlier(self, interval: Interval) -> Option<Self> {
        let Interval::Days(days) = interval else {
            return None;
        };
        let earlier = |moment: Moment| {
            Some(Moment {
                day: moment.day.days_earlier(days)?,
                ..moment
            })
        };
        Some(Self {
            start: earlier(self.start)?,
            end: earlier(self.end)?,
        })
    }
}

impl Moment {
    fn same_day_earlier(self, months: u32) -> Option<Self> {
        Some(Self {
            day: self.day.same_day_months_earlier(months)?,
            ..self
        })
    }

    /// The end of the earlier month, for a day that ends its own.
    fn month_end_earlier(self, months: u32) -> Option<Self> {
        Some(Self {
            day: self.day.month_end_months_earlier(months)?,
            ..self
        })
    }
}

impl From<Day> for Moment {
    fn from(day: Day) -> Self {
        Self { day, nanosecond: 0 }
    }
}

impl From<Moment> for Period {
    fn from(moment: Moment) -> Self {
        Self {
            start: moment,
            end: moment,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.day.fmt(f)?;
        if self.nanosecond == 0 {
            return Ok(());
        }
        let seconds = self.nanosecond / 1_000_000_000;
        write!(
            f,
            "T{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        match self.nanosecond % 1_000_000_000 {
            0 => Ok(()),
            fraction => write!(f, ".{fraction:09}"),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end {
            return self.start.fmt(f);
        }
        write!(f, "{} to {}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(start: &str, end: &str) -> Period {
        let day = |text| Day::parse(text).expect("a test names real days");
        Period::of_days(day(start), day(end))
    }

    fn bases(start: &str, end: &str, interval: Interval) -> Vec<String> {
        let bases = period(start, end).bases(interval);
        bases
            .into_iter()
            .flatten()
            .map(|base| base.to_string())
            .collect()
    }

    #[test]
    fn january_and_february_meet_january_and_february() {
        assert_eq!(
            bases("2025-01-01", "2025-02-28", Interval::YEAR),
            ["2024-01-01 to 2024-02-29"]
        );
        assert_eq!(
            bases("2024-01-01", "2024-02-29", Interval::YEAR),
            ["2023-01-01 to 2023-02-28"]
        );
    }

    #[test]
    fn a_single_date_prefers_the_same_date_and_falls_back_to_the_month_end() {
        assert_eq!(
            bases("2025-02-28", "2025-02-28", Interval::YEAR),
            ["2024-02-28", "2024-02-29"]
        );
        assert_eq!(
            bases("2024-02-29", "2024-02-29", Interval::YEAR),
            ["2023-02-28"]
        );
        assert_eq!(
            bases("2024-03-30", "2024-03-30", Interval::Months(1)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn weeks_count_days() {
        assert_eq!(
            bases("2024-03-01", "2024-03-07", Interval::Days(7)),
            ["2024-02-23 to 2024-02-29"]
        );
    }
}
