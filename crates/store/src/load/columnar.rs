//! Columns out of a Parquet or Arrow file.

use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::errors::ParquetError;
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;

use super::raw::Raw;
use super::{Input, InputFormat};
use crate::{Fault, Faults, Result};

/// What an Arrow file begins with; a stream follows, then an index that is not needed.
const ARROW_FILE: &[u8] = b"ARROW1\0\0";

/// Reads all columns. `None` where the file is not readable.
pub(super) fn read(input: &Input, faults: &mut Faults) -> Result<Option<Raw>> {
    let (form, rows) = match input.format {
        InputFormat::Arrow => (
            "Arrow",
            arrow(&input.bytes).map_err(|error| error.to_string()),
        ),
        _ => (
            "Parquet",
            parquet(input.bytes.clone()).map_err(|error| error.to_string()),
        ),
    };
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            faults.add(Fault {
                file: input.name.clone(),
                row: 0,
                column: String::new(),
                rule: format!("is not a readable {form} file: {error}"),
                value: None,
            });
            return Ok(None);
        }
    };
    let names = rows.schema();
    let names = names.fields().iter().map(|field| field.name().clone());
    Ok(Some(Raw {
        columns: names.zip(rows.columns().iter().cloned()).collect(),
        row_numbers: (1..=rows.num_rows() as u64).collect(),
    }))
}

fn parquet(bytes: Bytes) -> Result<RecordBatch, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let schema = Arc::clone(builder.schema());
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// By the decoder that never reserves what a damaged length asks for.
fn arrow(bytes: &Bytes) -> Result<RecordBatch, ArrowError> {
    let is_file = bytes.starts_with(ARROW_FILE);
    let stream = match is_file {
        true => stream_of(bytes).ok_or_else(|| ArrowError::IpcError("it has no end".to_owned()))?,
        false => bytes,
    };
    // In memory of its own, which is aligned.
    let mut buffer = Buffer::from(stream);
    let mut decoder = StreamDecoder::new();
    let mut batches: Vec<RecordBatch> = Vec::new();
    while !buffer.is_empty() {
        let Some(batch) = decoder.decode(&mut buffer)? else {
            break;
        };
        batches.push(batch);
    }
    let Some(schema) = decoder.schema() else {
        return Err(ArrowError::IpcError("it has no schema".to_owned()));
    };
    if !is_file {
        decoder.finish()?;
    }
    concat_batches(&schema, &batches)
}

/// The stream within an Arrow file: an index, its length and the mark follow it.
fn stream_of(file: &[u8]) -> Option<&[u8]> {
    let (rest, _mark) = file.split_at_checked(file.len().checked_sub(6)?)?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(i32::from_le_bytes(*length)).ok()?;
    rest.get(ARROW_FILE.len()..rest.len().checked_sub(length)?)
}

/// Some columns of a data file in the table's types. One that the file lacks, because the column is newer,
/// is NULL.
pub(crate) fn columns(bytes: Bytes, wanted: &SchemaRef) -> Result<Vec<RecordBatch>, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let names = wanted.fields().iter().map(|field| field.name().as_str());
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let reader = builder.with_projection(mask).build()?;
    let batches = reader.map(|batch| {
        let batch = batch?;
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            // Another program may have written the text in another form.
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        };
        let columns = wanted.fields().iter().map(column);
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)?;
        Ok(rows)
    });
    batches.collect()
}
