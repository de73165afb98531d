//! A calendar day and the months around it.

use std::fmt;

use chrono::{Datelike, Months, NaiveDate};

use crate::{CalendarDay, Interval};

/// A day of the proleptic Gregorian calendar, counted from 1970-01-01 as Arrow's `Date32` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

/// Days from 0001-01-01, which chrono counts as 1, to 1970-01-01.
const EPOCH_FROM_CE: i32 = 719_163;

impl Day {
    /// The day that lies this many days after 1970-01-01.
    pub const fn from_epoch(days: i32) -> Self {
        Self(days)
    }

    /// The day in UTC of a time in milliseconds since 1970.
    pub const fn at_ms(ms: i64) -> Self {
        const DAY_MS: i64 = 86_400_000;
        Self(ms.div_euclid(DAY_MS) as i32)
    }

    /// The day of a civil date; `None` where the calendar has no such day.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        match CalendarDay::of_civil(year, month, day) {
            Some(place) => place.exists().then(|| place.to_day())?,
            None => NaiveDate::from_ymd_opt(year, month, day).map(Self::from_date),
        }
    }

    /// Reads `YYYY-MM-DD` and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
        let [y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd] = bytes else {
            return None;
        };
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0, |number, digit| {
                let is_digit = digit.is_ascii_digit();
                is_digit.then(|| number * 10 + u32::from(digit - b'0'))
            })
        };
        let year = number(&[*y, *yy, *yyy, *yyyy])?;
        Self::from_ymd(year as i32, number(&[*m, *mm])?, number(&[*d, *dd])?)
    }

    /// Year, month and day; `None` beyond the years that chrono knows.
    pub fn ymd(self) -> Option<(i32, u32, u32)> {
        CalendarDay::of(self)
            .and_then(CalendarDay::civil)
            .or_else(|| {
                let date = self.date()?;
                Some((date.year(), date.month(), date.day()))
            })
    }

    /// Days since 1970-01-01.
    pub const fn days_from_epoch(self) -> i32 {
        self.0
    }

    /// Whether the next day belongs to another month.
    pub fn is_month_end(self) -> bool {
        CalendarDay::of(self).is_some_and(CalendarDay::is_month_end)
    }

    /// The day one interval earlier; where the month lacks the day, its last. `None` beyond the calendar.
    pub fn earlier(self, interval: Interval) -> Option<Self> {
        match interval {
            Interval::Months(months) => self.months_later(-i64::from(months)).or_else(|| {
                let earlier = self.date()?.checked_sub_months(Months::new(months));
                earlier.map(Self::from_date)
            }),
            Interval::Days(days) => self.0.checked_sub_unsigned(days).map(Self),
        }
    }

    /// The day so many intervals later, counted from this one, so that a month's end never drifts.
    pub fn later(self, interval: Interval, times: u32) -> Option<Self> {
        match interval {
            Interval::Months(months) => {
                let months = months.checked_mul(times)?;
                self.months_later(months.into()).or_else(|| {
                    let later = self.date()?.checked_add_months(Months::new(months));
                    later.map(Self::from_date)
                })
            }
            Interval::Days(days) => self
                .0
                .checked_add_unsigned(days.checked_mul(times)?)
                .map(Self),
        }
    }

    /// `None` outside of the years that [`CalendarDay`] reckons with, which is much faster than chrono.
    fn months_later(self, months: i64) -> Option<Self> {
        CalendarDay::of(self)?.months_later(months).to_day()
    }

    /// The next day; `None` after the last that can be counted.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The civil date; `None` beyond the years that chrono knows, about 262,000 either way.
    pub(crate) fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(self.0.checked_add(EPOCH_FROM_CE)?)
    }

    pub(crate) fn from_date(date: NaiveDate) -> Self {
        Self(date.num_days_from_ce() - EPOCH_FROM_CE)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.date() {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_iso_dates_are_read() {
        assert_eq!(Day::parse("1970-01-02"), Some(Day::from_epoch(1)));
        for text in [
            "2023-02-29",
            "2024-1-05",
            "2024-01-05 ",
            "+024-01-05",
            "",
            "20240105",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_beyond_the_calendar_still_prints() {
        assert_eq!(Day::from_epoch(i32::MAX).to_string(), "day 2147483647");
    }
}
