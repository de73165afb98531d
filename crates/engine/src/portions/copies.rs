//! Around joins and windows: memory for the copies that they make of long rows.
//!
//! One row of a join's side may stand in every row of the batch that it makes, the first value of a window
//! in every row of the window; a window over a whole partition keeps all rows of its input, which the
//! engine does not count; and filters and exchanges put small batches together by their rows, not by their
//! bytes. What these may come to is reserved as the rows come in, and given back when the last row has left.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
    SymmetricHashJoinExec,
};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{Stream, StreamExt, ready};

use crate::bounded::row_bytes;
use crate::encode::slice_bytes;
use crate::passage::{Passage, PassageExec, over};
use crate::portions::load::is_long;
use crate::portions::{PORTIONS, meter};

/// Bytes of a row of which a batch needs no reservation.
const SHORT_ROW_BYTES: usize = 2 * 1024;

/// Bytes that one window makes of a row, at least.
const WINDOW_VALUE_BYTES: usize = 16;

/// The operator with its copies counted, where it makes any; its input is cut after it was counted.
pub(super) fn held(
    plan: &Arc<dyn ExecutionPlan>,
    cut: Option<&Arc<dyn Passage>>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(kind) = Kind::of(plan)? else {
        return Ok(None);
    };
    let account = Arc::new(Account {
        kind,
        operator: plan.name().to_owned(),
        batches: plan.output_partitioning().partition_count(),
        held: Mutex::default(),
    });
    let inputs = plan.children().into_iter().enumerate();
    let inputs = inputs.map(|(side, input)| {
        let account = Arc::clone(&account);
        let counted = PassageExec::of(Arc::clone(input), Arc::new(Side { account, side }));
        match cut {
            Some(cut) => PassageExec::of(counted, Arc::clone(cut)),
            None => counted,
        }
    });
    let plan = over(plan, inputs.collect())?;
    Ok(Some(PassageExec::of(plan, Arc::new(Made(account)))))
}

/// How an operator copies.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Rows that come in small batches are put together again.
    Together,
    /// A row of its input into each row of a batch, so many times.
    Batch(usize),
    /// All rows are kept, and each gets the values of so many windows, some of which are as long as a row.
    Whole { windows: usize, long: usize },
}

impl Kind {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let is_join = plan.downcast_ref::<HashJoinExec>().is_some()
            || plan.downcast_ref::<NestedLoopJoinExec>().is_some()
            || plan.downcast_ref::<CrossJoinExec>().is_some()
            || plan.downcast_ref::<SortMergeJoinExec>().is_some()
            || plan.downcast_ref::<SymmetricHashJoinExec>().is_some()
            || plan.downcast_ref::<PiecewiseMergeJoinExec>().is_some();
        if is_join {
            return Ok(Some(Self::Batch(1)));
        }
        let puts_together = plan.downcast_ref::<FilterExec>().is_some()
            || plan.downcast_ref::<RepartitionExec>().is_some()
            || plan.downcast_ref::<SortPreservingMergeExec>().is_some();
        if puts_together {
            // Only below a passage that cuts them may rows be long.
            let is_cut = plan.exists(|plan| Ok(plan.name() == PORTIONS))?;
            return Ok(is_cut.then_some(Self::Together));
        }
        // The windows' values are the last columns.
        let long = |windows: usize| {
            let schema = plan.schema();
            let values = schema.fields().iter().rev().take(windows);
            values.filter(|value| is_long(value.data_type())).count()
        };
        if let Some(whole) = plan.downcast_ref::<WindowAggExec>() {
            let windows = whole.window_expr().len();
            let long = long(windows);
            return Ok(Some(Self::Whole { windows, long }));
        }
        let bounded = plan.downcast_ref::<BoundedWindowAggExec>();
        let long = bounded.map_or(0, |bounded| long(bounded.window_expr().len()));
        Ok((long > 0).then_some(Self::Batch(long)))
    }
}

/// What one operator has reserved.
#[derive(Debug)]
struct Account {
    kind: Kind,
    operator: String,
    /// How many batches it makes at once.
    batches: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    reservation: Option<MemoryReservation>,
    /// The longest row of each side, and the rows and bytes that came in.
    longest: [usize; 2],
    rows: usize,
    bytes: usize,
    /// Partitions that are being read.
    open: usize,
}

impl Account {
    /// Reserves what may be made of some more rows of one side.
    fn add(&self, side: usize, rows: &RecordBatch, context: &TaskContext) -> Result<()> {
        let bytes = slice_bytes(rows)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.rows += rows.num_rows();
        held.bytes += bytes;
        let longest = &mut held.longest[side.min(1)];
        *longest = (*longest).max(match self.kind {
            Kind::Together => bytes / rows.num_rows().max(1),
            // A row is no longer than all of them are together.
            Kind::Batch(_) | Kind::Whole { .. } if bytes > (*longest).max(SHORT_ROW_BYTES) => {
                longest_row(rows)
            }
            Kind::Batch(_) | Kind::Whole { .. } => 0,
        });
        let row = held.longest.iter().sum::<usize>();
        let batch_rows = context.session_config().batch_size();
        let needed = match self.kind {
            Kind::Together | Kind::Batch(_) if row <= SHORT_ROW_BYTES => 0,
            Kind::Together => self.batches * batch_rows * row,
            Kind::Batch(copies) => self.batches * batch_rows * copies * row,
            Kind::Whole { windows, long } => {
                // What it keeps is put together once more before it is worked on.
                2 * held.bytes + held.rows * (windows * WINDOW_VALUE_BYTES + long * row)
            }
        };
        if needed == 0 {
            return Ok(());
        }
        let reservation = held.reservation.get_or_insert_with(|| {
            MemoryConsumer::new(format!("{} of rows of {row} bytes", self.operator))
                .register(context.memory_pool())
        });
        match needed > reservation.size() {
            true => reservation.try_resize(needed),
            false => Ok(()),
        }
    }

    fn open(&self) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .open += 1;
    }

    fn close(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.open = held.open.saturating_sub(1);
        if held.open == 0 {
            *held = Held::default();
        }
    }
}

/// No row of these takes more.
fn longest_row(rows: &RecordBatch) -> usize {
    let columns = rows.columns().iter();
    let longest = columns.map(|column| match is_long(column.data_type()) {
        true => row_bytes(column).into_iter().max().unwrap_or_default(),
        false => 0,
    });
    usize::try_from(longest.sum::<u64>()).unwrap_or(usize::MAX)
}

/// Rows on their way into the operator.
#[derive(Debug)]
struct Side {
    account: Arc<Account>,
    side: usize,
}

impl Passage for Side {
    fn name(&self) -> &'static str {
        "CountedExec"
    }

    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Counted {
            input: input.execute(partition, Arc::clone(&context))?,
            account: Arc::clone(&self.account),
            side: self.side,
            context,
        }))
    }
}

struct Counted {
    input: SendableRecordBatchStream,
    account: Arc<Account>,
    side: usize,
    context: Arc<TaskContext>,
}

impl Stream for Counted {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = ready!(this.input.poll_next_unpin(context));
        // What a join's condition makes is not made of one portion.
        meter::close();
        Poll::Ready(next.map(|rows| {
            let rows = rows?;
            this.account.add(this.side, &rows, &this.context)?;
            Ok(rows)
        }))
    }
}

impl RecordBatchStream for Counted {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// Rows on their way out of it.
#[derive(Debug)]
struct Made(Arc<Account>);

impl Passage for Made {
    fn name(&self) -> &'static str {
        "HeldExec"
    }

    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = input.execute(partition, context)?;
        self.0.open();
        Ok(Box::pin(Leaving {
            input,
            account: Arc::clone(&self.0),
        }))
    }
}

struct Leaving {
    input: SendableRecordBatchStream,
    account: Arc<Account>,
}

impl Stream for Leaving {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.input.poll_next_unpin(context)
    }
}

impl RecordBatchStream for Leaving {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.account.close();
    }
}
