//! Plans that give way: a query that was stopped must leave its thread.
//!
//! A task is stopped where it yields, and DataFusion's operators yield after a number of batches, however
//! long each takes, its joins not at all. A join that finds nothing among many pairs, or a costly function
//! over few batches, would keep its thread long after its deadline, and a few of them all threads. So a
//! rule makes sources and joins yield by the time that has gone, and hands a join that compares all pairs
//! so few rows at once that it is soon back.
//!
//! Such a join that finds no memory runs its left side again, to spill it. Exchanges can run but once and
//! panic then; so the second run is one of a copy.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{SchedulingType, reset_plan_states};
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::{ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt, ready};

use crate::passage::{Passage, PassageExec, over};

/// The time after which a task yields.
const TURN: Duration = Duration::from_millis(10);

/// The most rows that a join which compares all pairs is handed at once. The first is one: how many follow
/// depends on how long it took.
const MOST_ROWS: usize = 8192;

/// Makes a plan's sources and joins yield.
#[derive(Debug)]
pub(crate) struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let plan = match plan.downcast_ref::<NestedLoopJoinExec>() {
                Some(join) => {
                    let left = in_turns(Arc::clone(join.left()), Use::Twice);
                    let right = in_turns(Arc::clone(join.right()), Use::InSlices);
                    over(&plan, vec![left, right])?
                }
                None => match plan.downcast_ref::<CooperativeExec>() {
                    Some(source) => Arc::clone(source.input()),
                    None if is_join(plan.as_ref()) => plan,
                    None => return Ok(Transformed::no(plan)),
                },
            };
            Ok(Transformed::yes(in_turns(plan, Use::Once)))
        })
        .map(|changed| changed.data)
    }

    fn name(&self) -> &str {
        "yielding"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_join(plan: &dyn ExecutionPlan) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some()
        || plan.downcast_ref::<SortMergeJoinExec>().is_some()
        || plan.downcast_ref::<CrossJoinExec>().is_some()
}

fn in_turns(input: Arc<dyn ExecutionPlan>, read: Use) -> Arc<dyn ExecutionPlan> {
    let has_run = AtomicBool::new(false);
    PassageExec::of(input, Arc::new(InTurns { read, has_run }))
}

/// A pause whenever a turn has gone.
#[derive(Debug)]
struct InTurns {
    read: Use,
    has_run: AtomicBool,
}

/// What is done with an operator's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Once,
    /// They may be asked for again. For an operator of one partition.
    Twice,
    /// They are cut, so that what their reader does with one batch takes less than a turn.
    InSlices,
}

impl Passage for InTurns {
    fn name(&self) -> &'static str {
        "TurnsExec"
    }

    fn note(&self) -> Option<&'static str> {
        (self.read == Use::InSlices).then_some("in slices")
    }

    fn properties(&self, input: &Arc<PlanProperties>) -> Arc<PlanProperties> {
        PlanProperties::clone(input)
            .with_scheduling_type(SchedulingType::Cooperative)
            .into()
    }

    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let is_again = self.read == Use::Twice && self.has_run.swap(true, Ordering::Relaxed);
        let input = match is_again {
            true => reset_plan_states(Arc::clone(input))?,
            false => Arc::clone(input),
        };
        Ok(Box::pin(Turns {
            input: input.execute(partition, context)?,
            turn: None,
            slices: (self.read == Use::InSlices).then(Slices::new),
        }))
    }
}

struct Turns {
    input: SendableRecordBatchStream,
    /// When the task's turn began, as far as this stream knows.
    turn: Option<Instant>,
    slices: Option<Slices>,
}

impl Stream for Turns {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let now = Instant::now();
        if now - *this.turn.get_or_insert(now) >= TURN {
            this.turn = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(slice) = this.slices.as_mut().and_then(|slices| slices.next(now)) {
            return Poll::Ready(Some(Ok(slice)));
        }
        let next = this.input.poll_next_unpin(context);
        if next.is_pending() {
            this.turn = None;
        }
        match (ready!(next), &mut this.slices) {
            (Some(Ok(batch)), Some(slices)) => Poll::Ready(Some(Ok(slices.first_of(batch)))),
            (next, _) => Poll::Ready(next),
        }
    }
}

impl RecordBatchStream for Turns {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// Cuts batches into as many rows as their reader works off in about half a turn.
struct Slices {
    rows: usize,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
    /// When the last slice was handed over.
    handed: Option<Instant>,
}

impl Slices {
    fn new() -> Self {
        Self {
            rows: 1,
            rest: None,
            handed: None,
        }
    }

    /// More of the batch that was cut last.
    fn next(&mut self, now: Instant) -> Option<RecordBatch> {
        if let Some(handed) = self.handed.replace(now) {
            let taken = now - handed;
            if taken > TURN / 2 {
                self.rows = (self.rows / 2).max(1);
            } else if taken < TURN / 8 {
                self.rows = (self.rows * 2).min(MOST_ROWS);
            }
        }
        self.rest.take().map(|rest| self.first_of(rest))
    }

    fn first_of(&mut self, batch: RecordBatch) -> RecordBatch {
        let rows = batch.num_rows();
        if rows <= self.rows {
            return batch;
        }
        self.rest = Some(batch.slice(self.rows, rows - self.rows));
        batch.slice(0, self.rows)
    }
}
