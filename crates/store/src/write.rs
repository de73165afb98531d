//! Sorted rows into Parquet files with statistics.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::kernels::aggregate::{max, max_string, min, min_string};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use deltalake_core::kernel::Add;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::data_file::{FileStatistics, SORTED_TAG, UNIQUE_PERIODS_TAG, bound};
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
    rows: usize,
    statistics: FileStatistics,
    unique_periods: bool,
}

/// Encodes rows that are sorted as the declaration says.
pub(crate) fn encode(declaration: &Declaration, rows: &RecordBatch) -> Result<NewFile> {
    let mut bytes = Vec::new();
    let properties = properties(declaration, rows)?;
    let written = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties))
        .and_then(|mut writer| writer.write(rows).and_then(|()| writer.close()));
    written.map_err(|error| Error::Internal(format!("writing Parquet: {error}")))?;
    let checksum = checksum(&bytes);
    Ok(NewFile {
        path: format!("part-{}-{checksum}.parquet", uuid::Uuid::new_v4()),
        bytes: bytes.into(),
        rows: rows.num_rows(),
        statistics: statistics(rows)?,
        unique_periods: has_unique_periods(declaration, rows),
    })
}

/// The checksum that a file's name ends with.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl NewFile {
    /// The log's line that brings the file into the table.
    pub(crate) fn add(&self, declaration: &Declaration, now_ms: i64) -> Result<Add> {
        let statistics = serde_json::to_string(&self.statistics)
            .map_err(|error| Error::Internal(format!("statistics of {}: {error}", self.path)))?;
        let tags = HashMap::from([
            (
                SORTED_TAG.to_owned(),
                Some(declaration.sort_columns().join(",")),
            ),
            (
                UNIQUE_PERIODS_TAG.to_owned(),
                Some(self.unique_periods.to_string()),
            ),
        ]);
        Ok(Add {
            path: self.path.clone(),
            partition_values: HashMap::new(),
            size: self.bytes.len() as i64,
            modification_time: now_ms,
            data_change: true,
            stats: Some(statistics),
            tags: Some(tags),
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }
}

fn properties(declaration: &Declaration, rows: &RecordBatch) -> Result<WriterProperties> {
    let schema = rows.schema();
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
        let Some(distinct) = distinct_texts(rows, name) else {
            continue;
        };
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_max_ndv(column, distinct as u64);
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

fn distinct_texts(rows: &RecordBatch, name: &str) -> Option<usize> {
    let texts = rows.column_by_name(name)?.as_string_opt::<i32>()?;
    Some(texts.iter().flatten().collect::<HashSet<_>>().len().max(1))
}

fn statistics(rows: &RecordBatch) -> Result<FileStatistics> {
    let mut statistics = FileStatistics {
        num_records: Some(rows.num_rows() as u64),
        ..FileStatistics::default()
    };
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name();
        statistics
            .null_count
            .insert(name.clone(), column.null_count().into());
        let Some((low, high)) = bounds(column.as_ref()) else {
            continue;
        };
        if let (Some(low), Some(high)) = (bound(&low), bound(&high)) {
            statistics.min_values.insert(name.clone(), low);
            statistics.max_values.insert(name.clone(), high);
        }
    }
    Ok(statistics)
}

fn bounds(column: &dyn Array) -> Option<(ScalarValue, ScalarValue)> {
    match column.data_type() {
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let text = |text: Option<&str>| ScalarValue::Utf8(text.map(str::to_owned));
            Some((text(min_string(column)), text(max_string(column))))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Some((
                ScalarValue::Int64(min(column)),
                ScalarValue::Int64(max(column)),
            ))
        }
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            Some((
                ScalarValue::Float64(min(column)),
                ScalarValue::Float64(max(column)),
            ))
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            Some((
                ScalarValue::Date32(min(column)),
                ScalarValue::Date32(max(column)),
            ))
        }
        _ => None,
    }
}

/// Whether every series has each period once: then the newest vintage of the file is the file.
fn has_unique_periods(declaration: &Declaration, rows: &RecordBatch) -> bool {
    let column = |name: &str| rows.column_by_name(name);
    let (Some(series), Some(start), Some(end)) = (
        column("series"),
        column("period_start"),
        column("period_end"),
    ) else {
        return false;
    };
    if declaration.kind != TableKind::Series {
        return false;
    }
    let series = series.as_string::<i32>();
    let (start, end) = (
        start.as_primitive::<Date32Type>(),
        end.as_primitive::<Date32Type>(),
    );
    let period = |row: usize| (series.value(row), start.value(row), end.value(row));
    (1..rows.num_rows()).all(|row| period(row - 1) != period(row))
}
