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
    /// The periods of one interval each that follow each other from a day on, up to the calendar's end.
    /// Each starts a whole number of intervals after the first, so that a month's end never drifts.
    pub fn from_on(first: Day, interval: Interval) -> impl Iterator<Item = Self> {
        let start = move |number| match number {
            0 => Some(first),
            number => first.later(interval, number),
        };
        (0..).map_while(move |number: u32| {
            let (start, next) = (start(number)?, start(number.checked_add(1)?)?);
            let end = Day::from_epoch(next.days_from_epoch() - 1);
            Some(Self::of_days(start, end))
        })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_from_a_months_end_do_not_drift() {
        let first = Day::parse("2024-01-31").expect("a test names real days");
        let periods: Vec<String> = Period::from_on(first, Interval::MONTH)
            .take(3)
            .map(|period| period.to_string())
            .collect();
        assert_eq!(
            periods,
            [
                "2024-01-31 to 2024-02-28",
                "2024-02-29 to 2024-03-30",
                "2024-03-31 to 2024-04-29"
            ]
        );
    }

    #[test]
    fn only_whole_months_are_counted() {
        let months = |start, end| {
            let day = |text| Day::parse(text).expect("a test names real days");
            Period::of_days(day(start), day(end)).whole_months()
        };
        assert_eq!(months("2024-01-01", "2024-02-29"), Some(2));
        assert_eq!(months("2023-07-01", "2024-06-30"), Some(12));
        assert_eq!(months("2024-01-01", "2024-02-28"), None);
        assert_eq!(months("2024-01-02", "2024-01-31"), None);
        assert_eq!(months("2024-03-01", "2024-01-31"), None);
    }
}
