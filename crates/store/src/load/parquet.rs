//! Rows out of a Parquet file.

use std::collections::HashSet;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::errors::ParquetError;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use bytes::Bytes;

use super::Input;
use super::csv::file_columns;
use super::prepare::Parsed;
use crate::layout::internal;
use crate::{ColumnDeclaration, ColumnType, Declaration, Fault, Faults, Result};

/// Reads the table's columns by name. `None` where the file or its schema is wrong.
pub(super) fn parse(
    declaration: &Declaration,
    input: &Input,
    faults: &mut Faults,
) -> Result<Option<Parsed>> {
    let before = faults.count();
    let mut fault = |column: &str, rule: String| {
        faults.add(Fault {
            file: input.name.clone(),
            row: 0,
            column: column.to_owned(),
            rule,
            value: None,
        });
    };
    let file = match read(input.bytes.clone()) {
        Ok(file) => file,
        Err(error) => {
            fault("", format!("is not a readable Parquet file: {error}"));
            return Ok(None);
        }
    };
    let columns = file_columns(declaration);
    for field in file.schema().fields() {
        if !columns.iter().any(|column| column.name == *field.name()) {
            fault(field.name(), "the table has no such column".to_owned());
        }
    }
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in &columns {
        match file.column_by_name(&column.name) {
            Some(array) => match convert(column, array) {
                Ok(array) => arrays.push(array),
                Err(rule) => fault(&column.name, rule),
            },
            None if column.nullable => {
                arrays.push(new_null_array(&column.kind.arrow(), file.num_rows()));
            }
            None => fault(&column.name, "is missing in the file".to_owned()),
        }
    }
    if faults.count() > before {
        return Ok(None);
    }
    let fields = columns
        .iter()
        .map(|column| Field::new(&column.name, column.kind.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema, arrays).map_err(internal)?;
    let row_numbers = (1..=rows.num_rows() as u64).collect();
    Ok(Some(Parsed {
        rows,
        row_numbers,
        broken: HashSet::new(),
    }))
}

/// Some columns of a file of ours, in the order asked for.
pub(crate) fn columns(bytes: Bytes, names: &[&str]) -> Result<Vec<RecordBatch>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let reader = builder.with_projection(mask).build()?;
    let batches = reader.map(|batch| {
        let batch = batch?;
        let places = names.iter().map(|name| batch.schema().index_of(name));
        batch.project(&places.collect::<Result<Vec<_>, _>>()?)
    });
    Ok(batches.collect::<Result<Vec<_>, _>>()?)
}

fn read(bytes: Bytes) -> Result<RecordBatch, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let schema = Arc::clone(builder.schema());
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A column as the table has it, from any type that holds the same values without loss.
fn convert(column: &ColumnDeclaration, array: &ArrayRef) -> Result<ArrayRef, String> {
    let given = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        given => given,
    };
    let fits = given.is_null()
        || match column.kind {
            ColumnType::Text => {
                matches!(
                    given,
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                )
            }
            ColumnType::Int => given.is_integer() && *given != DataType::UInt64,
            ColumnType::Double => given.is_numeric(),
            ColumnType::Date => matches!(given, DataType::Date32 | DataType::Date64),
            ColumnType::Boolean => *given == DataType::Boolean,
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
    // Large whole numbers have no double, and a time of day no day.
    if given.is_integer() || *given == DataType::Date64 {
        let back = cast_with_options(&converted, array.data_type(), &strict);
        if back.is_ok_and(|back| back.to_data() != array.to_data()) {
            return Err(format!(
                "{}: a {given} loses something on the way",
                column.kind.expectation()
            ));
        }
    }
    let array = converted;
    Ok(if column.kind == ColumnType::Double {
        without_minus_zero(&array)
    } else {
        array
    })
}

fn without_minus_zero(array: &ArrayRef) -> ArrayRef {
    let values: Float64Array = array
        .as_primitive::<Float64Type>()
        .unary(|value| value + 0.0);
    Arc::new(values)
}
