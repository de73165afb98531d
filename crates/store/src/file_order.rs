//! What the log's tags say of the order of a file's rows: the columns that they are sorted by, and what else
//! holds in that order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type};
use datafusion::common::ScalarValue;
use serde_json::Value;

use crate::data_file::{bound, scalar};
use crate::layout::{comparator, internal};
use crate::{Declaration, Result, TableKind};

/// The columns that our writer sorted the file by.
pub(crate) const SORTED_BY: &str = "didymium.sorted_by";

/// Whether every series has each period once in the file.
const UNIQUE_PERIODS: &str = "didymium.unique_periods";

/// Whether the columns that name a series rise from one series to the next, as the names do.
const KEYS_IN_ORDER: &str = "didymium.keys_in_order";

/// Whether in every series a period that starts later never ends earlier.
const ENDS_IN_ORDER: &str = "didymium.ends_in_order";

/// Where the file may be cut.
const SPLITS: &str = "didymium.splits";

/// About how many rows lie between two splits.
const SPLIT_ROWS: usize = 64 * 1024;

/// How many splits the log keeps of a file: enough to share it out evenly among some threads.
const MOST_SPLITS: usize = 32;

/// The order of a file's rows. Nothing of it holds in a file that another program appended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FileOrder {
    pub(crate) sorted_by: Vec<String>,
    pub(crate) unique_periods: bool,
    pub(crate) keys_in_order: bool,
    pub(crate) ends_in_order: bool,
    pub(crate) splits: Vec<Split>,
}

/// A row with which a series begins, or a value of a plain table's first sort column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    /// How many rows come before it.
    pub(crate) row: usize,
    /// Its value in the first sort column.
    pub(crate) first: ScalarValue,
}

impl FileOrder {
    /// What tags say; `type_of` gives the type of a column.
    pub(crate) fn of_tags(
        mut tags: HashMap<String, Option<String>>,
        type_of: impl Fn(&str) -> Option<DataType>,
    ) -> Self {
        let mut tag = |name: &str| tags.remove(name).flatten();
        let Some(sorted_by) = tag(SORTED_BY) else {
            return Self::default();
        };
        let sorted_by: Vec<String> = sorted_by.split(',').map(str::to_owned).collect();
        let mut holds = |name: &str| tag(name).as_deref() == Some("true");
        let (unique_periods, keys_in_order, ends_in_order) = (
            holds(UNIQUE_PERIODS),
            holds(KEYS_IN_ORDER),
            holds(ENDS_IN_ORDER),
        );
        let splits = tag(SPLITS).and_then(|json| serde_json::from_str(&json).ok());
        let splits: Vec<(usize, Value)> = splits.unwrap_or_default();
        let first = sorted_by.first().and_then(|first| type_of(first));
        let splits = splits.into_iter().filter_map(|(row, value)| {
            let first = scalar(&value, first.as_ref()?)?;
            Some(Split { row, first })
        });
        Self {
            unique_periods,
            keys_in_order,
            ends_in_order,
            splits: splits.collect(),
            sorted_by,
        }
    }

    pub(crate) fn tags(&self) -> HashMap<String, Option<String>> {
        let splits = self
            .splits
            .iter()
            .filter_map(|split| Some(Value::from(vec![split.row.into(), bound(&split.first)?])));
        let tags = [
            (SORTED_BY, self.sorted_by.join(",")),
            (UNIQUE_PERIODS, self.unique_periods.to_string()),
            (KEYS_IN_ORDER, self.keys_in_order.to_string()),
            (ENDS_IN_ORDER, self.ends_in_order.to_string()),
            (SPLITS, Value::from_iter(splits).to_string()),
        ];
        tags.map(|(name, value)| (name.to_owned(), Some(value)))
            .into()
    }
}

/// Finds out the order of a file while its rows are written.
#[derive(Debug)]
pub(crate) struct OrderWatch {
    found: FileOrder,
    /// The columns that name a series.
    keys: Vec<String>,
    is_series: bool,
    /// How many rows have come, and from which one on a split is wanted.
    rows: usize,
    next_split: usize,
    last: Option<RecordBatch>,
}

impl OrderWatch {
    pub(crate) fn new(declaration: &Declaration) -> Self {
        let is_series = declaration.kind == TableKind::Series;
        let sorted_by = declaration.sort_columns().into_iter();
        Self {
            found: FileOrder {
                sorted_by: sorted_by.map(str::to_owned).collect(),
                unique_periods: is_series,
                keys_in_order: is_series,
                ends_in_order: is_series,
                splits: Vec::new(),
            },
            keys: declaration.series_columns().map(str::to_owned).collect(),
            is_series,
            rows: 0,
            next_split: SPLIT_ROWS,
            last: None,
        }
    }

    /// Takes the rows that come next.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if let Some(last) = self.last.take() {
            let pair = concat_batches(rows.schema_ref(), [&last, &rows.slice(0, 1)]);
            self.look(&pair.map_err(internal)?, self.rows - 1)?;
        }
        self.look(rows, self.rows)?;
        self.rows += rows.num_rows();
        self.last = Some(rows.slice(rows.num_rows() - 1, 1));
        Ok(())
    }

    pub(crate) fn finish(mut self) -> FileOrder {
        let splits = &mut self.found.splits;
        let step = splits.len().div_ceil(MOST_SPLITS).max(1);
        let mut place = 0;
        splits.retain(|_| {
            place += 1;
            place % step == 0
        });
        self.found
    }

    /// Compares each row with the one before it; `before` is how many rows of the file come before these.
    fn look(&mut self, rows: &RecordBatch, before: usize) -> Result<()> {
        let changes = self.changes(rows)?;
        for row in &changes {
            if before + row >= self.next_split {
                let column = rows.column_by_name(&self.found.sorted_by[0]);
                let first = column.map(|column| ScalarValue::try_from_array(column, *row));
                if let Some(Ok(first)) = first
                    && bound(&first).is_some()
                    && !first.data_type().is_floating()
                {
                    let row = before + row;
                    self.found.splits.push(Split { row, first });
                }
                self.next_split = before + row + SPLIT_ROWS;
            }
        }
        if self.is_series {
            self.look_at_series(rows, &changes)?;
        }
        Ok(())
    }

    /// The rows whose first sort column differs from the row's before.
    fn changes(&self, rows: &RecordBatch) -> Result<Vec<usize>> {
        let Some(column) = rows.column_by_name(&self.found.sorted_by[0]) else {
            return Ok(Vec::new());
        };
        let others = 1..rows.num_rows();
        if let Some(texts) = column.as_string_opt::<i32>()
            && texts.null_count() == 0
        {
            let differs = |row: &usize| texts.value(*row) != texts.value(row - 1);
            return Ok(others.filter(differs).collect());
        }
        let rows = comparator(vec![Arc::clone(column)])?;
        let differs = |row: &usize| rows.compare(row - 1, *row).is_ne();
        Ok(others.filter(differs).collect())
    }

    fn look_at_series(&mut self, rows: &RecordBatch, changes: &[usize]) -> Result<()> {
        let keys = self.keys.iter().filter_map(|key| rows.column_by_name(key));
        let keys = comparator(keys.cloned().collect())?;
        let found = &mut self.found;
        found.keys_in_order &= changes
            .iter()
            .all(|row| keys.compare(row - 1, *row).is_lt());
        let day = |name: &str| {
            let column = rows.column_by_name(name)?;
            column.as_primitive_opt::<Date32Type>()
        };
        let (Some(starts), Some(ends)) = (day("period_start"), day("period_end")) else {
            (found.unique_periods, found.ends_in_order) = (false, false);
            return Ok(());
        };
        let mut changes = changes.iter().peekable();
        for row in 1..rows.num_rows() {
            if changes.next_if(|change| **change == row).is_some() {
                continue;
            }
            let (end, end_before) = (ends.value(row), ends.value(row - 1));
            found.ends_in_order &= end_before <= end;
            found.unique_periods &= end != end_before || starts.value(row) != starts.value(row - 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, StringArray};

    use super::*;

    fn watch() -> OrderWatch {
        OrderWatch {
            found: FileOrder {
                sorted_by: vec!["series".to_owned()],
                unique_periods: true,
                keys_in_order: true,
                ends_in_order: true,
                splits: Vec::new(),
            },
            keys: vec!["mine".to_owned()],
            is_series: true,
            rows: 0,
            next_split: 2,
            last: None,
        }
    }

    fn rows(series: &[&str], mines: &[&str], starts: &[i32], ends: &[i32]) -> RecordBatch {
        let text = |texts: &[&str]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        let day = |days: &[i32]| Arc::new(Date32Array::from(days.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([
            ("series", text(series)),
            ("mine", text(mines)),
            ("period_start", day(starts)),
            ("period_end", day(ends)),
        ])
        .expect("a batch")
    }

    #[test]
    fn order_is_found_across_batches() {
        let series = ["a", "a", "a", "b", "b"];
        let starts = [1, 11, 21, 1, 11];
        let ends = [10, 20, 30, 10, 20];
        let whole = rows(&series, &series, &starts, &ends);
        for cut in 1..4 {
            let mut watch = watch();
            watch.add(&whole.slice(0, cut)).expect("rows");
            watch.add(&whole.slice(cut, 5 - cut)).expect("rows");
            let found = watch.finish();
            assert!(found.unique_periods && found.keys_in_order && found.ends_in_order);
            let first = ScalarValue::from("b");
            assert_eq!(found.splits, [Split { row: 3, first }], "cut at {cut}");
            let type_of = |_: &str| Some(DataType::Utf8);
            assert_eq!(FileOrder::of_tags(found.tags(), type_of), found);
        }
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let found = |rows: RecordBatch| {
            let mut watch = watch();
            watch.add(&rows).expect("rows");
            watch.finish()
        };
        // A year, then its first month.
        let nested = found(rows(&["a", "a"], &["a", "a"], &[1, 1], &[31, 12]));
        assert!(nested.unique_periods && !nested.ends_in_order);
        let twice = found(rows(&["a", "a"], &["a", "a"], &[1, 1], &[31, 31]));
        assert!(!twice.unique_periods && twice.ends_in_order);
        // "A B/output" sorts before "A/output".
        let series = ["A B/output", "A/output"];
        let names = found(rows(&series, &["A B", "A"], &[1, 1], &[31, 31]));
        assert!(!names.keys_in_order && names.unique_periods);
    }
}
