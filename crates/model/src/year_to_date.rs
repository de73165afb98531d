//! Figures that count from the start of the year, and back.

use crate::{Day, FiscalYear, Misplaced, Period};

/// What a series of a year's figures may not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotInYear {
    /// A period comes twice, or out of order.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// A period that no year holds.
    #[error("the period {0} crosses the start of a year, here the first of month {1}")]
    Crosses(Period, u32),
    /// A figure that does not count from the start of its year.
    #[error(
        "the figure for {0} does not count from the start of its year, the first of month {1}: only cumulative figures have a flow between them"
    )]
    NotCumulative(Period, u32),
}

/// Sums a series within each year.
#[derive(Debug)]
pub struct YearToDate {
    year: FiscalYear,
    start_month: u32,
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    period: Period,
    start_year: i32,
    /// The sum through the end of the last period; `None` once a period or a value was missing.
    sum: Option<f64>,
}

impl YearToDate {
    /// Years that start in this month; `None` unless it is from 1 to 12.
    pub fn new(start_month: u32) -> Option<Self> {
        Some(Self {
            year: FiscalYear::starting_in(start_month)?,
            start_month,
            last: None,
        })
    }

    /// Adds the next period and gives the year's sum through its end. `None` from the first missing
    /// period or value to the end of the year.
    ///
    /// # Errors
    /// [`NotInYear`] for a period that crosses years or does not follow the one before it.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Option<f64>, NotInYear> {
        let start_year = year_of(self.year, self.start_month, period)?;
        let Some(start_year) = start_year else {
            return Ok(None);
        };
        if let Some(last) = self.last {
            follows(last.period, period)?;
        }
        let before = match self.last {
            Some(last) if last.start_year == start_year => {
                let adjoins = last.period.end.day.next() == Some(period.start.day);
                last.sum.filter(|_| adjoins)
            }
            _ => {
                let is_first = self.year.first_day(start_year) == Some(period.start.day);
                is_first.then_some(0.0)
            }
        };
        let sum = before.zip(value).map(|(before, value)| before + value);
        let sum = sum.filter(|sum| sum.is_finite());
        self.last = Some(Last {
            period,
            start_year,
            sum,
        });
        Ok(sum)
    }
}

/// What happened between two cumulative figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// The difference; `None` where either figure is missing.
    pub value: Option<f64>,
    /// The first day.
    pub start: Day,
    /// The last day, part of the flow.
    pub end: Day,
}

/// Takes the figures of a year apart.
#[derive(Debug)]
pub struct FromYearToDate {
    year: FiscalYear,
    start_month: u32,
    last: Option<(Period, Option<f64>)>,
}

impl FromYearToDate {
    /// Years that start in this month; `None` unless it is from 1 to 12.
    pub fn new(start_month: u32) -> Option<Self> {
        Some(Self {
            year: FiscalYear::starting_in(start_month)?,
            start_month,
            last: None,
        })
    }

    /// Adds the next cumulative figure and gives the flow since the one before it in its year. A fall,
    /// as after a revision, is a negative flow. `None` beyond the calendar.
    ///
    /// # Errors
    /// [`NotInYear`] for a figure that does not count from the start of its year, or comes twice.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Option<Flow>, NotInYear> {
        let start_year = year_of(self.year, self.start_month, period)?;
        let Some(first_day) = start_year.and_then(|year| self.year.first_day(year)) else {
            return Ok(None);
        };
        if first_day != period.start.day {
            return Err(NotInYear::NotCumulative(period, self.start_month));
        }
        if let Some((last, _)) = self.last {
            follows(last, period)?;
        }
        let flow = match self.last {
            Some((last, before)) if last.start.day == first_day => Flow {
                value: value
                    .zip(before)
                    .map(|(value, before)| value - before)
                    .filter(|flow| flow.is_finite()),
                start: last.end.day.next().unwrap_or(last.end.day),
                end: period.end.day,
            },
            _ => Flow {
                value,
                start: first_day,
                end: period.end.day,
            },
        };
        self.last = Some((period, value));
        Ok(Some(flow))
    }
}

/// The calendar year in which a period's year starts; `None` beyond the calendar.
fn year_of(year: FiscalYear, start_month: u32, period: Period) -> Result<Option<i32>, NotInYear> {
    let first = year.start_year(period.start.day);
    match first == year.start_year(period.end.day) {
        true => Ok(first),
        false => Err(NotInYear::Crosses(period, start_month)),
    }
}

fn follows(last: Period, period: Period) -> Result<(), Misplaced> {
    match last.cmp(&period) {
        std::cmp::Ordering::Less => Ok(()),
        std::cmp::Ordering::Equal => Err(Misplaced::Duplicate(period)),
        std::cmp::Ordering::Greater => Err(Misplaced::OutOfOrder(period)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(start: &str, end: &str) -> Period {
        let day = |text| Day::parse(text).expect("a test names real days");
        Period::of_days(day(start), day(end))
    }

    #[test]
    fn a_gap_ends_the_sum_until_the_year_does() {
        let mut sums = YearToDate::new(1).expect("January is a month");
        for (start, end, value, sum) in [
            ("2024-01-01", "2024-02-29", Some(2.0), Some(2.0)),
            ("2024-03-01", "2024-03-31", Some(3.0), Some(5.0)),
            ("2024-05-01", "2024-05-31", Some(5.0), None),
            ("2024-06-01", "2024-06-30", Some(6.0), None),
            ("2025-01-01", "2025-01-31", Some(1.0), Some(1.0)),
            ("2025-02-01", "2025-02-28", None, None),
            ("2025-03-01", "2025-03-31", Some(1.0), None),
        ] {
            assert_eq!(sums.next(period(start, end), value), Ok(sum), "{start}");
        }
        let crossing = period("2025-12-01", "2026-01-31");
        assert_eq!(
            sums.next(crossing, None),
            Err(NotInYear::Crosses(crossing, 1))
        );
    }

    #[test]
    fn a_flow_covers_exactly_the_days_between_two_figures() {
        let mut flows = FromYearToDate::new(1).expect("January is a month");
        for (end, figure, value, start) in [
            ("2025-02-28", 5489.0, 5489.0, "2025-01-01"),
            ("2025-03-31", 11040.0, 5551.0, "2025-03-01"),
            ("2025-05-31", 11000.0, -40.0, "2025-04-01"),
        ] {
            let figure_period = period("2025-01-01", end);
            let flow = flows.next(figure_period, Some(figure)).expect("cumulative");
            let flow = flow.expect("within the calendar");
            let expected = period(start, end);
            assert_eq!(flow.value, Some(value));
            assert_eq!(
                (flow.start, flow.end),
                (expected.start.day, expected.end.day)
            );
        }
        let month = period("2025-06-01", "2025-06-30");
        assert_eq!(
            flows.next(month, Some(1.0)),
            Err(NotInYear::NotCumulative(month, 1))
        );
    }
}
