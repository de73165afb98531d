//! A load's rows in the table's order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use rayon::prelude::*;

use crate::layout::{Layout, equal_neighbours, internal, only_text, sorted_order};
use crate::write::{bounds, widened};
use crate::{Declaration, Error, Fault, Faults, Result};

/// Rows that are copied together into the table's order.
const PIECE_ROWS: usize = 16 * 1024;

/// A text that is longer is sorted like any other: repeated for every row of a piece it would be large.
const LONGEST_CONSTANT: usize = 256;

/// Rows in order are worth a write of their own from this many on; fewer are copied together.
const SLICE_ROWS: usize = 1024;

/// Rows of one file, as they were read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) rows: RecordBatch,
    /// The file's place among those of the load.
    pub(super) file: u32,
    /// For each row its row in the file.
    pub(super) row_numbers: Vec<u64>,
}

/// The rows of a load, each known by its place in the table's order. They stay where they were read: to
/// bring them together would take their memory twice, and a column of text holds no more than 2 GiB.
#[derive(Debug)]
pub(super) struct Sorted {
    files: Vec<String>,
    parts: Vec<Part>,
    /// How many rows come before each part.
    starts: Vec<usize>,
    rows: usize,
    /// For each row its place among all as they were read; `None` where that is the table's order.
    order: Option<UInt32Array>,
    /// The columns of which all rows have one text, some rows of each. Such a column need not be sorted,
    /// and most tables have many.
    constant: Vec<Option<ArrayRef>>,
}

impl Sorted {
    /// # Errors
    /// [`Error::Faulty`] where two rows have one key.
    pub(super) fn of(
        declaration: &Declaration,
        files: Vec<String>,
        mut parts: Vec<Part>,
    ) -> Result<Self> {
        parts.retain(|part| part.rows.num_rows() > 0);
        let mut rows = 0;
        let starts = parts.iter().map(|part| {
            let start = rows;
            rows += part.rows.num_rows();
            start
        });
        let mut sorted = Self {
            files,
            starts: starts.collect(),
            rows,
            parts,
            order: None,
            constant: Vec::new(),
        };
        let layout = Layout::of(declaration)?;
        if sorted.is_in_order(&layout)? {
            return Ok(sorted);
        }
        sorted.constant = sorted.constant_columns();
        let is_constant = |place: usize| sorted.constant.get(place).is_some_and(Option::is_some);
        let keys = layout.own_keys(&sorted.batches(), is_constant)?;
        let order = sorted_order(&keys);
        let mut faults = Faults::default();
        for (first, second) in equal_neighbours(&keys, &order) {
            let (first_file, first_row) = sorted.origin(first as usize);
            let (file, row) = sorted.origin(second as usize);
            let elsewhere = match first_file == file {
                true => String::new(),
                false => format!(" of {first_file}"),
            };
            let key = declaration.sort_columns().join(", ");
            faults.add(Fault {
                file: file.to_owned(),
                row,
                column: String::new(),
                rule: format!("has the same {key} as row {first_row}{elsewhere}"),
                value: None,
            });
        }
        if !faults.is_empty() {
            return Err(Error::Faulty(faults));
        }
        sorted.order = Some(order);
        Ok(sorted)
    }

    fn constant_columns(&self) -> Vec<Option<ArrayRef>> {
        let places = 0..self.parts.first().map_or(0, |part| part.rows.num_columns());
        let one_text = |place: usize| {
            let columns = self.parts.iter().map(|part| part.rows.column(place));
            let columns = columns.map(|column| column.as_string_opt::<i32>());
            let columns: Vec<&StringArray> = columns.collect::<Option<_>>()?;
            let first = only_text(columns.first()?).filter(|it| it.len() <= LONGEST_CONSTANT)?;
            let all = columns
                .iter()
                .all(|column| only_text(column) == Some(first));
            all.then(|| Arc::new(StringArray::new_repeated(first, PIECE_ROWS)) as ArrayRef)
        };
        places.into_par_iter().map(one_text).collect()
    }

    fn is_in_order(&self, layout: &Layout) -> Result<bool> {
        let within = self.parts.par_iter();
        let within = within.map(|part| layout.is_in_order(&part.rows));
        if !within.collect::<Result<Vec<_>>>()?.into_iter().all(|it| it) {
            return Ok(false);
        }
        for pair in self.parts.windows(2) {
            let (before, after) = (&pair[0].rows, &pair[1].rows);
            let ends = [&before.slice(before.num_rows() - 1, 1), &after.slice(0, 1)];
            let ends = concat_batches(before.schema_ref(), ends).map_err(internal)?;
            if !layout.is_in_order(&ends)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn count(&self) -> usize {
        self.rows
    }

    /// All rows, as they were read.
    pub(super) fn batches(&self) -> Vec<&RecordBatch> {
        self.parts.iter().map(|part| &part.rows).collect()
    }

    /// The batch that a row lies in, and its place there.
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        let read = match &self.order {
            Some(order) => order.value(row) as usize,
            None => row,
        };
        let part = self.starts.partition_point(|start| *start <= read) - 1;
        (part, read - self.starts[part])
    }

    /// The file and row that a row came from.
    pub(super) fn origin(&self, row: usize) -> (&str, u64) {
        let (part, row) = self.place(row);
        let part = &self.parts[part];
        (&self.files[part.file as usize], part.row_numbers[row])
    }

    /// A batch of one row.
    pub(super) fn row(&self, row: usize) -> RecordBatch {
        let (part, row) = self.place(row);
        self.parts[part].rows.slice(row, 1)
    }

    /// The least and greatest value of a column.
    pub(super) fn bounds(&self, column: &str) -> Option<(ScalarValue, ScalarValue)> {
        let columns = self.parts.iter();
        let columns = columns.filter_map(|part| part.rows.column_by_name(column));
        columns
            .filter_map(|column| bounds(column.as_ref()))
            .fold(None, |known, more| Some(widened(known, more)))
    }

    /// Some rows, which are given in order, in batches that follow one another.
    pub(super) fn batches_of<'a>(
        &'a self,
        mut rows: &'a [u32],
    ) -> impl Iterator<Item = Result<RecordBatch>> + 'a {
        std::iter::from_fn(move || {
            let first = *rows.first()? as usize;
            let piece = &rows[..rows.len().min(PIECE_ROWS)];
            let (part, place) = self.place(first);
            let of_part = &self.parts[part].rows;
            let follow = match self.order {
                Some(_) => 0,
                None => {
                    let left = of_part.num_rows() - place;
                    let pairs = piece.iter().zip(first..first + left);
                    pairs
                        .take_while(|(row, next)| **row as usize == *next)
                        .count()
                }
            };
            if follow == piece.len() || follow >= SLICE_ROWS {
                rows = &rows[follow..];
                return Some(Ok(of_part.slice(place, follow)));
            }
            rows = &rows[piece.len()..];
            let places: Vec<_> = piece.iter().map(|row| self.place(*row as usize)).collect();
            Some(self.brought_together(of_part.schema(), &places))
        })
    }

    fn brought_together(
        &self,
        schema: SchemaRef,
        places: &[(usize, usize)],
    ) -> Result<RecordBatch> {
        let columns = (0..schema.fields().len()).map(|column| {
            if let Some(Some(constant)) = self.constant.get(column) {
                return Ok(constant.slice(0, places.len()));
            }
            let parts = self.parts.iter();
            let parts: Vec<&dyn Array> = parts
                .map(|part| part.rows.column(column).as_ref())
                .collect();
            interleave(&parts, places).map_err(internal)
        });
        let columns = columns.collect::<Result<_>>()?;
        RecordBatch::try_new(schema, columns).map_err(internal)
    }
}
