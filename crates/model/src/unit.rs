//! Calendar units and the ordinals that number them.

use chrono::{Datelike, NaiveDate};

use crate::{CalendarDay, Day, Interval, InvalidInterval};

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// One day.
    Day,
    /// An ISO week, Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A quarter.
    Quarter,
    /// January to June or July to December.
    HalfYear,
    /// A year.
    Year,
}

/// The letters of [`Unit::from_letter`], for messages.
pub const UNIT_LETTERS: &str = "D, W, M, Q, H or A";

impl Unit {
    /// The unit of a letter, as in the column `frequency`.
    pub fn from_letter(letter: &str) -> Option<Self> {
        Some(match letter {
            "D" => Self::Day,
            "W" => Self::Week,
            "M" => Self::Month,
            "Q" => Self::Quarter,
            "H" => Self::HalfYear,
            "A" => Self::Year,
            _ => return None,
        })
    }

    /// The letter.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Day => "D",
            Self::Week => "W",
            Self::Month => "M",
            Self::Quarter => "Q",
            Self::HalfYear => "H",
            Self::Year => "A",
        }
    }

    /// The last day of the unit that a day lies in; `None` beyond the calendar.
    pub fn end(self, day: Day) -> Option<Day> {
        let date = day.date()?;
        let last_month = match self {
            Self::Day => return Some(day),
            Self::Week => {
                let rest = 6 - date.weekday().num_days_from_monday() as i32;
                return day.days_from_epoch().checked_add(rest).map(Day::from_epoch);
            }
            Self::Month => date.month(),
            Self::Quarter => date.month0() / 3 * 3 + 3,
            Self::HalfYear => date.month0() / 6 * 6 + 6,
            Self::Year => 12,
        };
        // The last day of a month is the day before the next month's first.
        let (year, month) = match last_month {
            12 => (date.year() + 1, 1),
            month => (date.year(), month + 1),
        };
        let next = NaiveDate::from_ymd_opt(year, month, 1)?;
        Some(Day::from_date(next.pred_opt()?))
    }

    /// How many months the unit has; `None` for weeks and days.
    fn months(self) -> Option<u32> {
        match self {
            Self::Day | Self::Week => None,
            Self::Month => Some(1),
            Self::Quarter => Some(3),
            Self::HalfYear => Some(6),
            Self::Year => Some(12),
        }
    }
}

/// How the units of a series are numbered, and how far back a base lies in these numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ordinals {
    /// Months since the year 0, so many to a unit, and units back.
    Months { each: i64, back: i64 },
    /// Days since 1970-01-01, so many back.
    Days { back: i64 },
    /// Days by their month, so many months back.
    DaysOfMonths { back: u32 },
    /// Weeks since the Monday before 1970-01-01, so many back.
    Weeks { back: i64 },
    /// 64 to an ISO year, so many years back.
    WeeksOfYears { back: i64 },
}

impl Ordinals {
    /// # Errors
    /// [`InvalidInterval::NotWhole`] where the interval is no whole number of the units.
    pub(crate) fn new(interval: Interval, unit: Unit) -> Result<Self, InvalidInterval> {
        let ordinals = match (unit, interval) {
            (Unit::Day, Interval::Days(days)) => Self::Days { back: days.into() },
            (Unit::Day, Interval::Months(back)) => Self::DaysOfMonths { back },
            (Unit::Week, Interval::Days(days)) if days % 7 == 0 => Self::Weeks {
                back: i64::from(days / 7),
            },
            (Unit::Week, Interval::Months(months)) if months % 12 == 0 => Self::WeeksOfYears {
                back: i64::from(months / 12),
            },
            (_, Interval::Months(months)) => match unit.months() {
                Some(each) if months % each == 0 => Self::Months {
                    each: each.into(),
                    back: i64::from(months / each),
                },
                _ => return Err(InvalidInterval::NotWhole { interval, unit }),
            },
            (_, Interval::Days(_)) => return Err(InvalidInterval::NotWhole { interval, unit }),
        };
        Ok(ordinals)
    }

    /// The number of the unit that a day lies in; `None` beyond the calendar.
    pub(crate) fn of(self, day: Day) -> Option<i64> {
        let days = i64::from(day.days_from_epoch());
        Some(match self {
            Self::Months { each, .. } => CalendarDay::of(day)?.month().div_euclid(each),
            Self::Days { .. } => days,
            Self::DaysOfMonths { .. } => CalendarDay::of(day)?.number(),
            // 1970-01-01 was a Thursday.
            Self::Weeks { .. } => (days + 3).div_euclid(7),
            Self::WeeksOfYears { .. } => {
                let week = day.date()?.iso_week();
                i64::from(week.year()) * 64 + i64::from(week.week())
            }
        })
    }

    /// The number of the unit one interval earlier.
    pub(crate) fn earlier(self, ordinal: i64) -> i64 {
        match self {
            Self::Months { back, .. } | Self::Days { back } | Self::Weeks { back } => {
                ordinal - back
            }
            Self::DaysOfMonths { back } => ordinal - 32 * i64::from(back),
            Self::WeeksOfYears { back } => ordinal - 64 * back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_ends_with_its_last_day() {
        for (day, letter, end) in [
            ("2024-02-10", "D", "2024-02-10"),
            ("2024-02-10", "W", "2024-02-11"),
            ("2024-02-11", "W", "2024-02-11"),
            ("2024-02-10", "M", "2024-02-29"),
            ("2024-02-10", "Q", "2024-03-31"),
            ("2024-07-01", "H", "2024-12-31"),
            ("2024-12-31", "A", "2024-12-31"),
        ] {
            let parse = |text| Day::parse(text).expect("a test names real days");
            let unit = Unit::from_letter(letter).expect("a test names real letters");
            assert_eq!(unit.end(parse(day)), Some(parse(end)), "{day} {letter}");
            assert_eq!(unit.letter(), letter);
        }
    }

    #[test]
    fn an_interval_is_a_whole_number_of_units_or_refused() {
        for (interval, unit) in [
            (Interval::Months(1), Unit::Quarter),
            (Interval::Months(6), Unit::Year),
            (Interval::Days(8), Unit::Week),
            (Interval::Days(28), Unit::Month),
        ] {
            assert!(
                Ordinals::new(interval, unit).is_err(),
                "{interval} {unit:?}"
            );
        }
    }

    #[test]
    fn week_53_has_a_base_only_in_a_year_that_has_one() {
        let year = Ordinals::new(Interval::YEAR, Unit::Week).expect("a year has whole weeks");
        let of = |text| {
            let day = Day::parse(text).expect("a test names real days");
            year.of(day).expect("within the calendar")
        };
        assert_eq!(year.earlier(of("2024-12-30")), of("2024-01-01"));
        assert_eq!(year.earlier(of("2021-01-03")) & 63, 53);
        assert_ne!(year.earlier(of("2021-01-03")), of("2020-01-01"));
    }
}
