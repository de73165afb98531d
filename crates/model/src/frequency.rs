//! The letter that names a period's length.

use chrono::Datelike;

use crate::Day;

/// The frequency of a period: the calendar unit that it fills exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Frequency {
    /// A calendar year.
    Annual,
    /// January to June or July to December.
    HalfYear,
    /// A calendar quarter.
    Quarter,
    /// A calendar month.
    Month,
    /// Monday to Sunday.
    Week,
    /// One day.
    Day,
    /// Anything else: two months, a fiscal year, the year to date.
    Other,
}

impl Frequency {
    /// The unit that a period from `start` through `end` fills.
    pub fn of(start: Day, end: Day) -> Self {
        let (Some(first), Some(last)) = (start.date(), end.date()) else {
            return Self::Other;
        };
        if first == last {
            return Self::Day;
        }
        let is_week = first.weekday() == chrono::Weekday::Mon
            && end.days_from_epoch() - start.days_from_epoch() == 6;
        if is_week {
            return Self::Week;
        }
        if first.day() != 1 || !end.is_month_end() || first.year() != last.year() {
            return Self::Other;
        }
        match (first.month(), last.month()) {
            (1, 12) => Self::Annual,
            (1, 6) | (7, 12) => Self::HalfYear,
            (1, 3) | (4, 6) | (7, 9) | (10, 12) => Self::Quarter,
            (from, to) if from == to => Self::Month,
            _ => Self::Other,
        }
    }

    /// The letter in the column `frequency`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Annual => "A",
            Self::HalfYear => "H",
            Self::Quarter => "Q",
            Self::Month => "M",
            Self::Week => "W",
            Self::Day => "D",
            Self::Other => "X",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stands_for_a_whole_calendar_unit() {
        for (start, end, letter) in [
            ("2024-01-01", "2024-12-31", "A"),
            ("2024-07-01", "2024-12-31", "H"),
            ("2024-04-01", "2024-06-30", "Q"),
            ("2024-02-01", "2024-02-29", "M"),
            ("2023-02-01", "2023-02-28", "M"),
            ("2024-01-29", "2024-02-04", "W"),
            ("2024-02-29", "2024-02-29", "D"),
            ("2024-01-01", "2024-02-29", "X"),
            ("2024-02-01", "2024-02-28", "X"),
            ("2024-07-01", "2025-06-30", "X"),
        ] {
            let day = |text| Day::parse(text).expect("a test names real days");
            assert_eq!(
                Frequency::of(day(start), day(end)).letter(),
                letter,
                "{start} {end}"
            );
        }
    }
}
