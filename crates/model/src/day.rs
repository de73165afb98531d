//! A calendar day and the months around it.

use std::fmt;

use chrono::{Datelike, NaiveDate};

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
        let civil = Civil::of(self);
        civil.day == civil.days_in_month()
    }

    /// The same day of the month, `months` earlier; `None` where that month has no such day.
    pub fn same_day_months_earlier(self, months: u32) -> Option<Self> {
        let civil = Civil::of(self);
        let month = civil.first_of_month_earlier(months);
        (civil.day <= month.days_in_month()).then(|| Civil { day: civil.day, ..month }.to_day())?
    }

    /// For the last day of a month, the last day of the month that lies `months` before it; `None`
    /// for any other day.
    pub fn month_end_months_earlier(self, months: u32) -> Option<Self> {
        let civil = Civil::of(self);
        if civil.day != civil.days_in_month() {
            return None;
        }
        let month = civil.first_of_month_earlier(months);
        Civil { day: month.days_in_month(), ..month }.to_day()
    }

    /// The day `days` earlier; `None` beyond the days that the type can count.
    pub fn days_earlier(self, days: u32) -> Option<Self> {
        self.0.checked_sub_unsigned(days).map(Self)
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

/// A day as year, month and day.
///
/// Growth looks a period's base up in every row, and chrono's conversions took more time there than
/// all else together. Years start in March here, so that the leap day is a year's last and every
/// month's length follows from its number.
#[derive(Debug, Clone, Copy)]
struct Civil {
    year: i64,
    month: u32,
    day: u32,
}

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_FROM_MARCH: i64 = 719_468;

impl Civil {
    fn of(day: Day) -> Self {
        let days = i64::from(day.0) + EPOCH_FROM_MARCH;
        let era = days.div_euclid(ERA_DAYS);
        let day_of_era = days.rem_euclid(ERA_DAYS) as u32;
        let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + i64::from(year_of_era) + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
        }
    }

    fn to_day(self) -> Option<Day> {
        let march_year = self.year - i64::from(self.month <= 2);
        let era = march_year.div_euclid(400);
        let year_of_era = march_year.rem_euclid(400) as u32;
        let march_month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * ERA_DAYS + i64::from(day_of_era) - EPOCH_FROM_MARCH;
        i32::try_from(days).ok().map(Day)
    }

    fn days_in_month(self) -> u32 {
        match self.month {
            2 if self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn first_of_month_earlier(self, months: u32) -> Self {
        let ordinal = self.year * 12 + i64::from(self.month) - 1 - i64::from(months);
        Self { year: ordinal.div_euclid(12), month: ordinal.rem_euclid(12) as u32 + 1, day: 1 }
    }
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
    fn the_calendar_is_chronos() {
        for days in -200_000..200_000 {
            let day = Day::from_epoch(days);
            let date = day.date().expect("within chrono's years");
            let civil = Civil::of(day);
            let fields = (civil.year, civil.month, civil.day);
            assert_eq!(fields, (i64::from(date.year()), date.month(), date.day()));
            assert_eq!(civil.to_day(), Some(day));
            let next = date.succ_opt().expect("within chrono's years");
            assert_eq!(day.is_month_end(), next.day() == 1, "{day}");
            let earlier = date.checked_sub_months(chrono::Months::new(13));
            let earlier = earlier.filter(|earlier| earlier.day() == date.day()).map(Day::from_date);
            assert_eq!(day.same_day_months_earlier(13), earlier, "{day}");
        }
    }

    #[test]
    fn days_beyond_the_calendar_give_nothing_and_still_print() {
        let far = Day::from_epoch(i32::MAX);
        assert_eq!(far.to_string(), "day 2147483647");
        let first = Day::from_epoch(i32::MIN);
        assert_eq!(first.same_day_months_earlier(1), None);
        assert_eq!(first.days_earlier(1), None);
        assert_eq!(first.month_end_months_earlier(u32::MAX), None);
    }
}
