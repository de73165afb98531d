//! Below UNNEST: so few rows at once that little is made of them.
//!
//! The engine cuts what it unnests by rows, and one row at least is unnested at once: beside a list of
//! 100,000 elements a text of 10,000 bytes comes to a GiB.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use futures::{Stream, StreamExt, ready};

use crate::passage::Passage;
use crate::portions::{MOST_ROWS, PORTION_BYTES, PORTIONS};
use crate::sizes::{list_lengths, row_bytes, values};

/// Bytes that are made of one row without a reservation.
const FREE_BYTES: u64 = 16 * 1024 * 1024;

/// The passage below an operator that unnests.
pub(super) fn below(unnest: &UnnestExec) -> Arc<dyn Passage> {
    let lists = unnest.list_column_indices();
    Arc::new(BeforeLists(
        lists
            .iter()
            .map(
                |ListUnnest {
                     index_in_input_schema,
                     depth,
                 }| (*index_in_input_schema, *depth),
            )
            .collect(),
    ))
}

/// The columns that are unnested, and how deep.
#[derive(Debug)]
struct BeforeLists(Vec<(usize, usize)>);

impl Passage for BeforeLists {
    fn name(&self) -> &'static str {
        PORTIONS
    }

    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("UnnestExec").register(context.memory_pool());
        Ok(Box::pin(Portioned {
            input: input.execute(partition, context)?,
            lists: self.0.clone(),
            memory,
            waiting: VecDeque::new(),
        }))
    }
}

struct Portioned {
    input: SendableRecordBatchStream,
    lists: Vec<(usize, usize)>,
    memory: MemoryReservation,
    /// The portions of the last batch that are left, and what will be made of each.
    waiting: VecDeque<(RecordBatch, u64)>,
}

impl Portioned {
    fn cut(&mut self, batch: &RecordBatch) {
        let mut start = 0;
        let mut bytes = 0_u64;
        for (row, made) in unnested_bytes(batch, &self.lists).into_iter().enumerate() {
            let is_full = bytes.saturating_add(made) > PORTION_BYTES as u64;
            if row > start && (is_full || row - start == MOST_ROWS) {
                self.waiting
                    .push_back((batch.slice(start, row - start), bytes));
                (start, bytes) = (row, 0);
            }
            bytes = bytes.saturating_add(made);
        }
        let rest = batch.slice(start, batch.num_rows() - start);
        self.waiting.push_back((rest, bytes));
    }

    fn handed(&mut self, (rows, bytes): (RecordBatch, u64)) -> Result<RecordBatch> {
        let needed = match bytes > FREE_BYTES {
            true => usize::try_from(bytes).unwrap_or(usize::MAX),
            false => 0,
        };
        self.memory.try_resize(needed)?;
        Ok(rows)
    }
}

impl Stream for Portioned {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(portion) = this.waiting.pop_front() {
                return Poll::Ready(Some(this.handed(portion)));
            }
            match ready!(this.input.poll_next_unpin(context)) {
                Some(Ok(batch)) => this.cut(&batch),
                end => return Poll::Ready(end),
            }
        }
    }
}

impl RecordBatchStream for Portioned {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// The bytes that come of each row when these columns are unnested.
fn unnested_bytes(batch: &RecordBatch, lists: &[(usize, usize)]) -> Vec<u64> {
    let is_list = |column: usize| lists.iter().any(|(list, _)| *list == column);
    let columns = batch.columns().iter().enumerate();
    let (lists_of, others): (Vec<_>, Vec<_>) = columns.partition(|(place, _)| is_list(*place));
    let total = |columns: Vec<(usize, &ArrayRef)>| {
        let mut total = vec![0_u64; batch.num_rows()];
        for (_, column) in columns {
            for (sum, bytes) in total.iter_mut().zip(row_bytes(column)) {
                *sum = sum.saturating_add(bytes);
            }
        }
        total
    };
    let mut made = vec![1_u64; batch.num_rows()];
    let is_deep = lists.iter().any(|(_, depth)| *depth > 1);
    for (list, depth) in lists {
        for (made, elements) in made.iter_mut().zip(elements(batch.column(*list), *depth)) {
            // Lists go side by side, and one within the other where some are unnested deeper.
            *made = match is_deep {
                true => made.saturating_mul(elements.max(1)),
                false => (*made).max(elements),
            };
        }
    }
    let sizes = total(others).into_iter().zip(total(lists_of)).zip(made);
    sizes
        .map(|((row, lists), rows)| rows.saturating_mul(row).saturating_add(lists))
        .collect()
}

/// The elements of each list, those of lists within lists where it is unnested deeper.
fn elements(array: &ArrayRef, depth: usize) -> Vec<u64> {
    // What is no list is one element.
    let lengths = list_lengths(array).unwrap_or_else(|| vec![1; array.len()]);
    if depth <= 1 {
        return lengths;
    }
    let within = match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            elements(&values(list.values(), list.value_offsets()), depth - 1)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            elements(&values(list.values(), list.value_offsets()), depth - 1)
        }
        DataType::FixedSizeList(..) => elements(array.as_fixed_size_list().values(), depth - 1),
        // Where they lie is not told by their order: any of them may be the longest.
        DataType::ListView(_) => {
            return longest(array.as_list_view::<i32>().values(), &lengths, depth);
        }
        DataType::LargeListView(_) => {
            return longest(array.as_list_view::<i64>().values(), &lengths, depth);
        }
        _ => return lengths,
    };
    let mut within = within.into_iter();
    let of_list = |length: u64| {
        within
            .by_ref()
            .take(usize::try_from(length).unwrap_or(usize::MAX))
            .sum()
    };
    lengths.into_iter().map(of_list).collect()
}

fn longest(values: &ArrayRef, lengths: &[u64], depth: usize) -> Vec<u64> {
    let longest = elements(values, depth - 1)
        .into_iter()
        .max()
        .unwrap_or_default();
    lengths
        .iter()
        .map(|length| length.saturating_mul(longest))
        .collect()
}
