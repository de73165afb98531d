//! Around joins and windows: memory for the copies that they make of long rows.
//!
//! One row of a join's side may stand in every row of the batch that it makes, the first value of a window
//! in every row of the window; a window over a whole partition keeps all rows of its input, which the
//! engine does not count; and filters and exchanges put small batches together by their rows, not by their
//! bytes. What these may come to is reserved as the rows come in, and given back when the last row has left.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};
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

use crate::passage::{Passage, PassageExec, over};
use crate::portions::account::{Came, Kind, Runs};
use crate::portions::load::Load;
use crate::portions::{PORTIONS, meter};
use crate::sizes::is_long;
use crate::{Error, ErrorKind, window_lists};

/// Calls of functions in the condition of a join that make texts or lists.
const CONDITION_CALLS: usize = 8;

/// The operator of ASOF JOIN, which is the functions' own.
const ASOF_JOIN: &str = "AsofJoinExec";

/// The operator with its copies counted, where it makes any; its input is cut after it was counted.
pub(super) fn held(
    plan: &Arc<dyn ExecutionPlan>,
    cut: Option<&Arc<dyn Passage>>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(kind) = Kind::of(plan)? else {
        return Ok(None);
    };
    if let Kind::Batch { .. } = kind {
        refuse_costly(plan)?;
    }
    let ledger = Arc::new(Ledger {
        kind,
        keys: keys_of(plan),
        operator: plan.name().to_owned(),
        batches: plan.output_partitioning().partition_count(),
        held: Mutex::default(),
    });
    let inputs = plan.children().into_iter().enumerate();
    let inputs = inputs.map(|(side, input)| {
        let ledger = Arc::clone(&ledger);
        let counted = PassageExec::of(Arc::clone(input), Arc::new(Side { ledger, side }));
        match cut {
            Some(cut) => PassageExec::of(counted, Arc::clone(cut)),
            None => counted,
        }
    });
    let plan = over(plan, inputs.collect())?;
    Ok(Some(PassageExec::of(plan, Arc::new(Made(ledger)))))
}

/// Refuses a join whose condition calls so many functions that one batch of pairs would take GiBs: nobody hands
/// pairs on, so they can't be cut.
fn refuse_costly(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    // What functions are called shows without a schema.
    let calls = Load::of_expressions(plan, &Schema::empty())?.growing;
    if plan.children().len() < 2 || calls <= CONDITION_CALLS {
        return Ok(());
    }
    Err(DataFusionError::External(Box::new(Error::new(
        ErrorKind::OverLimit,
        format!(
            "the condition of a join calls {calls} functions that make texts or lists, {CONDITION_CALLS} are allowed: compute them in subqueries"
        ),
    ))))
}

impl Kind {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let is_join = plan.downcast_ref::<HashJoinExec>().is_some()
            || plan.downcast_ref::<NestedLoopJoinExec>().is_some()
            || plan.downcast_ref::<CrossJoinExec>().is_some()
            || plan.downcast_ref::<SortMergeJoinExec>().is_some()
            || plan.downcast_ref::<SymmetricHashJoinExec>().is_some()
            || plan.downcast_ref::<PiecewiseMergeJoinExec>().is_some()
            || plan.name() == ASOF_JOIN;
        if is_join {
            return Ok(Some(Self::Batch {
                copies: 1,
                sides: plan.children().len(),
            }));
        }
        let puts_together = plan.downcast_ref::<FilterExec>().is_some()
            || plan.downcast_ref::<RepartitionExec>().is_some()
            || plan.downcast_ref::<SortPreservingMergeExec>().is_some();
        if puts_together {
            // Only below a passage that cuts them may rows be long.
            let is_cut = plan.exists(|plan| Ok(plan.name() == PORTIONS))?;
            return Ok(is_cut.then_some(Self::Together));
        }
        if let Some(whole) = plan.downcast_ref::<WindowAggExec>() {
            let windows = whole.window_expr();
            let count = |distinct: bool| {
                let lists = windows.iter().filter_map(list_of);
                lists.filter(|list| list.is_distinct() == distinct).count()
            };
            let (lists, sets) = (count(false), count(true));
            return Ok(Some(Self::Whole {
                windows: windows.len(),
                long: long(plan, windows.len()).saturating_sub(lists + sets),
                lists,
                sets,
            }));
        }
        let bounded = plan.downcast_ref::<BoundedWindowAggExec>();
        let copies = bounded.map_or(0, |bounded| long(plan, bounded.window_expr().len()));
        Ok((copies > 0).then_some(Self::Batch { copies, sides: 1 }))
    }
}

/// How many of an operator's last columns are long: those are its windows' values.
fn long(plan: &Arc<dyn ExecutionPlan>, windows: usize) -> usize {
    let schema = plan.schema();
    let values = schema.fields().iter().rev().take(windows);
    values.filter(|value| is_long(value.data_type())).count()
}

/// The aggregate of a window that collects its values.
fn list_of(window: &Arc<dyn WindowExpr>) -> Option<&AggregateFunctionExpr> {
    let window = window.as_any().downcast_ref::<PlainAggregateWindowExpr>()?;
    let aggregate = window.get_aggregate_expr();
    window_lists::makes_lists(aggregate.fun().name()).then_some(aggregate)
}

/// What a window's rows have in common.
fn keys_of(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn PhysicalExpr>> {
    let whole = plan.downcast_ref::<WindowAggExec>();
    let window = whole.and_then(|whole| whole.window_expr().first());
    window.map_or_else(Vec::new, |window| window.partition_by().to_vec())
}

/// What one operator has reserved.
#[derive(Debug)]
struct Ledger {
    kind: Kind,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    operator: String,
    /// How many batches it makes at once.
    batches: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    came: Came,
    reservation: Option<MemoryReservation>,
    /// Partitions that are being read.
    open: usize,
}

impl Ledger {
    /// Reserves what may be made of some more rows of one side, of which so many bytes stand in each row.
    fn add(
        &self,
        side: usize,
        (rows, repeated): (&RecordBatch, usize),
        context: &TaskContext,
    ) -> Result<()> {
        let mut held = self.held();
        held.came.add(self.kind, side, rows)?;
        held.came.repeat(repeated);
        let batch_rows = context.session_config().batch_size();
        let needed = held.came.needed(self.kind, self.batches, batch_rows);
        if needed == 0 {
            return Ok(());
        }
        let reservation = held.reservation.get_or_insert_with(|| {
            MemoryConsumer::new(format!("long rows of {}", self.operator))
                .register(context.memory_pool())
        });
        match needed > reservation.size() {
            true => reservation.try_resize(needed),
            false => Ok(()),
        }
    }

    fn open(&self) {
        self.held().open += 1;
    }

    fn close(&self) {
        let mut held = self.held();
        held.open = held.open.saturating_sub(1);
        if held.open == 0 {
            *held = Held::default();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows on their way into the operator.
#[derive(Debug)]
struct Side {
    ledger: Arc<Ledger>,
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
            ledger: Arc::clone(&self.ledger),
            side: self.side,
            runs: Runs::of(self.ledger.kind, &self.ledger.keys),
            context,
        }))
    }
}

struct Counted {
    input: SendableRecordBatchStream,
    ledger: Arc<Ledger>,
    side: usize,
    runs: Option<Runs>,
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
            let repeated = match &mut this.runs {
                Some(runs) => runs.add(&rows)?,
                None => 0,
            };
            let ledger = &this.ledger;
            ledger.add(this.side, (&rows, repeated), &this.context)?;
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
struct Made(Arc<Ledger>);

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
            ledger: Arc::clone(&self.0),
        }))
    }
}

struct Leaving {
    input: SendableRecordBatchStream,
    ledger: Arc<Ledger>,
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
        self.ledger.close();
    }
}
