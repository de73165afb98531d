//! Years that start in any month.

use crate::Day;

/// The rule that says where a year starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiscalYear {
    start_month: u32,
}

impl FiscalYear {
    /// Years that start on the first of this month; `None` unless it is from 1 to 12.
    pub fn starting_in(start_month: u32) -> Option<Self> {
        (1..=12)
            .contains(&start_month)
            .then_some(Self { start_month })
    }

    /// The calendar year in which the year of a day starts; `None` beyond the calendar.
    pub fn start_year(self, day: Day) -> Option<i32> {
        let (year, month, _) = day.ymd()?;
        Some(if month < self.start_month {
            year - 1
        } else {
            year
        })
    }

    /// The calendar year in which the year of a day ends; `None` beyond the calendar.
    pub fn end_year(self, day: Day) -> Option<i32> {
        Some(self.end_of_start(self.start_year(day)?))
    }

    /// The first day of the year that starts in a calendar year.
    pub fn first_day(self, start_year: i32) -> Option<Day> {
        Day::from_ymd(start_year, self.start_month, 1)
    }

    /// The calendar year in which a year ends that starts in `start_year`.
    pub fn end_of_start(self, start_year: i32) -> i32 {
        match self.start_month {
            1 => start_year,
            _ => start_year + 1,
        }
    }

    /// The calendar year in which a year starts that ends in `end_year`.
    pub fn start_of_end(self, end_year: i32) -> i32 {
        match self.start_month {
            1 => end_year,
            _ => end_year - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_named_by_either_end() {
        let july = FiscalYear::starting_in(7).expect("July is a month");
        let day = |text| Day::parse(text).expect("a test names real days");
        assert_eq!(july.end_year(day("2024-07-01")), Some(2025));
        assert_eq!(july.end_year(day("2024-06-30")), Some(2024));
        assert_eq!(july.start_year(day("2024-06-30")), Some(2023));
        assert_eq!(july.first_day(2024), Some(day("2024-07-01")));
        let calendar = FiscalYear::starting_in(1).expect("January is a month");
        assert_eq!(calendar.end_year(day("2024-12-31")), Some(2024));
        assert_eq!(FiscalYear::starting_in(13), None);
    }
}
