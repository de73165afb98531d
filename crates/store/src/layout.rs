//! The order of a table's rows: sorting, comparing and cutting them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use crate::{Declaration, Error, Result};

/// Some columns of a table, and their rows in a form that compares as files are ordered: ascending,
/// NULL last.
#[derive(Debug)]
pub(crate) struct Layout {
    schema: SchemaRef,
    converter: RowConverter,
}

/// Ascending, NULL last: what SQL's ORDER BY means by default.
pub(crate) const ORDER: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

impl Layout {
    /// Of the columns that the table's files are sorted by.
    pub(crate) fn of(declaration: &Declaration) -> Result<Self> {
        let columns = declaration.sort_columns().into_iter();
        Self::over(declaration, columns.map(str::to_owned).collect())
    }

    /// Of some of the table's columns.
    pub(crate) fn over(declaration: &Declaration, columns: Vec<String>) -> Result<Self> {
        let schema = declaration.schema();
        let fields = columns
            .iter()
            .map(|name| schema.field_with_name(name).cloned());
        let fields = fields.collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let schema = Arc::new(Schema::new(fields));
        let fields = schema
            .fields()
            .iter()
            .map(|field| SortField::new_with_options(field.data_type().clone(), ORDER));
        let converter = RowConverter::new(fields.collect()).map_err(internal)?;
        Ok(Self { schema, converter })
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns of each row, in a form that compares as the order does.
    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns = self.schema.fields().iter().map(|field| {
            let name = field.name();
            let column = batch.column_by_name(name).cloned();
            column.ok_or_else(|| Error::Internal(format!("no column {name}")))
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        self.converter.convert_columns(&columns).map_err(internal)
    }
}

/// Where each row of the sorted batch stands in `keys`.
pub(crate) fn sorted_order(keys: &Rows) -> UInt32Array {
    let mut order: Vec<u32> = (0..keys.num_rows() as u32).collect();
    let key = |row: &u32| keys.row(*row as usize);
    order.sort_by(|a, b| key(a).cmp(&key(b)));
    order.into()
}

/// Neighbours that are equal, as pairs of places in `order`.
pub(crate) fn equal_neighbours<'a>(
    keys: &'a Rows,
    order: &'a UInt32Array,
) -> impl Iterator<Item = (u32, u32)> + 'a {
    let pairs = order.values().windows(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(a, b)| keys.row(*a as usize) == keys.row(*b as usize))
}

/// Cuts `rows` sorted rows into runs of about `size`, never between two rows of one group.
pub(crate) fn cut(
    rows: usize,
    size: usize,
    same_group: impl Fn(usize, usize) -> bool,
) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < rows {
        let mut end = (start + size).min(rows);
        while end < rows && same_group(end - 1, end) {
            end += 1;
        }
        runs.push(start..end);
        start = end;
    }
    runs
}

pub(crate) fn internal(error: arrow::error::ArrowError) -> Error {
    Error::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_parts_a_series() {
        let series = [1, 1, 1, 2, 3, 3, 3, 3, 4];
        let runs = cut(series.len(), 2, |a, b| series[a] == series[b]);
        assert_eq!(runs, [0..3, 3..8, 8..9]);
        assert!(cut(0, 2, |_, _| true).is_empty());
    }
}
