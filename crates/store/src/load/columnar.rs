//! Columns out of a Parquet or Arrow file.

use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::ParquetError;
use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use rayon::prelude::*;

use super::raw::{PART_ROWS, Raw};
use super::{Input, InputFormat};
use crate::{Fault, Faults, Result};

/// What an Arrow file begins with; a stream follows, then an index that is not needed.
const ARROW_FILE: &[u8] = b"ARROW1\0\0";

/// Reads all columns, in parts. None where the file is not readable.
pub(super) fn read(input: &Input, faults: &mut Faults) -> Result<Vec<Raw>> {
    let (form, rows) = match input.format {
        InputFormat::Arrow => (
            "Arrow",
            arrow(&input.bytes).map_err(|error| error.to_string()),
        ),
        _ => (
            "Parquet",
            parquet(&input.bytes).map_err(|error| error.to_string()),
        ),
    };
    let batches = match rows {
        Ok(batches) => batches,
        Err(error) => {
            faults.add(Fault {
                file: input.name.clone(),
                row: 0,
                column: String::new(),
                rule: format!("is not a readable {form} file: {error}"),
                value: None,
            });
            return Ok(Vec::new());
        }
    };
    let mut next = 1;
    let parts = batches.into_iter().map(|rows| {
        let first = next;
        next += rows.num_rows() as u64;
        let schema = rows.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        Raw {
            columns: names.zip(rows.columns().iter().cloned()).collect(),
            row_numbers: (first..next).collect(),
        }
    });
    Ok(parts.collect())
}

/// The rows of a Parquet file, several of its groups at once. One batch at least.
fn parquet(bytes: &Bytes) -> Result<Vec<RecordBatch>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new())?;
    let rows = metadata.metadata().row_groups().iter();
    let groups = in_parts(rows.map(|group| group.num_rows() as usize));
    let read = |groups: Range<usize>| {
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone());
        let reader = reader.with_row_groups(groups.collect());
        let reader = reader.with_batch_size(PART_ROWS).build()?;
        Ok(reader.collect::<Result<Vec<_>, _>>()?)
    };
    let batches = groups.into_par_iter().map(read);
    let batches = batches.collect::<Result<Vec<_>, ParquetError>>()?.concat();
    Ok(match batches.is_empty() {
        true => vec![RecordBatch::new_empty(Arc::clone(metadata.schema()))],
        false => batches,
    })
}

/// By the decoder that never reserves what a damaged length asks for.
fn arrow(bytes: &Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
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
    // Some programs write very small ones.
    let parts = in_parts(batches.iter().map(RecordBatch::num_rows)).into_iter();
    let parts = parts.map(|part| concat_batches(&schema, &batches[part]));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    Ok(match parts.is_empty() {
        true => vec![RecordBatch::new_empty(schema)],
        false => parts,
    })
}

/// Puts neighbours of so many rows together, until each part has about as many as one thread reads at once.
fn in_parts(rows: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut of_last = PART_ROWS;
    for (place, rows) in rows.enumerate() {
        match parts.last_mut() {
            Some(last) if of_last < PART_ROWS => last.end = place + 1,
            _ => {
                parts.push(place..place + 1);
                of_last = 0;
            }
        }
        of_last += rows;
    }
    parts
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
