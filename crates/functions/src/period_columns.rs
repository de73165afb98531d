//! Periods out of Arrow columns: one date or timestamp, or a pair of them.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion_common::{DataFusionError, Result, internal_err};
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
            format!("the period is a timestamp in {zone}: cast it to DATE in the zone that its days count in"),
        )),
        other => Err(invalid(
            function,
            format!("the period must be a DATE or TIMESTAMP, or two of them, not {other}"),
        )),
    }
}

/// The period in row `row`; `None` where it, or one of its ends, is NULL.
pub(crate) fn period_at(columns: &[ArrayRef], row: usize) -> Result<Option<Period>> {
    match columns {
        [date] => Ok(moment_at(date, row)?.map(Period::from)),
        [start, end] => {
            let ends = moment_at(start, row)?.zip(moment_at(end, row)?);
            Ok(ends.map(|(start, end)| Period { start, end }))
        }
        _ => internal_err!("a period is one column or two, not {}", columns.len()),
    }
}

fn moment_at(column: &ArrayRef, row: usize) -> Result<Option<Moment>> {
    if column.is_null(row) {
        return Ok(None);
    }
    match column.data_type() {
        DataType::Date32 => {
            let day = column.as_primitive::<Date32Type>().value(row);
            Ok(Some(Day::from_epoch(day).into()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let value = column.as_primitive::<TimestampMicrosecondType>().value(row);
            moment(value, 1_000).map(Some)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, None) => {
            let value = column.as_primitive::<TimestampNanosecondType>().value(row);
            moment(value, 1).map(Some)
        }
        other => internal_err!("a period column arrived as {other}"),
    }
}

/// A count of units of `nanoseconds` each since 1970-01-01T00:00.
fn moment(value: i64, nanoseconds: i64) -> Result<Moment> {
    let units_per_day = 86_400_000_000_000 / nanoseconds;
    let day = i32::try_from(value.div_euclid(units_per_day)).map_err(|_| out_of_calendar(value))?;
    let nanosecond = value.rem_euclid(units_per_day) * nanoseconds;
    Ok(Moment { day: Day::from_epoch(day), nanosecond })
}

fn out_of_calendar(value: i64) -> DataFusionError {
    invalid("period", format!("the timestamp {value} lies beyond the calendar"))
}
