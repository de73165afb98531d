//! Rows into Arrow IPC messages of a bounded size.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use crate::sizes::slice_bytes;
use crate::{Error, ErrorKind, Result};

/// What a batch is cut to before it is encoded.
const TARGET_BYTES: usize = 1024 * 1024;

/// The longest message that is sent. Python's gRPC reads at most 4 MiB without options.
pub const MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// Encodes a result: its chunks together are one Arrow IPC stream, the schema once.
pub struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    /// An encoder for rows of this schema. [`Self::take`] gives the stream's beginning.
    ///
    /// # Errors
    /// `Internal` where the schema has no IPC form.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(|error| failed(&error))?;
        Ok(Self { writer })
    }

    /// Encodes rows into chunks, each of whole messages and at most 2 MiB.
    ///
    /// # Errors
    /// `OutOfRange` for a row that is too long for a message.
    pub fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let mut chunks = Vec::new();
        for piece in pieces(rows)? {
            self.encode_piece(&piece, &mut chunks)?;
        }
        Ok(chunks)
    }

    /// What has been encoded and not yet taken: after [`Self::new`] the schema.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }

    /// The stream's end.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(|error| failed(&error))?;
        Ok(self.take())
    }

    /// Encodes a piece; in halves where some of its rows are much longer than others.
    fn encode_piece(&mut self, rows: &RecordBatch, chunks: &mut Vec<Vec<u8>>) -> Result<()> {
        self.writer.write(rows).map_err(|error| failed(&error))?;
        let chunk = self.take();
        if chunk.len() <= MESSAGE_BYTES {
            chunks.push(chunk);
            return Ok(());
        }
        if rows.num_rows() == 1 {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!(
                    "one row takes {} bytes, a message holds {MESSAGE_BYTES}: select fewer columns or shorter values",
                    chunk.len()
                ),
            ));
        }
        let half = rows.num_rows() / 2;
        self.encode_piece(&rows.slice(0, half), chunks)?;
        self.encode_piece(&rows.slice(half, rows.num_rows() - half), chunks)
    }
}

/// The bytes of the rows themselves: a slice shares its buffers with others.
///
/// # Errors
/// `Internal` for types without a size.
pub fn bytes_of(rows: &RecordBatch) -> Result<usize> {
    slice_bytes(rows).map_err(|error| failed(&error))
}

/// The rows in pieces of about 1 MiB, for messages of at most 2 MiB.
///
/// # Errors
/// As [`bytes_of`].
pub(crate) fn pieces(rows: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let pieces = bytes_of(rows)?.div_ceil(TARGET_BYTES);
    let pieces = pieces.clamp(1, rows.num_rows().max(1));
    let size = rows.num_rows().div_ceil(pieces).max(1);
    let starts = (0..rows.num_rows()).step_by(size);
    Ok(starts
        .map(|start| rows.slice(start, size.min(rows.num_rows() - start)))
        .collect())
}

fn failed(error: &ArrowError) -> Error {
    Error::new(ErrorKind::Internal, format!("encoding a result: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn round_trip(rows: &RecordBatch) -> Result<(usize, usize)> {
        let mut encoder = IpcEncoder::new(&rows.schema())?;
        let mut chunks = vec![encoder.take()];
        chunks.extend(encoder.encode(rows)?);
        chunks.push(encoder.finish()?);
        let longest = chunks.iter().map(Vec::len).max().unwrap_or_default();
        let stream = chunks.concat();
        let reader = StreamReader::try_new(stream.as_slice(), None).expect("a valid stream");
        let read = reader
            .map(|batch| batch.expect("a valid batch").num_rows())
            .sum();
        Ok((read, longest))
    }

    fn texts(texts: Vec<String>) -> RecordBatch {
        let column: ArrayRef = Arc::new(StringArray::from(texts));
        RecordBatch::try_from_iter([("text", column)]).expect("one column")
    }

    #[test]
    fn no_chunk_is_longer_than_a_message() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000_000));
        let numbers = RecordBatch::try_from_iter([("n", numbers)]).expect("one column");
        let (rows, longest) = round_trip(&numbers).expect("short rows");
        assert_eq!(rows, 1_000_000);
        assert!(longest <= MESSAGE_BYTES);
        // A slice shares the buffers of the whole and must not be counted as the whole.
        assert_eq!(
            round_trip(&numbers.slice(500_000, 3))
                .expect("short rows")
                .0,
            3
        );
    }

    #[test]
    fn one_long_row_among_short_ones_is_sent_alone() {
        let mut rows = vec!["x".to_owned(); 1000];
        rows[500] = "y".repeat(1_900_000);
        let (read, longest) = round_trip(&texts(rows)).expect("each row fits");
        assert_eq!(read, 1000);
        assert!(longest <= MESSAGE_BYTES);
    }

    #[test]
    fn a_row_that_no_message_holds_is_an_error() {
        let error = round_trip(&texts(vec!["y".repeat(3_000_000)])).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
    }

    #[test]
    fn an_empty_result_has_its_schema() {
        assert_eq!(round_trip(&texts(Vec::new())).expect("no rows").0, 0);
    }
}
