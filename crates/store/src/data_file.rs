//! One data file of a table, as the log tells of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use deltalake_core::kernel::Remove;
use didymium_model::Day;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file_order::FileOrder;
use crate::long_rows::LongColumns;

/// A live file of one version of a table.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// From the table's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) modified_ms: i64,
    /// What the log knows of its rows and columns, in the schema's order.
    pub(crate) statistics: Arc<Statistics>,
    /// The order of its rows.
    pub(crate) order: FileOrder,
    /// The columns with long values.
    pub(crate) long_columns: LongColumns,
}

impl DataFile {
    /// The least and greatest value of a column, by its place.
    pub(crate) fn bounds(&self, column: usize) -> Option<(&ScalarValue, &ScalarValue)> {
        let statistics = self.statistics.column_statistics.get(column)?;
        let low = statistics.min_value.get_value()?;
        Some((low, statistics.max_value.get_value()?))
    }

    /// How many rows it has, where the log says it.
    pub(crate) fn rows(&self) -> Option<usize> {
        self.statistics.num_rows.get_value().copied()
    }

    /// The log's line that takes the file out of the table. The file itself stays for the versions
    /// before.
    pub(crate) fn remove(&self, now_ms: i64, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::new()),
            size: Some(self.bytes as i64),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
        }
    }
}

/// The log's statistics of one file, in Delta's JSON form.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FileStatistics {
    pub(crate) num_records: Option<u64>,
    pub(crate) min_values: Map<String, Value>,
    pub(crate) max_values: Map<String, Value>,
    pub(crate) null_count: HashMap<String, Value>,
}

impl FileStatistics {
    /// In the engine's form. Bounds are exact, so that they may prune and stand for a value, only in
    /// files of our own writer: others cut texts and leave NaN out. Those of doubles never are: JSON
    /// gives a number back to within its last bit.
    pub(crate) fn in_schema(&self, schema: &Schema, is_ours: bool) -> Statistics {
        let columns = schema.fields().iter().map(|field| {
            let name = field.name();
            let bound = |values: &Map<String, Value>| {
                let scalar = values
                    .get(name)
                    .and_then(|value| scalar(value, field.data_type()));
                match scalar {
                    None => Precision::Absent,
                    // NaN comes after all numbers, and would be pruned with them.
                    Some(_) if !is_ours && field.data_type().is_floating() => Precision::Absent,
                    Some(scalar) if is_ours && !field.data_type().is_floating() => {
                        Precision::Exact(scalar)
                    }
                    Some(scalar) => Precision::Inexact(scalar),
                }
            };
            let nulls = self.null_count.get(name).and_then(Value::as_u64);
            ColumnStatistics {
                null_count: nulls
                    .map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize)),
                min_value: bound(&self.min_values),
                max_value: bound(&self.max_values),
                ..ColumnStatistics::new_unknown()
            }
        });
        Statistics {
            num_rows: self
                .num_records
                .map_or(Precision::Absent, |rows| Precision::Exact(rows as usize)),
            total_byte_size: Precision::Absent,
            column_statistics: columns.collect(),
        }
    }
}

/// A bound out of the log; `None` for types whose bounds the log does not carry exactly.
pub(crate) fn scalar(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Utf8 => ScalarValue::Utf8(Some(value.as_str()?.to_owned())),
        DataType::Int64 => ScalarValue::Int64(Some(value.as_i64()?)),
        DataType::Float64 => ScalarValue::Float64(Some(value.as_f64()?)),
        DataType::Date32 => {
            ScalarValue::Date32(Some(Day::parse(value.as_str()?)?.days_from_epoch()))
        }
        _ => return None,
    })
}

/// A bound for the log; `None` where the log's form would lose something.
pub(crate) fn bound(value: &ScalarValue) -> Option<Value> {
    match value {
        ScalarValue::Utf8(Some(text)) if text.len() <= LONGEST_BOUND => Some(text.as_str().into()),
        ScalarValue::Int64(Some(number)) => Some((*number).into()),
        ScalarValue::Float64(Some(number)) => {
            serde_json::Number::from_f64(*number).map(Value::Number)
        }
        ScalarValue::Date32(Some(days)) => Some(Day::from_epoch(*days).to_string().into()),
        _ => None,
    }
}

/// Longer texts get no bounds: a cut one would not be exact, and nobody filters by a note.
const LONGEST_BOUND: usize = 256;
