//! A day as its month and its day of the month.

use crate::Day;

/// A day in one number: 32 times the months since the year 0, plus the day of the month.
///
/// The order is the calendar's, and going back whole months is one subtraction. That may lead to a
/// day that does not exist, such as 30 February; it equals no day that does.
///
/// Growth places two days in every row. chrono's conversions took more time there than all the rest
/// together; the ones here are Neri and Schneider's (Euclidean affine functions and their application
/// to calendar algorithms, 2022), and a test compares them with chrono's day by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CalendarDay(i64);

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u32 = 146_097;

/// 400-year spans that are added so that numbers of earlier years stay positive.
const ERAS_BEFORE: u32 = 82;

/// Days from the first day that can be placed, a 1 March, to 1970-01-01.
const EPOCH: u32 = 719_468 + ERA_DAYS * ERAS_BEFORE;

/// The years in which this reckons both ways.
const YEARS: std::ops::Range<i32> = 0..100_000;

impl CalendarDay {
    /// The place of a day; `None` before the year -32800 and some 2.9 million years from now.
    #[inline]
    pub(crate) fn of(day: Day) -> Option<Self> {
        let days = EPOCH
            .checked_add_signed(day.days_from_epoch())
            .filter(|days| *days < 1 << 30)?;
        let quarter_days = 4 * days + 3;
        let century = quarter_days / ERA_DAYS;
        let quarter_days = (quarter_days % ERA_DAYS) | 3;
        // One multiplication gives the year of the century above and the day of the year below.
        let product = 2_939_745 * u64::from(quarter_days);
        let year_of_century = (product >> 32) as u32;
        let day_of_year = product as u32 / 2_939_745 / 4;
        let month_and_day = 2_141 * day_of_year + 197_913;
        let month = month_and_day >> 16;
        let day_of_month = (month_and_day & 0xffff) / 2_141 + 1;
        // Years begin in March here, and their months count from 3 to 14.
        let year = i64::from(100 * century + year_of_century) - 400 * i64::from(ERAS_BEFORE);
        Some(Self(
            (year * 12 + i64::from(month) - 1) * 32 + i64::from(day_of_month),
        ))
    }

    /// The same day of the month, `months` earlier.
    #[inline]
    pub(crate) fn months_earlier(self, months: u32) -> Self {
        Self(self.0 - 32 * i64::from(months))
    }

    /// A day of a civil date, which may not exist; `None` outside of the years 0 to 99,999.
    #[inline]
    pub(crate) fn of_civil(year: i32, month: u32, day: u32) -> Option<Self> {
        let fits = YEARS.contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let months = i64::from(year) * 12 + i64::from(month) - 1;
        fits.then_some(Self(months << 5 | i64::from(day)))
    }

    /// Year, month and day; `None` outside of the years 0 to 99,999.
    #[inline]
    pub(crate) fn civil(self) -> Option<(i32, u32, u32)> {
        let months = self.month();
        let year = i32::try_from(months.div_euclid(12)).ok()?;
        let civil = (year, months.rem_euclid(12) as u32 + 1, self.day() as u32);
        YEARS.contains(&year).then_some(civil)
    }

    /// So many months later, or earlier where they are negative; where the month lacks the day, its last.
    #[inline]
    pub(crate) fn months_later(self, months: i64) -> Self {
        let moved = Self(self.0 + 32 * months);
        moved.min(moved.month_end())
    }

    /// The day, which must exist; `None` outside of the years 0 to 99,999.
    #[inline]
    pub(crate) fn to_day(self) -> Option<Day> {
        let (year, month, day) = self.civil()?;
        // Years begin in March here, and their months count from 3 to 14.
        let (year, month) = match (year as u32 + 400 * ERAS_BEFORE, month) {
            (year, month @ ..3) => (year - 1, month + 12),
            (year, month) => (year, month),
        };
        let century = year / 100;
        let before_year = 1_461 * year / 4 - century + century / 4;
        let before_month = (979 * month - 2_919) >> 5;
        let days = before_year + before_month + day - 1;
        Some(Day::from_epoch(days as i32 - EPOCH as i32))
    }

    /// Whether the next day belongs to another month.
    #[inline]
    pub(crate) fn is_month_end(self) -> bool {
        // No month is shorter than 28 days.
        self.day() >= 28 && self == self.month_end()
    }

    /// Whether the month has such a day.
    #[inline]
    pub(crate) fn exists(self) -> bool {
        self.day() <= 28 || self <= self.month_end()
    }

    /// The last day of the month.
    #[inline]
    pub(crate) fn month_end(self) -> Self {
        let months = self.month();
        let year = months.div_euclid(12);
        let days = match months.rem_euclid(12) {
            1 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            1 => 28,
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        Self(months << 5 | days)
    }

    /// The number itself.
    #[inline]
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    /// Months since the year 0.
    #[inline]
    pub(crate) fn month(self) -> i64 {
        self.0 >> 5
    }

    /// The day of the month.
    #[inline]
    pub(crate) fn day(self) -> i64 {
        self.0 & 31
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, Months};

    use super::*;

    #[test]
    fn the_calendar_is_chronos() {
        for days in -1_000_000..1_000_000 {
            let day = Day::from_epoch(days);
            let date = day.date().expect("within chrono's years");
            let months = i64::from(date.year()) * 12 + i64::from(date.month0());
            let place = CalendarDay::of(day).expect("within our years");
            assert_eq!(
                place,
                CalendarDay(months * 32 + i64::from(date.day())),
                "{day}"
            );
            let next = date.succ_opt().expect("within chrono's years");
            assert_eq!(place.is_month_end(), next.day() == 1, "{day}");
            let earlier = date
                .checked_sub_months(Months::new(13))
                .expect("within chrono's years");
            assert_eq!(
                place.months_earlier(13).exists(),
                earlier.day() == date.day(),
                "{day}"
            );
            let in_range = YEARS.contains(&date.year());
            assert_eq!(place.to_day(), in_range.then_some(day), "{day}");
            let civil = (date.year(), date.month(), date.day());
            assert_eq!(place.civil(), in_range.then_some(civil), "{day}");
            let back = CalendarDay::of_civil(civil.0, civil.1, civil.2);
            assert_eq!(back, in_range.then_some(place), "{day}");
            for months in [-25_i32, -12, -1, 0, 1, 14] {
                let span = Months::new(months.unsigned_abs());
                let moved = match months {
                    ..0 => date.checked_sub_months(span),
                    _ => date.checked_add_months(span),
                };
                let moved = moved.map(Day::from_date);
                let place = moved.and_then(CalendarDay::of).expect("within our years");
                assert_eq!(
                    CalendarDay::of(day).map(|it| it.months_later(months.into())),
                    Some(place),
                    "{day} and {months} months"
                );
            }
        }
    }

    #[test]
    fn days_beyond_the_calendar_have_no_place() {
        assert_eq!(CalendarDay::of(Day::from_epoch(i32::MIN)), None);
        assert_eq!(CalendarDay::of(Day::from_epoch(i32::MAX)), None);
    }
}
