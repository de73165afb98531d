//! How large a function's result will be, from its arguments alone.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::ColumnarValue;

use crate::sizes::{row_bytes, values};

/// The rule by which a result grows with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// All arguments together, as in `concat`.
    Sum,
    /// All arguments, the first between each two of the others.
    Joined,
    /// The argument at `unit`, as many times as the one at `times` says.
    Times { unit: usize, times: usize },
    /// Filled up to as many characters as the second argument says.
    Padded,
    /// The third argument in each place where the first holds the second.
    Replaced,
    /// The third argument in each place where the first may match a pattern.
    PatternReplaced,
    /// The list at `list`, each element replaced by the argument at `by`.
    Elements { list: usize, by: usize },
    /// From the first argument to the second in steps of the third.
    Series,
    /// A format, each letter of which may stand for a word.
    Formatted,
    /// A work that grows with the product of both arguments, not a size.
    Product,
    /// A few times the argument; nothing to foretell, only to check.
    Factor,
}

impl Growth {
    /// The rule of a function, where its result can be much larger than its arguments, or where it
    /// calls an argument that it can't take a bug of its own.
    pub(crate) fn of(function: &str) -> Option<Self> {
        Some(match function {
            "concat" | "make_array" | "array_concat" | "array_append" | "array_prepend"
            | "array_union" | "overlay" | "map" => Self::Sum,
            "concat_ws" => Self::Joined,
            "repeat" | "array_repeat" => Self::Times { unit: 0, times: 1 },
            "array_resize" => Self::Times { unit: 2, times: 1 },
            "lpad" | "rpad" => Self::Padded,
            "replace" => Self::Replaced,
            "regexp_replace" => Self::PatternReplaced,
            "array_to_string" => Self::Elements { list: 0, by: 1 },
            "array_replace" | "array_replace_n" | "array_replace_all" => {
                Self::Elements { list: 0, by: 2 }
            }
            "range" | "generate_series" => Self::Series,
            "to_char" => Self::Formatted,
            "levenshtein" => Self::Product,
            "encode" | "string_to_array" | "translate" | "upper" | "lower" | "regexp_like"
            | "regexp_match" | "regexp_count" | "regexp_instr" | "array_sum" | "array_avg"
            | "array_product" | "array_normalize" | "array_add" | "array_subtract"
            | "array_scale" | "array_distance" | "cosine_distance" | "inner_product"
            | "array_position" | "array_positions" => Self::Factor,
            _ => return None,
        })
    }

    /// Whether a result is as large as foretold, or at most so.
    pub(crate) fn is_exact(self) -> bool {
        self != Self::PatternReplaced
    }

    /// Whether what is foretold is a size, and not a work.
    pub(crate) fn is_size(self) -> bool {
        !matches!(self, Self::Product | Self::Factor)
    }

    /// The bytes of the result in each row.
    pub(crate) fn sizes(self, args: &[ColumnarValue], rows: usize) -> Result<Vec<u64>> {
        let columns = args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Array(array) => {
                    Ok(ColumnSizes::Each(ArrayRef::clone(array), row_bytes(array)))
                }
                ColumnarValue::Scalar(value) => {
                    let array = value.to_array()?;
                    let bytes = row_bytes(&array)[0];
                    Ok(ColumnSizes::Same(array, bytes))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        (0..rows).map(|row| self.size(&columns, row)).collect()
    }

    fn size(self, columns: &[ColumnSizes], row: usize) -> Result<u64> {
        let bytes = |index: usize| columns.get(index).map_or(0, |column| column.bytes(row));
        let all = (0..columns.len()).fold(0_u64, |sum, index| sum.saturating_add(bytes(index)));
        Ok(match self {
            Self::Sum => all,
            Self::Joined => all.saturating_add(bytes(0).saturating_mul(columns.len() as u64)),
            Self::Times { unit, times } => {
                let times = columns
                    .get(times)
                    .map_or(Ok(0), |column| column.number(row))?;
                // An element of a list takes some bytes even if it is empty.
                bytes(unit).max(1).saturating_mul(times)
            }
            Self::Padded => {
                let length = columns.get(1).map_or(Ok(0), |column| column.integer(row))?;
                // Some of DataFusion's ways with it panic.
                let Ok(characters) = u64::try_from(length) else {
                    return plan_err!("a text can't be padded to a length of {length}");
                };
                let widest = columns.get(2).map_or(1, |fill| fill.widest_character(row));
                characters.saturating_mul(widest)
            }
            Self::Replaced => {
                let places = match (columns.first(), columns.get(1)) {
                    (Some(text), Some(part)) => occurrences(&text.text(row), &part.text(row)),
                    _ => 0,
                };
                bytes(0).saturating_add(places.saturating_mul(bytes(2)))
            }
            Self::PatternReplaced => {
                // Each reference to a group may repeat what was matched.
                let references = columns
                    .get(2)
                    .map_or(0, |by| by.text(row).matches(['\\', '$']).count() as u64);
                let places = bytes(0).saturating_add(1);
                let replaced = places.saturating_mul(bytes(2));
                let repeated = bytes(0).saturating_mul(references);
                bytes(0).saturating_add(replaced).saturating_add(repeated)
            }
            Self::Elements { list, by } => {
                let elements = columns.get(list).map_or(0, |column| column.elements(row));
                // A number of 8 bytes may be printed in 24.
                let each = bytes(by).saturating_add(bytes(by + 1)).saturating_add(24);
                bytes(list).saturating_add(elements.saturating_mul(each))
            }
            Self::Series => series_length(columns, row)?.saturating_mul(8),
            Self::Formatted => bytes(1).saturating_mul(16),
            Self::Product => bytes(0).saturating_mul(bytes(1)),
            Self::Factor => bytes(0),
        })
    }
}

/// One argument and the bytes of its values.
enum ColumnSizes {
    Same(ArrayRef, u64),
    Each(ArrayRef, Vec<u64>),
}

impl ColumnSizes {
    fn at(&self, row: usize) -> (&ArrayRef, usize) {
        match self {
            Self::Same(array, _) => (array, 0),
            Self::Each(array, _) => (array, row),
        }
    }

    fn bytes(&self, row: usize) -> u64 {
        match self {
            Self::Same(_, bytes) => *bytes,
            Self::Each(_, bytes) => bytes[row],
        }
    }

    /// The value as a count: 0 where it is NULL or negative.
    fn number(&self, row: usize) -> Result<u64> {
        Ok(u64::try_from(self.integer(row)?).unwrap_or(0))
    }

    /// The value as an integer: 0 where it is NULL.
    fn integer(&self, row: usize) -> Result<i64> {
        let (array, row) = self.at(row);
        let number = cast(&array.slice(row, 1), &DataType::Int64)?;
        let number = number.as_primitive::<Int64Type>();
        Ok(if number.is_valid(0) {
            number.value(0)
        } else {
            0
        })
    }

    /// The value as text; empty where it is NULL or no text.
    fn text(&self, row: usize) -> String {
        let (array, row) = self.at(row);
        match cast(&array.slice(row, 1), &DataType::LargeUtf8) {
            Ok(text) if text.is_valid(0) => text.as_string::<i64>().value(0).to_owned(),
            _ => String::new(),
        }
    }

    fn widest_character(&self, row: usize) -> u64 {
        let widest = self.text(row).chars().map(char::len_utf8).max();
        widest.unwrap_or(1) as u64
    }

    /// The elements of a list, at every depth.
    fn elements(&self, row: usize) -> u64 {
        let (array, row) = self.at(row);
        elements(&array.slice(row, 1))
    }
}

fn elements(array: &ArrayRef) -> u64 {
    let inner: Option<ArrayRef> = match array.data_type() {
        DataType::List(_) => Some(values(
            array.as_list::<i32>().values(),
            array.as_list::<i32>().value_offsets(),
        )),
        DataType::LargeList(_) => Some(values(
            array.as_list::<i64>().values(),
            array.as_list::<i64>().value_offsets(),
        )),
        _ => None,
    };
    inner.map_or(array.len() as u64, |inner| elements(&inner))
}

/// In how many places a text holds a part; an empty part is never replaced.
fn occurrences(text: &str, part: &str) -> u64 {
    match part.is_empty() {
        true => 0,
        false => text.matches(part).count() as u64,
    }
}

/// How many values lie from a start to a stop, in numbers, days or times.
fn series_length(columns: &[ColumnSizes], row: usize) -> Result<u64> {
    let number = |column: &ColumnSizes| column.integer(row).map(|number| number as f64);
    let (start, stop, step) = match columns {
        [stop] => (0.0, number(stop)?, 1.0),
        [start, stop] => (number(start)?, number(stop)?, 1.0),
        [start, stop, step] => (number(start)?, number(stop)?, step_of(step, start, row)?),
        _ => return Ok(0),
    };
    // A step of nothing is refused by the function itself.
    let length = ((stop - start) / step.abs().max(f64::MIN_POSITIVE))
        .abs()
        .ceil()
        + 1.0;
    Ok(if step == 0.0 { 0 } else { length as u64 })
}

/// A step in the unit of its series: a number, or an interval in days or parts of a second.
fn step_of(step: &ColumnSizes, start: &ColumnSizes, row: usize) -> Result<f64> {
    const DAY_NS: f64 = 86_400e9;
    let (array, at) = step.at(row);
    if !matches!(array.data_type(), DataType::Interval(_)) {
        return Ok(step.integer(row)? as f64);
    }
    let interval = cast(
        &array.slice(at, 1),
        &DataType::Interval(IntervalUnit::MonthDayNano),
    )?;
    let interval = interval.as_primitive::<IntervalMonthDayNanoType>();
    if interval.is_null(0) {
        return Ok(0.0);
    }
    let parts = interval.value(0);
    // February is the shortest month.
    let days = f64::from(parts.months) * 28.0 + f64::from(parts.days);
    let nanoseconds = days * DAY_NS + parts.nanoseconds as f64;
    let unit = match start.at(row).0.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => 1e9,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1e6,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1e3,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1.0,
        _ => DAY_NS,
    };
    Ok(nanoseconds / unit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray};
    use arrow::datatypes::IntervalMonthDayNano;
    use datafusion::common::ScalarValue;

    use super::*;

    fn sizes(growth: Growth, args: &[ColumnarValue]) -> Vec<u64> {
        growth.sizes(args, 2).expect("these arguments have sizes")
    }

    fn texts(values: [&str; 2]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(StringArray::from(values.to_vec())))
    }

    fn number(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    #[test]
    fn a_size_is_the_one_that_will_be_made() {
        let text = || texts(["ab", "axxa"]);
        assert_eq!(sizes(Growth::Sum, &[text(), texts(["", "x"])]), [2, 5]);
        let times = Growth::of("repeat").expect("repeat grows");
        assert_eq!(sizes(times, &[text(), number(3)]), [6, 12]);
        assert_eq!(sizes(times, &[text(), number(-3)]), [0, 0]);
        assert_eq!(
            sizes(times, &[text(), number(i64::MAX)]),
            [u64::MAX - 1, u64::MAX]
        );
        let replaced = [text(), texts(["a", "x"]), texts(["yyy", "zz"])];
        assert_eq!(sizes(Growth::Replaced, &replaced), [5, 8]);
        let around = [text(), texts(["", ""]), texts(["yyy", "zz"])];
        assert_eq!(sizes(Growth::Replaced, &around), [2, 4]);
    }

    #[test]
    fn a_series_is_as_long_as_its_steps_make_it() {
        let day = |day| ColumnarValue::Array(Arc::new(Date32Array::from(vec![day, day])));
        let step = |months, days| {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(
                IntervalMonthDayNano::new(months, days, 0),
            )))
        };
        assert_eq!(sizes(Growth::Series, &[number(9)]), [80, 80]);
        assert_eq!(
            sizes(Growth::Series, &[day(0), day(10), step(0, 5)]),
            [24, 24]
        );
        assert_eq!(
            sizes(Growth::Series, &[day(10), day(0), step(0, -5)]),
            [24, 24]
        );
        let numbers = ColumnarValue::Array(Arc::new(Int64Array::from(vec![0, i64::MIN])));
        let longest = sizes(Growth::Series, &[numbers, number(i64::MAX), number(1)]);
        assert!(longest.iter().all(|size| *size > 1 << 60), "{longest:?}");
    }
}
