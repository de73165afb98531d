//! The right rows that the rows of one left batch have found.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;

use crate::asof_join::right::Candidate;

/// How many right batches are held before their found rows are put together.
const HELD: usize = 16;

/// For each left row so far the right row that it found.
pub(super) struct Matches {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    found: Vec<Option<(usize, usize)>>,
}

impl Matches {
    /// None yet; `schema` is the right side's.
    pub(super) fn new(schema: SchemaRef, rows: usize) -> Self {
        Self {
            schema,
            held: Vec::new(),
            found: Vec::with_capacity(rows),
        }
    }

    pub(super) fn push(&mut self, candidate: Option<&Candidate>) -> Result<()> {
        let Some(candidate) = candidate else {
            self.found.push(None);
            return Ok(());
        };
        let batch = &candidate.side.batch;
        let is_held = self.held.last().is_some_and(|last| is_same(last, batch));
        if !is_held {
            if self.held.len() == HELD {
                self.put_together()?;
            }
            self.held.push(batch.clone());
        }
        self.found.push(Some((self.held.len() - 1, candidate.row)));
        Ok(())
    }

    /// Bytes that the found rows hold.
    pub(super) fn bytes(&self) -> usize {
        self.held
            .iter()
            .map(RecordBatch::get_array_memory_size)
            .sum()
    }

    /// Keeps of the held batches only the rows that were found.
    fn put_together(&mut self) -> Result<()> {
        let places: Vec<_> = self.found.iter().flatten().copied().collect();
        let columns = self.gathered(&places, false)?;
        self.held = vec![RecordBatch::try_new(Arc::clone(&self.schema), columns)?];
        let mut next = 0..;
        for found in self.found.iter_mut().flatten() {
            *found = (0, next.next().unwrap_or_default());
        }
        Ok(())
    }

    /// The columns of left rows and their matches; without `is_outer` only of left rows that have one.
    pub(super) fn columns(&self, left: &RecordBatch, is_outer: bool) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(left.num_columns() + self.schema.fields().len());
        if is_outer {
            columns.extend(left.columns().iter().cloned());
            let nothing = (self.held.len(), 0);
            let places: Vec<_> = self.found.iter().map(|it| it.unwrap_or(nothing)).collect();
            columns.extend(self.gathered(&places, true)?);
            return Ok(columns);
        }
        let matched = self
            .found
            .iter()
            .enumerate()
            .filter(|(_, found)| found.is_some());
        let rows = UInt32Array::from_iter_values(matched.map(|(row, _)| row as u32));
        for column in left.columns() {
            columns.push(take(column, &rows, None)?);
        }
        let places: Vec<_> = self.found.iter().flatten().copied().collect();
        columns.extend(self.gathered(&places, false)?);
        Ok(columns)
    }

    /// The right columns of these places; with `with_null` there is one more batch, of one row of NULLs.
    fn gathered(&self, places: &[(usize, usize)], with_null: bool) -> Result<Vec<ArrayRef>> {
        let fields = self.schema.fields().iter().enumerate();
        let column = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
            let null = new_null_array(field.data_type(), 1);
            let mut parts: Vec<&dyn arrow::array::Array> = self
                .held
                .iter()
                .map(|batch| batch.column(index).as_ref())
                .collect();
            if with_null || parts.is_empty() {
                parts.push(null.as_ref());
            }
            Ok(interleave(&parts, places)?)
        };
        fields.map(column).collect()
    }
}

/// Whether two batches are the same rows in memory.
fn is_same(one: &RecordBatch, other: &RecordBatch) -> bool {
    one.num_rows() == other.num_rows()
        && one
            .columns()
            .iter()
            .zip(other.columns())
            .all(|(one, other)| Arc::ptr_eq(one, other))
}
