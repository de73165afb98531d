//! The constant yearly growth that leads from a first value to a last one.

use crate::{CalendarDay, Day};

/// The first and the last value of a series, from its rows in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FirstAndLast {
    /// The value of the earliest day.
    pub first: Option<Endpoint>,
    /// The value of the latest day.
    pub last: Option<Endpoint>,
}

/// A value at one end of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Endpoint {
    /// The day.
    pub day: Day,
    /// The value.
    pub value: f64,
    /// Whether another value was given for the day.
    pub is_contradicted: bool,
}

/// Two values for the day with which a series starts or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two values for {0}: group by series, or pick a vintage")]
pub struct Contradiction(pub Day);

impl FirstAndLast {
    /// Adds a value; the order does not matter.
    pub fn add(&mut self, day: Day, value: f64) {
        let point = Endpoint {
            day,
            value,
            is_contradicted: false,
        };
        self.merge(Self {
            first: Some(point),
            last: Some(point),
        });
    }

    /// Adds the values of other rows of the series.
    pub fn merge(&mut self, other: Self) {
        self.first = further(self.first, other.first, |a, b| a < b);
        self.last = further(self.last, other.last, |a, b| a > b);
    }

    /// (last ÷ first)^(1 ÷ years) − 1, where years are whole months ÷ 12. `None` under a year, and
    /// where a value is zero or negative.
    ///
    /// # Errors
    /// [`Contradiction`] where an end has two values.
    pub fn annual_growth(&self) -> Result<Option<f64>, Contradiction> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Ok(None);
        };
        for end in [first, last] {
            if end.is_contradicted {
                return Err(Contradiction(end.day));
            }
        }
        let months = whole_months(first.day, last.day).unwrap_or(0);
        if months < 12 || first.value <= 0.0 || last.value <= 0.0 {
            return Ok(None);
        }
        let years = months as f64 / 12.0;
        let growth = (last.value / first.value).powf(1.0 / years) - 1.0;
        Ok(growth.is_finite().then_some(growth))
    }
}

fn further(
    one: Option<Endpoint>,
    other: Option<Endpoint>,
    is_further: fn(Day, Day) -> bool,
) -> Option<Endpoint> {
    match (one, other) {
        (Some(one), Some(other)) if one.day == other.day => Some(Endpoint {
            is_contradicted: one.is_contradicted
                || other.is_contradicted
                || one.value != other.value,
            ..one
        }),
        (Some(one), Some(other)) if is_further(other.day, one.day) => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}

/// Whole months from a day to a later one; a month's end is a whole number from another's.
fn whole_months(from: Day, to: Day) -> Option<i64> {
    let (from, to) = (CalendarDay::of(from)?, CalendarDay::of(to)?);
    let is_whole = to.day() >= from.day() || to.is_month_end();
    Some(to.month() - from.month() - i64::from(!is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(points: &[(&str, f64)]) -> Result<Option<f64>, Contradiction> {
        let mut ends = FirstAndLast::default();
        for (day, value) in points {
            ends.add(Day::parse(day).expect("a test names real days"), *value);
        }
        ends.annual_growth()
    }

    #[test]
    fn growth_is_per_calendar_year() {
        let growth = of(&[
            ("2022-12-31", 121.0),
            ("2021-05-01", 7.0),
            ("2020-12-31", 100.0),
        ]);
        assert!((growth.expect("no contradiction").expect("two years") - 0.1).abs() < 1e-12);
        assert_eq!(of(&[("2020-01-31", 1.0), ("2020-12-31", 2.0)]), Ok(None));
        assert_eq!(of(&[("2020-01-01", 0.0), ("2022-01-01", 2.0)]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
        assert!(of(&[("2020-02-29", 1.0), ("2021-02-28", 2.0)]).is_ok_and(|it| it.is_some()));
    }

    #[test]
    fn only_the_ends_must_be_certain() {
        let inner = [
            ("2020-01-01", 1.0),
            ("2021-01-01", 2.0),
            ("2021-01-01", 3.0),
            ("2022-01-01", 4.0),
        ];
        assert_eq!(of(&inner), Ok(Some(1.0)));
        let end = [
            ("2020-01-01", 1.0),
            ("2022-01-01", 3.0),
            ("2022-01-01", 4.0),
        ];
        assert!(of(&end).is_err());
    }
}
