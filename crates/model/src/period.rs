//! The time that a value covers.

use std::fmt;

use crate::{CalendarDay, Day, Interval};

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
}

impl Moment {
    /// The same time one interval earlier; where the month lacks the day, on its last. `None` beyond
    /// the calendar.
    pub fn earlier(self, interval: Interval) -> Option<Self> {
        let day = self.day.earlier(interval)?;
        Some(Self { day, ..self })
    }
}

impl Period {
    /// How many whole calendar months the period fills; `None` where it starts or ends within one.
    pub fn whole_months(self) -> Option<i64> {
        let (start, end) = (
            CalendarDay::of(self.start.day)?,
            CalendarDay::of(self.end.day)?,
        );
        let is_whole = start.day() == 1 && end.is_month_end() && start <= end;
        is_whole.then(|| end.month() - start.month() + 1)
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
