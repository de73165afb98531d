//! Rows as typed values, for clients without Arrow.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use didymium_api::v1::value::Kind;
use didymium_api::v1::{Date, Row, Value};
use didymium_model::Day;
use tonic::Status;

/// Every row of a batch.
pub(crate) fn typed_rows(rows: &RecordBatch) -> Result<Vec<Row>, Status> {
    let options = FormatOptions::default();
    let formatters = rows
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options));
    let formatters = formatters
        .collect::<Result<Vec<_>, _>>()
        .map_err(unshowable)?;
    let value = |column: &dyn Array, formatter: &ArrayFormatter<'_>, row: usize| {
        // A column of nothing but NULL has no bits that say so.
        if column.is_null(row) || column.data_type().is_null() {
            return Ok(Kind::Null(0));
        }
        match kind(column, row) {
            Some(kind) => Ok(kind),
            None => Ok(Kind::Text(
                formatter.value(row).try_to_string().map_err(unshowable)?,
            )),
        }
    };
    let row = |row: usize| {
        let values = rows
            .columns()
            .iter()
            .zip(&formatters)
            .map(|(column, formatter)| {
                value(column, formatter, row).map(|kind| Value { kind: Some(kind) })
            });
        Ok(Row {
            values: values.collect::<Result<_, Status>>()?,
        })
    };
    (0..rows.num_rows()).map(row).collect()
}

/// The value in the kind of its type; `None` for types that are told as text.
fn kind(column: &dyn Array, row: usize) -> Option<Kind> {
    Some(match column.data_type() {
        DataType::Boolean => Kind::Boolean(column.as_boolean().value(row)),
        DataType::Int8 => Kind::Integer(column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Kind::Integer(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Kind::Integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Kind::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Kind::Integer(column.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Kind::Integer(column.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Kind::Integer(column.as_primitive::<UInt32Type>().value(row).into()),
        DataType::Float32 => Kind::Number(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Kind::Number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => {
            let day = Day::from_epoch(column.as_primitive::<Date32Type>().value(row));
            let (year, month, day) = day.ymd()?;
            Kind::Date(Date { year, month, day })
        }
        DataType::Decimal128(..) => {
            Kind::Decimal(arrow::util::display::array_value_to_string(column, row).ok()?)
        }
        _ => return None,
    })
}

fn unshowable(error: arrow::error::ArrowError) -> Status {
    Status::unimplemented(format!("a value has no text form: {error}"))
}
