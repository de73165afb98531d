//! Periods out of Arrow columns: one date or timestamp, or a pair of them.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion_common::{Result, internal_err};
use didymium_model::{Day, Moment, Period};

use crate::error::invalid;

/// The type that a period column is read as.
///
/// # Errors
/// For types that hold no calendar day, and for timestamps in a time zone: their day depends on the
/// zone, so the query has to say which.
pub(crate) fn period_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Date32 | DataType::Date64 | DataType::Utf8 | DataType::Null => {
            Ok(DataType::Date32)
        }
        DataType::LargeUtf8 | DataType::Utf8View => Ok(DataType::Date32),
        DataType::Timestamp(TimeUnit::Nanosecond, None) => Ok(given.clone()),
        DataType::Timestamp(_, None) => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Timestamp(_, Some(zone)) => Err(invalid(
            function,
            format!(
                "the period is a timestamp in {zone}: cast it to DATE in the zone that its days count in"
            ),
        )),
        other => Err(invalid(
            function,
            format!("the period must be a DATE or TIMESTAMP, or two of them, not {other}"),
        )),
    }
}

/// Period columns of one batch, read by row.
pub(crate) struct Periods<'a> {
    start: Moments<'a>,
    /// `None` where the period is a single date.
    end: Option<Moments<'a>>,
}

impl<'a> Periods<'a> {
    pub(crate) fn of(columns: &'a [ArrayRef]) -> Result<Self> {
        match columns {
            [date] => Ok(Self {
                start: Moments::of(date)?,
                end: None,
            }),
            [start, end] => Ok(Self {
                start: Moments::of(start)?,
                end: Some(Moments::of(end)?),
            }),
            _ => internal_err!("a period is one column or two, not {}", columns.len()),
        }
    }

    /// The period in row `row`; `None` where it, or one of its ends, is NULL.
    pub(crate) fn at(&self, row: usize) -> Option<Period> {
        let start = self.start.at(row)?;
        let end = match &self.end {
            None => start,
            Some(end) => end.at(row)?,
        };
        Some(Period { start, end })
    }
}

/// One column of days or instants.
enum Moments<'a> {
    Days(&'a PrimitiveArray<Date32Type>),
    Microseconds(&'a PrimitiveArray<TimestampMicrosecondType>),
    Nanoseconds(&'a PrimitiveArray<TimestampNanosecondType>),
}

impl<'a> Moments<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        match column.data_type() {
            DataType::Date32 => Ok(Self::Days(column.as_primitive())),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Ok(Self::Microseconds(column.as_primitive()))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, None) => {
                Ok(Self::Nanoseconds(column.as_primitive()))
            }
            other => internal_err!("a period column arrived as {other}"),
        }
    }

    fn at(&self, row: usize) -> Option<Moment> {
        match self {
            Self::Days(days) => value(days, row).map(|day| Day::from_epoch(day).into()),
            Self::Microseconds(times) => value(times, row).and_then(|time| moment(time, 1_000)),
            Self::Nanoseconds(times) => value(times, row).and_then(|time| moment(time, 1)),
        }
    }
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

/// A count of units of `nanoseconds` each since 1970-01-01T00:00; `None` beyond the days that can be
/// counted, where there is no calendar and so no base.
fn moment(value: i64, nanoseconds: i64) -> Option<Moment> {
    let units_per_day = 86_400_000_000_000 / nanoseconds;
    let day = i32::try_from(value.div_euclid(units_per_day)).ok()?;
    let nanosecond = value.rem_euclid(units_per_day) * nanoseconds;
    Some(Moment {
        day: Day::from_epoch(day),
        nanosecond,
    })
}
