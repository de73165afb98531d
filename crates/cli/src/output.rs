//! Rows in the form that a person or the next program reads.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder as JsonWriterBuilder};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::args::{Format, OutputArgs};
use crate::failure::Failure;
use crate::rows::Rows;

/// Rows of a table that are shown; of a longer one the first and the last half.
const SHOWN_ROWS: usize = 200;

/// Writes a query's rows as they come; a table, and Parquet's end, need all of them.
pub(crate) async fn write(mut rows: Rows, args: &OutputArgs) -> Result<(), Failure> {
    let mut output = Output::open(args, &rows.schema())?;
    while let Some(batch) = rows.next().await? {
        output.write(batch)?;
    }
    output.finish()
}

/// Writes rows that are there already.
pub(crate) fn write_batch(batch: RecordBatch, args: &OutputArgs) -> Result<(), Failure> {
    let mut output = Output::open(args, &batch.schema())?;
    output.write(batch)?;
    output.finish()
}

type Sink = BufWriter<Box<dyn Write + Send>>;

/// Where rows go, in one of the forms.
struct Output {
    writer: Writer,
    target: Option<PendingFile>,
}

enum Writer {
    Table {
        sink: Sink,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    },
    Csv(Box<arrow::csv::Writer<Sink>>),
    Json(arrow::json::Writer<Sink, JsonArray>),
    Ndjson(arrow::json::Writer<Sink, LineDelimited>),
    Arrow(Box<StreamWriter<Sink>>),
    Parquet(Box<ArrowWriter<Sink>>),
}

impl Output {
    fn open(args: &OutputArgs, schema: &SchemaRef) -> Result<Self, Failure> {
        let to_terminal = args.output.is_none() && std::io::stdout().is_terminal();
        let format = args.format.unwrap_or(if to_terminal {
            Format::Table
        } else {
            Format::Csv
        });
        if to_terminal && matches!(format, Format::Arrow | Format::Parquet) {
            return Err(Failure::usage(
                "this format is not for a terminal: name a file with -o",
            ));
        }
        let target = args
            .output
            .as_deref()
            .map(PendingFile::create)
            .transpose()?;
        let sink: Box<dyn Write + Send> = match &target {
            Some(file) => Box::new(file.handle()?),
            None => Box::new(std::io::stdout()),
        };
        let writer = Writer::open(format, BufWriter::new(sink), schema)?;
        Ok(Self { writer, target })
    }

    fn write(&mut self, batch: RecordBatch) -> Result<(), Failure> {
        self.writer.write(batch).map_err(unless_reader_left)
    }

    fn finish(self) -> Result<(), Failure> {
        self.writer.finish().map_err(unless_reader_left)?;
        self.target.map_or(Ok(()), PendingFile::keep)
    }
}

/// `didymium sql … | head` is no failure of ours; there is only nobody left to write to.
fn unless_reader_left(failure: Failure) -> Failure {
    if failure.message.contains("Broken pipe") {
        return Failure { code: 0, ..failure };
    }
    failure
}

impl Writer {
    fn open(format: Format, sink: Sink, schema: &SchemaRef) -> Result<Self, Failure> {
        let json = || JsonWriterBuilder::new().with_explicit_nulls(true);
        Ok(match format {
            Format::Table => Self::Table {
                sink,
                schema: Arc::clone(schema),
                batches: Vec::new(),
            },
            Format::Csv => {
                let mut writer = arrow::csv::WriterBuilder::new()
                    .with_header(true)
                    .build(sink);
                // A header even without rows.
                writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
                Self::Csv(Box::new(writer))
            }
            Format::Json => Self::Json(json().build(sink)),
            Format::Ndjson => Self::Ndjson(json().build(sink)),
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(sink, schema)?)),
            Format::Parquet => {
                let zstd = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(zstd).build();
                let writer = ArrowWriter::try_new(sink, Arc::clone(schema), Some(properties));
                Self::Parquet(Box::new(
                    writer.map_err(|error| Failure::own(error.to_string()))?,
                ))
            }
        })
    }

    fn write(&mut self, batch: RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Table { batches, .. } => batches.push(batch),
            Self::Csv(writer) => writer.write(&batch)?,
            Self::Json(writer) => writer.write(&batch)?,
            Self::Ndjson(writer) => writer.write(&batch)?,
            Self::Arrow(writer) => writer.write(&batch)?,
            Self::Parquet(writer) => {
                writer
                    .write(&batch)
                    .map_err(|error| Failure::own(error.to_string()))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        let mut sink = match self {
            Self::Table {
                mut sink,
                schema,
                batches,
            } => {
                write_table(&mut sink, &schema, &batches)?;
                sink
            }
            Self::Csv(writer) => writer.into_inner(),
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Self::Parquet(writer) => writer
                .into_inner()
                .map_err(|error| Failure::own(error.to_string()))?,
        };
        Ok(sink.flush()?)
    }
}

fn write_table(
    sink: &mut Sink,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), Failure> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let options = FormatOptions::default().with_null("NULL");
    let all = concat_batches(schema, batches)?;
    let shown = if rows > SHOWN_ROWS {
        let half = SHOWN_ROWS / 2;
        vec![all.slice(0, half), all.slice(rows - half, half)]
    } else {
        vec![all]
    };
    writeln!(
        sink,
        "{}",
        pretty_format_batches_with_options(&shown, &options)?
    )?;
    let unit = if rows == 1 { "row" } else { "rows" };
    match rows > SHOWN_ROWS {
        true => writeln!(
            sink,
            "{rows} {unit}, the first and last {} shown; --format csv gives all",
            SHOWN_ROWS / 2
        )?,
        false => writeln!(sink, "{rows} {unit}")?,
    }
    Ok(())
}

/// A file that gets its name only when it is complete. What is no regular file, such as a device or a
/// pipe, is written to as it stands.
struct PendingFile {
    pending: PathBuf,
    name: PathBuf,
    is_special: bool,
}

impl PendingFile {
    fn create(name: &Path) -> Result<Self, Failure> {
        // A link stays one: what it leads to is replaced.
        let name = name.canonicalize().unwrap_or_else(|_| name.to_owned());
        let is_special = name.metadata().is_ok_and(|there| !there.is_file());
        let mut pending = name.as_os_str().to_owned();
        pending.push(format!(".{}.part", std::process::id()));
        Ok(Self {
            pending: pending.into(),
            name,
            is_special,
        })
    }

    fn handle(&self) -> Result<File, Failure> {
        let opened = match self.is_special {
            true => File::options().write(true).open(&self.name),
            false => File::create(&self.pending),
        };
        opened.map_err(|error| Failure::own(format!("{}: {error}", self.name.display())))
    }

    fn keep(self) -> Result<(), Failure> {
        if self.is_special {
            return Ok(());
        }
        std::fs::rename(&self.pending, &self.name)
            .map_err(|error| Failure::own(format!("{}: {error}", self.name.display())))
    }
}

impl Drop for PendingFile {
    /// After a failure nothing stays behind; after success there is nothing to remove.
    fn drop(&mut self) {
        if !self.is_special {
            let _ = std::fs::remove_file(&self.pending);
        }
    }
}
