//! Sorted rows into Parquet files with statistics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Int64Type, SchemaRef};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use deltalake_core::kernel::Add;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::data_file::{FileStatistics, bound};
use crate::file_order::{FileOrder, OrderWatch};
use crate::long_rows::LengthWatch;
use crate::{Declaration, Error, Result, TableKind};

/// Rows of a row group: small enough to skip well, large enough to compress.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Rows of a page: what a look-up of one series decodes.
const PAGE_ROWS: usize = 8 * 1024;

/// A Parquet file that is not yet in the store.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// From the table's folder; it ends with the content's checksum.
    pub(crate) path: String,
    pub(crate) bytes: Bytes,
    size: usize,
    statistics: FileStatistics,
    order: FileOrder,
    lengths: LengthWatch,
}

/// Encodes rows that are sorted as the declaration says.
pub(crate) fn encode(declaration: &Declaration, rows: &RecordBatch) -> Result<NewFile> {
    let mut file = FileWriter::new(declaration, &rows.schema())?;
    file.write(rows)?;
    file.finish()
}

/// A file on its way: sorted rows go in, a batch at a time.
pub(crate) struct FileWriter {
    writer: ArrowWriter<Vec<u8>>,
    rows: usize,
    statistics: Bounds,
    order: OrderWatch,
    lengths: LengthWatch,
}

impl FileWriter {
    /// The schema may have columns that the declaration does not know, because another program added
    /// them: they are kept.
    pub(crate) fn new(declaration: &Declaration, schema: &SchemaRef) -> Result<Self> {
        let properties = properties(declaration, schema)?;
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties));
        Ok(Self {
            writer: writer.map_err(unwritable)?,
            rows: 0,
            statistics: Bounds::default(),
            order: OrderWatch::new(declaration),
            lengths: LengthWatch::default(),
        })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(unwritable)?;
        self.rows += rows.num_rows();
        self.statistics.add(rows);
        self.lengths.add(rows);
        self.order.add(rows)
    }

    /// What has been encoded of it, whole row groups.
    pub(crate) fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    pub(crate) fn finish(self) -> Result<NewFile> {
        let bytes = self.writer.into_inner().map_err(unwritable)?;
        let checksum = checksum(&bytes);
        Ok(NewFile {
            path: format!("part-{}-{checksum}.parquet", uuid::Uuid::new_v4()),
            size: bytes.len(),
            bytes: bytes.into(),
            statistics: self.statistics.finish(self.rows),
            order: self.order.finish(),
            lengths: self.lengths,
        })
    }
}

fn unwritable(error: ParquetError) -> Error {
    Error::Internal(format!("writing Parquet: {error}"))
}

/// The checksum that a file's name ends with.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// The SHA-256 of some bytes, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl NewFile {
    /// Once it is in the store.
    pub(crate) fn without_bytes(self) -> Self {
        Self {
            bytes: Bytes::new(),
            ..self
        }
    }

    /// The log's line that brings the file into the table; `data_change` says whether its rows are
    /// new there.
    pub(crate) fn add(&self, now_ms: i64, data_change: bool) -> Result<Add> {
        let statistics = serde_json::to_string(&self.statistics)
            .map_err(|error| Error::Internal(format!("statistics of {}: {error}", self.path)))?;
        Ok(Add {
            path: self.path.clone(),
            partition_values: HashMap::new(),
            size: self.size as i64,
            modification_time: now_ms,
            data_change,
            stats: Some(statistics),
            tags: Some(
                self.order
                    .tags()
                    .into_iter()
                    .chain(self.lengths.tag())
                    .collect(),
            ),
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }
}

fn properties(declaration: &Declaration, schema: &SchemaRef) -> Result<WriterProperties> {
    let sorting = declaration.sort_columns().into_iter().map(|name| {
        let column_idx = schema.index_of(name).map_err(crate::layout::internal)? as i32;
        Ok(SortingColumn {
            column_idx,
            descending: false,
            nulls_first: false,
        })
    });
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_sorting_columns(Some(sorting.collect::<Result<Vec<_>>>()?));
    for name in bloom_columns(declaration) {
        let is_text = |field: &Field| field.data_type() == &DataType::Utf8;
        if schema.field_with_name(name).is_ok_and(is_text) {
            let column = ColumnPath::from(name);
            // The filter is folded to what the row group needs of it.
            properties = properties
                .set_column_bloom_filter_enabled(column.clone(), true)
                .set_column_bloom_filter_max_ndv(column, ROW_GROUP_ROWS as u64);
        }
    }
    Ok(properties.build())
}

/// The columns that queries look up by equality: the series and what names it.
fn bloom_columns(declaration: &Declaration) -> impl Iterator<Item = &str> {
    let series = (declaration.kind == TableKind::Series).then_some("series");
    series
        .into_iter()
        .chain(declaration.key.iter().map(String::as_str))
}

/// The least and greatest values of a file's columns, batch by batch.
#[derive(Debug, Default)]
struct Bounds {
    /// By column: least, greatest, and how many are NULL.
    columns: BTreeMap<String, (Option<(ScalarValue, ScalarValue)>, usize)>,
}

impl Bounds {
    fn add(&mut self, rows: &RecordBatch) {
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let (known, nulls) = self.columns.entry(field.name().clone()).or_default();
            *nulls += column.null_count();
            if let Some(more) = bounds(column.as_ref()) {
                *known = Some(widened(known.take(), more));
            }
        }
    }

    fn finish(self, rows: usize) -> FileStatistics {
        let mut statistics = FileStatistics {
            num_records: Some(rows as u64),
            ..FileStatistics::default()
        };
        for (name, (known, nulls)) in self.columns {
            if let Some((low, high)) = known
                && let (Some(low), Some(high)) = (bound(&low), bound(&high))
            {
                statistics.min_values.insert(name.clone(), low);
                statistics.max_values.insert(name.clone(), high);
            }
            statistics.null_count.insert(name, nulls.into());
        }
        statistics
    }
}

/// The least and greatest value; `None` where all are NULL, and for types that have no bounds in the log.
pub(crate) fn bounds(column: &dyn Array) -> Option<(ScalarValue, ScalarValue)> {
    fn both<T>(
        low: Option<T>,
        high: Option<T>,
        scalar: fn(Option<T>) -> ScalarValue,
    ) -> Option<(ScalarValue, ScalarValue)> {
        low.zip(high)
            .map(|(low, high)| (scalar(Some(low)), scalar(Some(high))))
    }
    match column.data_type() {
        DataType::Utf8 => {
            let (low, high) = text_bounds(column.as_string::<i32>())?;
            Some((ScalarValue::from(low), ScalarValue::from(high)))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            both(min(column), max(column), ScalarValue::Int64)
        }
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            both(min(column), max(column), ScalarValue::Float64)
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            both(min(column), max(column), ScalarValue::Date32)
        }
        _ => None,
    }
}

fn text_bounds(texts: &StringArray) -> Option<(&str, &str)> {
    let mut bounds: Option<(&str, &str)> = None;
    let mut last = None;
    for text in texts.iter().flatten() {
        // Columns that are sorted, or say one thing, repeat their texts.
        if last != Some(text) {
            last = Some(text);
            let (low, high) = bounds.unwrap_or((text, text));
            bounds = Some((low.min(text), high.max(text)));
        }
    }
    bounds
}

/// Bounds that hold both.
pub(crate) fn widened(
    known: Option<(ScalarValue, ScalarValue)>,
    (low, high): (ScalarValue, ScalarValue),
) -> (ScalarValue, ScalarValue) {
    let Some((lowest, highest)) = known else {
        return (low, high);
    };
    (
        if low < lowest { low } else { lowest },
        if high > highest { high } else { highest },
    )
}
