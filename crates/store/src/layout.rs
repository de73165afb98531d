//! The order of a table's rows: sorting, comparing and cutting them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{LexicographicalComparator, SortColumn, SortOptions, cast, concat};
use arrow::datatypes::{DataType, FieldRef, Int32Type, Schema, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use rayon::prelude::*;

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
        let columns = self.columns_of(batch)?;
        self.converter.convert_columns(&columns).map_err(internal)
    }

    /// Keys that compare among these batches only, and are short: a text is its rank among theirs, and a
    /// column of one value is left out. `is_constant` tells those, by their places in the batches.
    pub(crate) fn own_keys(
        &self,
        batches: &[&RecordBatch],
        is_constant: impl Fn(usize) -> bool,
    ) -> Result<Rows> {
        let constant = |field: &&FieldRef| {
            let place = batches.first()?.schema_ref().index_of(field.name()).ok()?;
            Some(is_constant(place))
        };
        // The first stays, so that there are keys.
        let (first, others) = self.schema.fields().split_at(1);
        let others = others.iter().filter(|field| constant(field) != Some(true));
        let columns = first.iter().chain(others).map(|field| {
            let parts = batches.iter().map(|batch| column_of(batch, field.name()));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let parts = match field.data_type() {
                DataType::Utf8 => ranks(&parts)?,
                _ => parts,
            };
            let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
            concat(&parts).map_err(internal)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let fields = columns
            .iter()
            .map(|column| SortField::new_with_options(column.data_type().clone(), ORDER));
        let converter = RowConverter::new(fields.collect()).map_err(internal)?;
        converter.convert_columns(&columns).map_err(internal)
    }

    /// Whether each row comes after the one before it; then no two are equal.
    pub(crate) fn is_in_order(&self, batch: &RecordBatch) -> Result<bool> {
        let rows = comparator(self.columns_of(batch)?)?;
        Ok((1..batch.num_rows()).all(|row| rows.compare(row - 1, row).is_lt()))
    }

    fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let fields = self.schema.fields().iter();
        fields.map(|field| column_of(batch, field.name())).collect()
    }
}

/// Compares rows of some columns as files are ordered.
pub(crate) fn comparator(columns: Vec<ArrayRef>) -> Result<LexicographicalComparator> {
    let columns = columns.into_iter().map(|values| SortColumn {
        values,
        options: Some(ORDER),
    });
    LexicographicalComparator::try_new(&columns.collect::<Vec<_>>()).map_err(internal)
}

fn column_of(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).cloned();
    column.ok_or_else(|| Error::Internal(format!("no column {name}")))
}

/// For each text its place among all texts of the columns, in order.
fn ranks(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns = columns
        .par_iter()
        .map(|column| cast(column, &coded).map_err(internal));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let columns: Vec<_> = columns
        .iter()
        .map(|column| column.as_dictionary::<Int32Type>())
        .collect();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let numbered: Vec<Vec<u32>> = columns
        .iter()
        .map(|column| {
            let texts = column.values().as_string::<i32>();
            let number = |text| {
                let next = numbers.len() as u32;
                *numbers.entry(text).or_insert(next)
            };
            texts
                .iter()
                .map(Option::unwrap_or_default)
                .map(number)
                .collect()
        })
        .collect();
    let mut sorted: Vec<(&str, u32)> = numbers.into_iter().collect();
    sorted.par_sort_unstable();
    let mut ranks = vec![0; sorted.len()];
    for ((_, number), rank) in sorted.into_iter().zip(0..) {
        ranks[number as usize] = rank;
    }
    let ranked = columns.par_iter().zip(&numbered).map(|(column, numbers)| {
        let rank = |code: i32| numbers.get(code as usize).map(|it| ranks[*it as usize]);
        let ranked: UInt32Array = column.keys().unary(|code| rank(code).unwrap_or_default());
        Arc::new(ranked) as ArrayRef
    });
    Ok(ranked.collect())
}

/// The text that every row of a column has, if it is one.
pub(crate) fn only_text(texts: &StringArray) -> Option<&str> {
    if texts.is_empty() || texts.null_count() > 0 {
        return None;
    }
    let first = texts.value(0);
    let ends = texts.value_offsets();
    let is_even = ends
        .windows(2)
        .all(|ends| (ends[1] - ends[0]) as usize == first.len());
    let (start, end) = (ends[0] as usize, ends[texts.len()] as usize);
    let bytes = &texts.value_data()[start..end];
    // Each text equals the one after it.
    let is_one = is_even && bytes[first.len()..] == bytes[..bytes.len() - first.len()];
    is_one.then_some(first)
}

/// Where each row of the sorted batch stands in `keys`.
pub(crate) fn sorted_order(keys: &Rows) -> UInt32Array {
    // The first bytes of a key nearly always decide; with them beside the place, sorting does not look
    // all over the memory.
    let head = |row: u32| {
        let mut head = [0; 16];
        let key = keys.row(row as usize);
        let length = key.data().len().min(head.len());
        head[..length].copy_from_slice(&key.data()[..length]);
        (u128::from_be_bytes(head), row)
    };
    let mut order: Vec<(u128, u32)> = (0..keys.num_rows() as u32).map(head).collect();
    let key = |row: u32| keys.row(row as usize);
    order.par_sort_unstable_by(|(a_head, a), (b_head, b)| {
        let by_head = a_head.cmp(b_head);
        by_head.then_with(|| key(*a).cmp(&key(*b)).then(a.cmp(b)))
    });
    order
        .into_iter()
        .map(|(_, row)| row)
        .collect::<Vec<_>>()
        .into()
}

/// Neighbours that are equal, as pairs of places in `order`.
pub(crate) fn equal_neighbours(keys: &Rows, order: &UInt32Array) -> Vec<(u32, u32)> {
    let pairs = order.values().par_windows(2).map(|pair| (pair[0], pair[1]));
    let equal = pairs.filter(|(a, b)| keys.row(*a as usize) == keys.row(*b as usize));
    equal.collect()
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
    use arrow::datatypes::UInt32Type;

    use super::*;

    #[test]
    fn one_text_is_found() {
        let one = |texts: Vec<&str>| only_text(&StringArray::from(texts)).map(str::to_owned);
        assert_eq!(one(vec!["t", "t", "t"]).as_deref(), Some("t"));
        assert_eq!(one(vec!["", ""]).as_deref(), Some(""));
        assert_eq!(one(vec!["ab", "ba"]), None);
        assert_eq!(one(vec!["aa", "a", "aaa"]), None);
        assert_eq!(one(vec![]), None);
        let texts = StringArray::from(vec![Some("x"), Some("t"), Some("t"), None]);
        assert_eq!(only_text(&texts), None);
        assert_eq!(only_text(&texts.slice(1, 2)), Some("t"));
    }

    #[test]
    fn ranks_compare_as_texts_do() {
        let one = StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]);
        let other = StringArray::from(vec![None, Some("c"), Some("ab")]);
        let ranked = ranks(&[Arc::new(one), Arc::new(other)]).expect("ranked");
        let ranked = ranked.iter().map(|part| part.as_primitive::<UInt32Type>());
        let ranked: Vec<_> = ranked.flatten().collect();
        let expected = [Some(2), None, Some(0), Some(2), None, Some(3), Some(1)];
        assert_eq!(ranked, expected);
    }

    #[test]
    fn a_cut_never_parts_a_series() {
        let series = [1, 1, 1, 2, 3, 3, 3, 3, 4];
        let runs = cut(series.len(), 2, |a, b| series[a] == series[b]);
        assert_eq!(runs, [0..3, 3..8, 8..9]);
        assert!(cut(0, 2, |_, _| true).is_empty());
    }
}
