//! Columns out of a Parquet or Arrow file.

use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::ParquetError;
use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, RecordBatchReader,
    new_null_array,
};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use rayon::prelude::*;

use super::raw::{PART_ROWS, Raw};
use super::room::Room;
use super::{Input, InputFormat, unpacked};
use crate::{Error, Fault, Faults, Result};

/// What an Arrow file begins with; a stream follows, then an index that is not needed.
const ARROW_FILE: &[u8] = b"ARROW1\0\0";

/// Rows of a Parquet file that are decoded before their bytes are counted.
const STEP_ROWS: usize = 1024;

/// Why a file gives no rows.
enum Unread {
    /// It is not what its form wants.
    Unreadable(String),
    Refused(Error),
}

impl From<ArrowError> for Unread {
    fn from(error: ArrowError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<ParquetError> for Unread {
    fn from(error: ParquetError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Reads all columns, in parts. None where the file is not readable.
pub(super) fn read(input: &Input, room: &Room, faults: &mut Faults) -> Result<Vec<Raw>> {
    let (form, rows) = match input.format {
        InputFormat::Arrow => ("Arrow", arrow(input, room)),
        _ => ("Parquet", parquet(input, room)),
    };
    let batches = match rows {
        Ok(batches) => batches,
        Err(Unread::Refused(error)) => return Err(error),
        Err(Unread::Unreadable(error)) => {
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
fn parquet(input: &Input, room: &Room) -> Result<Vec<RecordBatch>, Unread> {
    let metadata = ArrowReaderMetadata::load(&input.bytes, ArrowReaderOptions::new())?;
    let groups = metadata.metadata().row_groups();
    let stated = groups.iter().map(|group| group.total_byte_size());
    let stated = stated.map(|bytes| u64::try_from(bytes).unwrap_or_default());
    room.unpack(&input.name, stated.fold(0, u64::saturating_add))?;
    let groups = in_parts(groups.iter().map(|group| group.num_rows() as usize));
    let read = |groups: Range<usize>| {
        let bytes = input.bytes.clone();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata.clone());
        let reader = reader.with_row_groups(groups.collect());
        in_steps(reader.with_batch_size(STEP_ROWS).build()?, input, room)
    };
    let batches = groups.into_par_iter().map(read);
    let batches = batches.collect::<Result<Vec<_>, Unread>>()?.concat();
    Ok(match batches.is_empty() {
        true => vec![RecordBatch::new_empty(Arc::clone(metadata.schema()))],
        false => batches,
    })
}

/// The rows of some groups in parts. A footer need not say what pages unpack to, and a word that stands in
/// many rows is written once: so rows are counted as they come, few at once.
fn in_steps(
    reader: ParquetRecordBatchReader,
    input: &Input,
    room: &Room,
) -> Result<Vec<RecordBatch>, Unread> {
    let schema = reader.schema();
    let (mut parts, mut steps, mut rows) = (Vec::new(), Vec::new(), 0);
    for step in reader {
        let step = step?;
        room.decode(&input.name, bytes_of(&step)?)?;
        rows += step.num_rows();
        steps.push(step);
        if rows >= PART_ROWS {
            parts.push(concat_batches(&schema, &steps)?);
            (steps, rows) = (Vec::new(), 0);
        }
    }
    if rows > 0 {
        parts.push(concat_batches(&schema, &steps)?);
    }
    Ok(parts)
}

/// The bytes of rows, whose words stand by themselves in what is made of them.
fn bytes_of(rows: &RecordBatch) -> Result<u64, ArrowError> {
    let columns = rows.columns().iter().map(bytes_of_column);
    Ok(columns.sum::<Result<usize, ArrowError>>()? as u64)
}

/// The bytes of a column as it will be: a word of a dictionary will stand in each row that means it.
fn bytes_of_column(column: &ArrayRef) -> Result<usize, ArrowError> {
    let Some(coded) = column.as_any_dictionary_opt() else {
        return bytes_of_values(&column.to_data());
    };
    let words = coded.values();
    let mean = bytes_of_values(&words.to_data())? / words.len().max(1);
    Ok(mean.saturating_mul(column.len()))
}

fn bytes_of_values(values: &ArrayData) -> Result<usize, ArrowError> {
    match values.child_data() {
        // Where there are none, there may be no buffers either.
        _ if values.is_empty() => Ok(0),
        [] => values.get_slice_memory_size(),
        parts => parts.iter().map(bytes_of_values).sum(),
    }
}

/// By the decoder that never reserves what a damaged length asks for.
fn arrow(input: &Input, room: &Room) -> Result<Vec<RecordBatch>, Unread> {
    let bytes: &[u8] = &input.bytes;
    let is_file = bytes.starts_with(ARROW_FILE);
    let stream = match is_file {
        true => stream_of(bytes).ok_or_else(|| ArrowError::IpcError("it has no end".to_owned()))?,
        false => bytes,
    };
    // In memory of its own, which is aligned.
    let mut buffer = Buffer::from(stream);
    room.unpack(&input.name, unpacked::of_stream(&buffer)?)?;
    let mut decoder = StreamDecoder::new();
    let mut batches: Vec<RecordBatch> = Vec::new();
    while !buffer.is_empty() {
        let Some(batch) = decoder.decode(&mut buffer)? else {
            break;
        };
        room.decode(&input.name, bytes_of(&batch)?)?;
        batches.push(batch);
    }
    let Some(schema) = decoder.schema() else {
        return Err(ArrowError::IpcError("it has no schema".to_owned()).into());
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
