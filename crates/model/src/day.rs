//! A calendar day and the months around it.

use std::fmt;

use chrono::{Datelike, Days, Months, NaiveDate};

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

    /// The day of a civil date; `None` where the calendar has no such day.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        NaiveDate::from_ymd_opt(year, month, day).map(Self::from_date)
    }

    /// Reads `YYYY-MM-DD` and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(i, byte)| match i {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date = shaped.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
        Some(Self::from_date(date))
    }

    /// Days since 1970-01-01.
    pub const fn days_from_epoch(self) -> i32 {
        self.0
    }

    /// Whether the next day belongs to another month.
    pub fn is_month_end(self) -> bool {
        self.date().is_some_and(is_month_end)
    }

    /// The same day of the month, `months` earlier; `None` where that month has no such day.
    pub fn same_day_months_earlier(self, months: u32) -> Option<Self> {
        let date = self.date()?;
        let earlier = date.checked_sub_months(Months::new(months))?;
        (earlier.day() == date.day()).then(|| Self::from_date(earlier))
    }

    /// The last day of the month that lies `months` before this day's month.
    pub fn month_end_months_earlier(self, months: u32) -> Option<Self> {
        let first = self.date()?.with_day(1)?;
        let earlier = first.checked_sub_months(Months::new(months))?;
        let last = earlier.checked_add_months(Months::new(1))?.pred_opt()?;
        Some(Self::from_date(last))
    }

    /// The day `days` earlier.
    pub fn days_earlier(self, days: u32) -> Option<Self> {
        let date = self.date()?.checked_sub_days(Days::new(days.into()))?;
        Some(Self::from_date(date))
    }

    /// The civil date; `None` beyond the years that chrono knows, about 262,000 either way.
    pub(crate) fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_num_days_from_ce_opt(self.0.checked_add(EPOCH_FROM_CE)?)
    }

    fn from_date(date: NaiveDate) -> Self {
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

fn is_month_end(date: NaiveDate) -> bool {
    date.succ_opt().is_some_and(|next| next.day() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a test names real days")
    }

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
    fn a_day_that_the_earlier_month_lacks_has_no_same_day() {
        assert_eq!(day("2024-02-29").same_day_months_earlier(12), None);
        assert_eq!(day("2024-03-30").same_day_months_earlier(1), None);
        assert_eq!(
            day("2025-02-28").same_day_months_earlier(12),
            Some(day("2024-02-28"))
        );
    }

    #[test]
    fn a_month_end_finds_the_month_end() {
        assert_eq!(
            day("2025-02-28").month_end_months_earlier(12),
            Some(day("2024-02-29"))
        );
        assert_eq!(
            day("2024-03-31").month_end_months_earlier(1),
            Some(day("2024-02-29"))
        );
        assert_eq!(
            day("2024-01-31").month_end_months_earlier(1),
            Some(day("2023-12-31"))
        );
    }

    #[test]
    fn days_beyond_the_calendar_give_nothing_and_still_print() {
        let far = Day::from_epoch(i32::MAX);
        assert_eq!(far.same_day_months_earlier(1), None);
        assert_eq!(far.month_end_months_earlier(1), None);
        assert_eq!(far.to_string(), "day 2147483647");
    }
}
