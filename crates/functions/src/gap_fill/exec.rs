//! The operator of gap filling.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Result, internal_err};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion_physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use didymium_model::{Buckets, Day, Interval};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::invalid;
use crate::gap_fill::GapFill;
use crate::gap_fill::node::Fill;
use crate::gap_fill::spine::Spine;
use crate::series_ranges::series_ranges;

/// Rows that one gap filling may add.
const ADDED_ROWS: usize = 10_000_000;

/// Adds the missing buckets of rows that come sorted by series and bucket.
///
/// It streams by series: what it holds, charged to the memory pool, is one of them.
#[derive(Debug)]
pub(crate) struct GapFillExec {
    input: Arc<dyn ExecutionPlan>,
    bucket: usize,
    keys: Vec<usize>,
    spans: (Interval, Option<Day>),
    fills: Vec<Fill>,
    /// How many rows its streams together may still add.
    room: Arc<AtomicUsize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl GapFillExec {
    /// The operator of a node over the plan of its input.
    pub(crate) fn of(node: &GapFill, input: Arc<dyn ExecutionPlan>) -> Self {
        use datafusion_expr::UserDefinedLogicalNodeCore;
        let schema = Arc::clone(node.schema().inner());
        let spans = (node.interval, node.origin);
        Self::new(
            input,
            (node.bucket, node.keys.clone()),
            spans,
            node.fills.clone(),
            schema,
        )
    }

    fn new(
        input: Arc<dyn ExecutionPlan>,
        (bucket, keys): (usize, Vec<usize>),
        spans: (Interval, Option<Day>),
        fills: Vec<Fill>,
        schema: SchemaRef,
    ) -> Self {
        // Rows leave in the order in which they must come.
        let order = requirement(&schema, &keys, bucket);
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
        equivalences.add_ordering(order.into_iter().map(Into::into));
        let properties = Arc::new(PlanProperties::new(
            equivalences,
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Self {
            input,
            bucket,
            keys,
            spans,
            fills,
            room: Arc::new(AtomicUsize::new(ADDED_ROWS)),
            schema,
            properties,
        }
    }
}

/// Series by series, the buckets of each in their order.
fn requirement(schema: &SchemaRef, keys: &[usize], bucket: usize) -> Vec<PhysicalSortRequirement> {
    let ascending = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let column = |place: usize| {
        let column = Column::new(schema.field(place).name(), place);
        PhysicalSortRequirement::new(Arc::new(column), Some(ascending))
    };
    keys.iter().copied().chain([bucket]).map(column).collect()
}

impl DisplayAs for GapFillExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GapFillExec: every {}", self.spans.0)
    }
}

impl ExecutionPlan for GapFillExec {
    fn name(&self) -> &str {
        "GapFillExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return internal_err!("GapFillExec has one input");
        };
        Ok(Arc::new(Self::new(
            input,
            (self.bucket, self.keys.clone()),
            self.spans,
            self.fills.clone(),
            Arc::clone(&self.schema),
        )))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// A series is never parted.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        if self.keys.is_empty() {
            return vec![Distribution::SinglePartition];
        }
        let column = |place: &usize| {
            Arc::new(Column::new(self.schema.field(*place).name(), *place)) as Arc<dyn PhysicalExpr>
        };
        vec![Distribution::KeyPartitioned(
            self.keys.iter().map(column).collect(),
        )]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = requirement(&self.schema, &self.keys, self.bucket);
        vec![LexRequirement::new(order).map(OrderingRequirements::from)]
    }

    /// The order of its rows stands in its properties. To call it the input's would let a sort by other
    /// columns be put below, where this operator needs its own.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (interval, origin) = self.spans;
        let filling = Filling {
            input: self.input.execute(partition, Arc::clone(&context))?,
            series: Vec::new(),
            ready: Vec::new(),
            ended: false,
            memory: MemoryConsumer::new("GapFillExec").register(context.memory_pool()),
            room: Arc::clone(&self.room),
            batch_rows: context.session_config().batch_size(),
            bucket: self.bucket,
            keys: self.keys.clone(),
            buckets: Buckets::new(interval, origin),
            fills: self.fills.clone(),
            schema: Arc::clone(&self.schema),
        };
        let batches = stream::try_unfold(filling, |mut filling| async move {
            Ok(filling.next().await?.map(|batch| (batch, filling)))
        });
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }
}

struct Filling {
    input: SendableRecordBatchStream,
    /// The rows so far of the series whose last row may not have come yet.
    series: Vec<RecordBatch>,
    /// Filled rows that wait, the last to leave first.
    ready: Vec<RecordBatch>,
    ended: bool,
    memory: MemoryReservation,
    /// How many rows all streams may still add.
    room: Arc<AtomicUsize>,
    batch_rows: usize,
    bucket: usize,
    keys: Vec<usize>,
    buckets: Buckets,
    fills: Vec<Fill>,
    schema: SchemaRef,
}

impl Filling {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop() {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            match self.input.next().await.transpose()? {
                Some(batch) => self.take(&batch)?,
                None => {
                    self.ended = true;
                    self.finish_series()?;
                }
            }
            self.ready.reverse();
        }
    }

    /// Adds rows to their series; every series that ends among them becomes ready.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = self.series.first().map(|rows| rows.slice(0, 1));
        let rows = match &first {
            // With one row of the series before, to see whether it goes on.
            Some(first) => concat_batches(batch.schema_ref(), [first, batch])?,
            None => batch.clone(),
        };
        let skipped = usize::from(first.is_some());
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|key| Arc::clone(rows.column(*key)))
            .collect();
        let ranges = series_ranges(&keys, rows.num_rows())?;
        for (number, range) in ranges.into_iter().enumerate() {
            if number > 0 {
                self.finish_series()?;
            }
            let start = range.start.max(skipped);
            if start < range.end {
                self.series.push(rows.slice(start, range.end - start));
            }
        }
        let held = self.series.iter().map(RecordBatch::get_array_memory_size);
        self.memory.try_resize(held.sum())
    }

    /// Fills the series that has ended.
    fn finish_series(&mut self) -> Result<()> {
        let series = std::mem::take(&mut self.series);
        let Some(first) = series.first() else {
            return Ok(());
        };
        let rows = concat_batches(first.schema_ref(), &series)?;
        let bucket = rows.column(self.bucket);
        let room = self.room.load(Ordering::Relaxed);
        let spine = Spine::of(bucket, self.buckets, room)?;
        let fits = |spine: &Spine| {
            let rest = |room: usize| room.checked_sub(spine.added());
            let taken = self
                .room
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
            taken.is_ok()
        };
        let Some(spine) = spine.filter(fits) else {
            return Err(invalid(
                "time_bucket_gapfill",
                format!(
                    "it would add more than {ADDED_ROWS} rows: filter the days, or take a longer interval"
                ),
            ));
        };
        // What names the series stands in each row that is added.
        let first = rows.slice(0, 1);
        let sizes = first
            .columns()
            .iter()
            .map(|it| it.to_data().get_slice_memory_size());
        let row = sizes.sum::<std::result::Result<usize, _>>()?;
        self.memory.try_grow(spine.added().saturating_mul(row))?;
        let columns = spine.columns(&rows, self.bucket, &self.keys, self.buckets, &self.fills)?;
        let filled = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let mut start = 0;
        while start < filled.num_rows() {
            let length = self.batch_rows.min(filled.num_rows() - start);
            self.ready.push(filled.slice(start, length));
            start += length;
        }
        Ok(())
    }
}
