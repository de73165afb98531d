//! Days and intervals between Arrow's types and the model's.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion_common::Result;
use didymium_model::{Day, Interval};

use crate::error::invalid;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// An interval's value in the model; a mistake of the function's caller where it is none.
pub(crate) fn interval(function: &str, parts: IntervalMonthDayNano) -> Result<Interval> {
    Interval::from_parts(parts.months, parts.days, parts.nanoseconds)
        .map_err(|error| invalid(function, error))
}

/// The day of a time in microseconds; `None` beyond the days that can be counted.
pub(crate) fn day_of(microseconds: i64) -> Option<Day> {
    let days = microseconds.div_euclid(DAY_MICROSECONDS);
    i32::try_from(days).ok().map(Day::from_epoch)
}

/// The time in microseconds at which a day starts.
pub(crate) fn midnight(day: Day) -> i64 {
    i64::from(day.days_from_epoch()) * DAY_MICROSECONDS
}
