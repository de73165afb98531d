//! Below an operator that calls functions: as few rows at once as make about a portion.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use futures::{Stream, StreamExt, ready};

use crate::limits::FUNCTION_BATCH_BYTES;
use crate::passage::Passage;
use crate::portions::load::Load;
use crate::portions::meter::Account;
use crate::portions::{MOST_ROWS, PORTION_BYTES, PORTIONS, meter};
use crate::sizes::slice_bytes;

/// The rows of the first portion: what functions make of one is known after it.
const FIRST_ROWS: usize = 16;

/// By how much a portion may be longer than the last.
const GROWTH: usize = 8;

/// Bytes of the copies that computed texts may be of the rows of a portion.
const COPIED_BYTES: usize = 16 * 1024 * 1024;

/// The passage below an operator, where it needs one.
pub(super) fn below(
    plan: &Arc<dyn ExecutionPlan>,
    input: &Arc<dyn ExecutionPlan>,
) -> Result<Option<Arc<dyn Passage>>> {
    let load = Load::of(plan, input)?;
    Ok(load.map(|load| Arc::new(InSlices(load)) as Arc<dyn Passage>))
}

#[derive(Debug)]
struct InSlices(Load);

impl Passage for InSlices {
    fn name(&self) -> &'static str {
        PORTIONS
    }

    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let load = self.0;
        Ok(Box::pin(Slices {
            input: input.execute(partition, context)?,
            load,
            rows: match load.is_metered {
                true => FIRST_ROWS,
                false => MOST_ROWS,
            }
            .min(load.most_rows()),
            rest: None,
            handed: 0,
            account: Account::of(FUNCTION_BATCH_BYTES),
        }))
    }
}

struct Slices {
    input: SendableRecordBatchStream,
    load: Load,
    /// How many rows the next portion has.
    rows: usize,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
    /// The rows that were handed over last, and what was made of them.
    handed: usize,
    account: Account,
}

impl Slices {
    /// Learns from what was made of the last portion.
    fn learn(&mut self) {
        let handed = std::mem::take(&mut self.handed);
        if handed > 0 {
            let made = usize::try_from(self.account.made()).unwrap_or(usize::MAX);
            let fitting = handed.saturating_mul(PORTION_BYTES) / made.max(1);
            let longest = self.rows.max(handed * GROWTH).min(self.load.most_rows());
            self.rows = fitting.clamp(1, longest);
        }
    }

    /// The first rows of a batch; the others wait.
    fn first_of(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let all = batch.num_rows();
        let mut rows = self.rows.min(all);
        let copies = self.load.copies();
        while copies > 0 && rows > 1 && slice_bytes(&batch.slice(0, rows))? * copies > COPIED_BYTES
        {
            rows /= 2;
        }
        let first = match rows < all {
            true => {
                self.rest = Some(batch.slice(rows, all - rows));
                batch.slice(0, rows)
            }
            false => batch,
        };
        if self.load.is_metered {
            self.handed = rows;
            self.account.open();
        }
        Ok(first)
    }
}

impl Stream for Slices {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.learn();
        // What operators below make until they have made the next rows is not made of the last.
        meter::close();
        let next = match this.rest.take() {
            Some(rest) => Some(Ok(rest)),
            None => ready!(this.input.poll_next_unpin(context)),
        };
        Poll::Ready(match next {
            Some(Ok(batch)) => Some(this.first_of(batch)),
            None if this.load.is_metered && this.load.is_window => {
                this.account.open();
                None
            }
            next => next,
        })
    }
}

impl RecordBatchStream for Slices {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
