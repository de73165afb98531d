//! Rows in the forms that programs without Arrow, or without gRPC, read.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder as JsonBuilder};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;

use crate::{Error, ErrorKind, IpcEncoder, Result};

/// A form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An Arrow IPC stream.
    Arrow,
    /// An array of objects.
    Json,
    /// An object a line.
    Ndjson,
    /// RFC 4180 with a header row; NULL is an empty cell.
    Csv,
    /// Parquet, zstd.
    Parquet,
}

/// Encodes rows as they come; the parts together are the whole.
pub struct FormatEncoder {
    writer: Writer,
}

enum Writer {
    Arrow(IpcEncoder),
    Json(arrow::json::Writer<Vec<u8>, JsonArray>),
    Ndjson(arrow::json::Writer<Vec<u8>, LineDelimited>),
    /// The header, until it is given.
    Csv(Vec<u8>),
    Parquet {
        writer: Box<ArrowWriter<Written>>,
        written: Written,
    },
}

/// What a writer that keeps its target has written so far.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Memory of a row group that is written as soon as it takes so much.
const ROW_GROUP_BYTES: usize = 8 * 1024 * 1024;

impl FormatEncoder {
    /// An encoder for rows of this schema.
    ///
    /// # Errors
    /// `InvalidInput` where the form can't hold these columns.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let json = || JsonBuilder::new().with_explicit_nulls(true);
        let writer = match format {
            Format::Arrow => Writer::Arrow(IpcEncoder::new(schema)?),
            Format::Json => {
                refuse_same_names(schema)?;
                Writer::Json(json().build(Vec::new()))
            }
            Format::Ndjson => {
                refuse_same_names(schema)?;
                Writer::Ndjson(json().build(Vec::new()))
            }
            Format::Csv => {
                let none = RecordBatch::new_empty(Arc::clone(schema));
                Writer::Csv(csv(&none, true)?)
            }
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let written = Written::default();
                let writer =
                    ArrowWriter::try_new(written.clone(), Arc::clone(schema), Some(properties));
                let writer = Box::new(writer.map_err(of_parquet)?);
                Writer::Parquet { writer, written }
            }
        };
        Ok(Self { writer })
    }

    /// The next part, which may be empty.
    ///
    /// # Errors
    /// `InvalidInput` for values that the form can't hold.
    pub fn encode(&mut self, rows: &RecordBatch) -> Result<Vec<u8>> {
        match &mut self.writer {
            Writer::Arrow(encoder) => {
                let mut part = encoder.take();
                part.extend(encoder.encode(rows)?.concat());
                Ok(part)
            }
            Writer::Json(writer) => {
                writer.write(rows).map_err(of_arrow)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Writer::Ndjson(writer) => {
                writer.write(rows).map_err(of_arrow)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Writer::Csv(header) => {
                let mut part = std::mem::take(header);
                part.extend(csv(rows, false)?);
                Ok(part)
            }
            // A row group is whole before any of it is written.
            Writer::Parquet { writer, written } => {
                writer.write(rows).map_err(of_parquet)?;
                if writer.memory_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(of_parquet)?;
                }
                Ok(written.take())
            }
        }
    }

    /// The last part.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn finish(self) -> Result<Vec<u8>> {
        match self.writer {
            Writer::Arrow(mut encoder) => {
                let mut part = encoder.take();
                part.extend(encoder.finish()?);
                Ok(part)
            }
            Writer::Json(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                let mut part = writer.into_inner();
                part.push(b'\n');
                Ok(part)
            }
            Writer::Ndjson(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                Ok(writer.into_inner())
            }
            Writer::Csv(header) => Ok(header),
            Writer::Parquet { writer, written } => {
                writer.close().map_err(of_parquet)?;
                Ok(written.take())
            }
        }
    }
}

/// Rows as CSV, by a writer of their own: it keeps what it writes to.
fn csv(rows: &RecordBatch, header: bool) -> Result<Vec<u8>> {
    if rows.num_columns() == 0 {
        return Ok(Vec::new());
    }
    let builder = arrow::csv::WriterBuilder::new().with_header(header);
    let mut writer = builder.build(Vec::new());
    writer.write(rows).map_err(of_arrow)?;
    Ok(writer.into_inner())
}

/// An object has one value of a name.
fn refuse_same_names(schema: &SchemaRef) -> Result<()> {
    let mut names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|it| it.name().as_str())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::invalid(format!(
            "two columns are called {}: an object in JSON holds one of a name, so give one an alias",
            pair[0]
        ))),
    }
}

fn of_arrow(error: ArrowError) -> Error {
    Error::invalid(format!("the form can't hold the rows: {error}"))
}

fn of_parquet(error: ParquetError) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("Parquet can't hold the rows: {error}"),
    )
}
