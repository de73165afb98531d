//! Cells as the table's types have them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Date32Builder, Float64Array, Float64Builder,
    Int64Builder, StringArray, StringBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type};
use chrono::{DateTime, NaiveDateTime};
use didymium_model::{Day, PrintedNumber};

use super::raw::Raw;
use crate::{ColumnDeclaration, ColumnType, Fault, Faults};

/// Typed columns of one file, by the table's names.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) columns: BTreeMap<String, ArrayRef>,
    pub(super) row_numbers: Vec<u64>,
    /// Cells, by place and column, whose fault has been told.
    pub(super) broken: HashSet<(usize, String)>,
    /// The units that stand in a column's cells, where any do.
    pub(super) units: BTreeMap<String, StringArray>,
    /// The cells of a column that are not written as plain numbers are.
    pub(super) printed: BTreeMap<String, StringArray>,
}

/// Reads the columns that both the file and the table have.
pub(super) fn read(
    columns: &[ColumnDeclaration],
    raw: &Raw,
    file: &str,
    faults: &mut Faults,
) -> Cells {
    let mut cells = Cells {
        row_numbers: raw.row_numbers.clone(),
        ..Cells::default()
    };
    for column in columns {
        let Some(given) = raw.column(&column.name) else {
            continue;
        };
        let array = match given.as_string_opt::<i32>() {
            Some(texts) if column.kind != ColumnType::Text => {
                cells.parse(column, texts, file, faults)
            }
            _ => converted(column, given).unwrap_or_else(|rule| {
                faults.add(Fault {
                    file: file.to_owned(),
                    row: 0,
                    column: column.name.clone(),
                    rule,
                    value: None,
                });
                let rows = 0..given.len();
                let told = rows.map(|row| (row, column.name.clone()));
                cells.broken.extend(told);
                new_null_array(&column.kind.arrow(), given.len())
            }),
        };
        cells.columns.insert(column.name.clone(), array);
    }
    cells
}

impl Cells {
    pub(super) fn rows(&self) -> usize {
        self.row_numbers.len()
    }

    pub(super) fn text(&self, name: &str) -> Option<&StringArray> {
        self.columns.get(name)?.as_string_opt()
    }

    pub(super) fn double(&self, name: &str) -> Option<&Float64Array> {
        self.columns.get(name)?.as_primitive_opt()
    }

    /// Texts as the column's type; one that is not of it is told, and NULL in its place.
    fn parse(
        &mut self,
        column: &ColumnDeclaration,
        texts: &StringArray,
        file: &str,
        faults: &mut Faults,
    ) -> ArrayRef {
        let mut broken = |row: usize, rule: &str| {
            faults.add(Fault {
                file: file.to_owned(),
                row: self.row_numbers[row],
                column: column.name.clone(),
                rule: rule.to_owned(),
                value: Some(texts.value(row).to_owned()),
            });
            self.broken.insert((row, column.name.clone()));
        };
        macro_rules! parse {
            ($builder:ty, $parse:expr) => {{
                let mut values = <$builder>::with_capacity(texts.len());
                for (row, text) in texts.iter().enumerate() {
                    let value = text.and_then($parse);
                    if value.is_some() != text.is_some() {
                        broken(row, column.kind.expectation());
                    }
                    values.append_option(value);
                }
                Arc::new(values.finish()) as ArrayRef
            }};
        }
        match column.kind {
            ColumnType::Text => Arc::new(texts.clone()),
            ColumnType::Int => parse!(Int64Builder, |text: &str| text.parse().ok()),
            ColumnType::Date => parse!(Date32Builder, |text: &str| Day::parse(text)
                .map(Day::days_from_epoch)),
            ColumnType::Boolean => parse!(BooleanBuilder, |text: &str| text.parse().ok()),
            ColumnType::Timestamp => {
                let micros = parse!(TimestampMicrosecondBuilder, timestamp);
                let micros = micros.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
                Arc::new(micros.clone().with_timezone("UTC"))
            }
            ColumnType::Double => {
                let (values, units, printed) =
                    numbers(texts, |row| broken(row, column.kind.expectation()));
                if let Some(units) = units {
                    self.units.insert(column.name.clone(), units);
                }
                if let Some(printed) = printed {
                    self.printed.insert(column.name.clone(), printed);
                }
                Arc::new(values)
            }
        }
    }
}

/// A time: with an offset, or of UTC.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let forms = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
    ];
    let time = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let time = time.or_else(|| {
        let day = Day::parse(text)?.days_from_epoch();
        DateTime::from_timestamp(i64::from(day) * 86_400, 0).map(|time| time.naive_utc())
    })?;
    Some(time.and_utc().timestamp_micros())
}

/// Numbers, the units printed with them, and the cells that a plain number does not stand for; the
/// latter two only where there are any.
fn numbers(
    texts: &StringArray,
    mut broken: impl FnMut(usize),
) -> (Float64Array, Option<StringArray>, Option<StringArray>) {
    let mut values = Float64Builder::with_capacity(texts.len());
    let mut units: Option<Vec<Option<&str>>> = None;
    let mut printed: Option<StringBuilder> = None;
    for (row, text) in texts.iter().enumerate() {
        let number = text.and_then(PrintedNumber::parse);
        if number.is_none() && text.is_some() {
            broken(row);
        }
        values.append_option(number.map(|number| number.value));
        if let Some(unit) = number.and_then(|number| number.unit) {
            units.get_or_insert_with(|| vec![None; texts.len()])[row] = Some(unit);
        }
        let told = text.filter(|text| number.is_some() && !is_plain(text));
        if let Some(told) = told {
            let printed = printed.get_or_insert_with(|| {
                let mut cells = StringBuilder::new();
                (0..row).for_each(|_| cells.append_null());
                cells
            });
            printed.append_value(told);
        } else if let Some(printed) = &mut printed {
            printed.append_null();
        }
    }
    let units = units.map(StringArray::from);
    (
        values.finish(),
        units,
        printed.map(|mut cells| cells.finish()),
    )
}

/// Whether a number says all that its text says: digits, a point, no zeros at the end.
fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    digits.len() <= 15
        && all_digits(whole)
        && all_digits(fraction)
        && (!text.contains('.')
            || !fraction.ends_with('0') && !fraction.is_empty()
            || fraction == "0")
}

/// A column as the table has it, from any type that holds the same values without loss.
fn converted(column: &ColumnDeclaration, array: &ArrayRef) -> Result<ArrayRef, String> {
    let given = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        given => given,
    };
    let fits = given.is_null()
        || match column.kind {
            ColumnType::Text => given.is_string(),
            ColumnType::Int => given.is_integer(),
            ColumnType::Double => given.is_numeric(),
            ColumnType::Date => matches!(given, DataType::Date32 | DataType::Date64),
            ColumnType::Boolean => *given == DataType::Boolean,
            ColumnType::Timestamp => matches!(given, DataType::Timestamp(_, _)),
        };
    if !fits {
        return Err(format!("{}, not {given}", column.kind.expectation()));
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let converted = cast_with_options(array, &column.kind.arrow(), &strict)
        .map_err(|error| format!("{}: {error}", column.kind.expectation()))?;
    // Large whole numbers have no double, a time of day no day, a nanosecond no microsecond.
    let may_lose = given.is_integer()
        || matches!(
            given,
            DataType::Date64 | DataType::Timestamp(_, _) | DataType::Decimal128(_, _)
        );
    if may_lose {
        let back = cast_with_options(&converted, array.data_type(), &strict);
        if back.is_ok_and(|back| back.to_data() != array.to_data()) {
            return Err(format!(
                "{}: a {given} loses something on the way",
                column.kind.expectation()
            ));
        }
    }
    Ok(match column.kind {
        ColumnType::Double => without_minus_zero(&converted),
        _ => converted,
    })
}

fn without_minus_zero(array: &ArrayRef) -> ArrayRef {
    let values: Float64Array = array
        .as_primitive::<Float64Type>()
        .unary(|value| value + 0.0);
    Arc::new(values)
}
