//! The distance between a period and its base: whole months or whole days.

use std::fmt;

use crate::Unit;

/// How far back a base lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interval {
    /// Whole months: a quarter is 3, a year 12.
    Months(u32),
    /// Whole days: a week is 7.
    Days(u32),
}

/// Why a length of time won't do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInterval {
    /// It is no [`Interval`].
    #[error(
        "the interval must be a positive number of months, quarters, years, weeks or days, not a mix of them and no part of a day"
    )]
    Mixed,
    /// It does not lead from a calendar unit to another.
    #[error("an interval of {interval} is no whole number of the unit '{}'", unit.letter())]
    NotWhole {
        /// The interval.
        interval: Interval,
        /// The unit.
        unit: Unit,
    },
}

impl Interval {
    /// One year, for growth on the year.
    pub const YEAR: Self = Self::Months(12);

    /// One quarter.
    pub const QUARTER: Self = Self::Months(3);

    /// One month.
    pub const MONTH: Self = Self::Months(1);

    /// From SQL's parts of an interval: exactly one of months and days, positive, no fraction of a day.
    ///
    /// # Errors
    /// [`InvalidInterval::Mixed`] for anything else.
    pub fn from_parts(months: i32, days: i32, nanoseconds: i64) -> Result<Self, InvalidInterval> {
        let interval = match (u32::try_from(months), u32::try_from(days), nanoseconds) {
            (Ok(months @ 1..), Ok(0), 0) => Self::Months(months),
            (Ok(0), Ok(days @ 1..), 0) => Self::Days(days),
            _ => return Err(InvalidInterval::Mixed),
        };
        Ok(interval)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Months(months) => write!(f, "{months} months"),
            Self::Days(days) => write!(f, "{days} days"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_months_or_days_and_never_both() {
        assert_eq!(Interval::from_parts(3, 0, 0), Ok(Interval::Months(3)));
        assert_eq!(Interval::from_parts(0, 7, 0), Ok(Interval::Days(7)));
        for (months, days, nanoseconds) in [
            (0, 0, 0),
            (-12, 0, 0),
            (0, -1, 0),
            (1, 1, 0),
            (0, 0, 1),
            (1, 0, -1),
        ] {
            assert_eq!(
                Interval::from_parts(months, days, nanoseconds),
                Err(InvalidInterval::Mixed)
            );
        }
    }
}
