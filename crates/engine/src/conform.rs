//! Results in types that every client knows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// The schema that a result is sent in: views, dictionaries and run-ends as the plain types that
/// they stand for, large lists as lists, times in microseconds. Older Arrow readers lack the former; pandas alone reads
/// nanoseconds.
pub(crate) fn conformed_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .map(conformed_field)
            .collect::<Vec<_>>(),
    ))
}

/// The rows in that schema.
pub(crate) fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast(column, field.data_type())
        });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

fn conformed_field(field: &FieldRef) -> FieldRef {
    let field = field.as_ref();
    Arc::new(Field::new(
        field.name(),
        plain(field.data_type()),
        field.is_nullable(),
    ))
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Time64(TimeUnit::Nanosecond) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Nanosecond) => DataType::Duration(TimeUnit::Microsecond),
        // No list of one row is so long that it needs the larger form, which Flight does not carry.
        DataType::List(item)
        | DataType::ListView(item)
        | DataType::LargeList(item)
        | DataType::LargeListView(item) => DataType::List(conformed_field(item)),
        DataType::FixedSizeList(item, size) => {
            DataType::FixedSizeList(conformed_field(item), *size)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(conformed_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(conformed_field(entries), *sorted),
        other => other.clone(),
    }
}
