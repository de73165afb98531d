//! The right rows that the rows of one left batch have found.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;
use datafusion_common::Result;

use crate::asof_join::right::{Candidate, Side};

/// How many right batches are held before their found rows are put together.
const HELD: usize = 16;

/// For each left row so far the right row that it found.
pub(super) struct Matches {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    /// The rows that were held last.
    last: Option<Arc<Side>>,
    found: Vec<Option<(usize, usize)>>,
}

impl Matches {
    /// None yet; `schema` is the right side's.
    pub(super) fn new(schema: SchemaRef, rows: usize) -> Self {
        Self {
            schema,
            held: Vec::new(),
            last: None,
            found: Vec::with_capacity(rows),
        }
    }

    pub(super) fn push(&mut self, candidate: Option<&Candidate>) -> Result<()> {
        let Some(candidate) = candidate else {
            self.found.push(None);
            return Ok(());
        };
        let side = &candidate.side;
        if !self
            .last
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, side))
        {
            if self.held.len() == HELD {
                self.put_together()?;
            }
            self.held.push(side.batch.clone());
            self.last = Some(Arc::clone(side));
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
        let columns = (0..self.schema.fields().len()).map(|it| self.gathered(it, &places, false));
        let columns = columns.collect::<Result<_>>()?;
        self.held = vec![RecordBatch::try_new(Arc::clone(&self.schema), columns)?];
        let mut next = 0..;
        for found in self.found.iter_mut().flatten() {
            *found = (0, next.next().unwrap_or_default());
        }
        Ok(())
    }

    /// Some columns of the left rows and their matches, by their places in both sides together; without
    /// `is_outer` only of left rows that have one. `schema` is that of these columns.
    pub(super) fn joined(
        &self,
        left: &RecordBatch,
        is_outer: bool,
        (wanted, schema): (&[usize], &SchemaRef),
    ) -> Result<RecordBatch> {
        // Of the left rows that stay, their matches; in a batch of its own comes one row of NULLs.
        let nothing = (self.held.len(), 0);
        let found = self.found.iter();
        let places: Vec<_> = match is_outer {
            true => found.map(|it| it.unwrap_or(nothing)).collect(),
            false => found.flatten().copied().collect(),
        };
        let all_stay = places.len() == left.num_rows();
        let stay = match all_stay {
            true => UInt32Array::from(Vec::<u32>::new()),
            false => self.matched(),
        };
        let columns = wanted
            .iter()
            .map(|place| match place.checked_sub(left.num_columns()) {
                None if all_stay => Ok(Arc::clone(left.column(*place))),
                None => Ok(take(left.column(*place), &stay, None)?),
                Some(place) => self.gathered(place, &places, is_outer),
            });
        let columns = columns.collect::<Result<_>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(places.len()));
        let joined = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &count)?;
        Ok(joined)
    }

    /// The left rows that found one.
    fn matched(&self) -> UInt32Array {
        let found = self.found.iter().enumerate();
        let matched = found.filter(|(_, found)| found.is_some());
        UInt32Array::from_iter_values(matched.map(|(row, _)| row as u32))
    }

    /// A right column at these places; with `with_null` there is one more batch, of one row of NULLs.
    fn gathered(
        &self,
        column: usize,
        places: &[(usize, usize)],
        with_null: bool,
    ) -> Result<ArrayRef> {
        let null = new_null_array(self.schema.field(column).data_type(), 1);
        let held = self.held.iter();
        let mut parts: Vec<&dyn Array> = held.map(|batch| batch.column(column).as_ref()).collect();
        if with_null || parts.is_empty() {
            parts.push(null.as_ref());
        }
        Ok(interleave(&parts, places)?)
    }
}
