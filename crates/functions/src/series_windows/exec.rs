//! The operator.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches, partition};
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Result, internal_err};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::PartitionEvaluator;
use datafusion_physical_expr::window::StandardWindowFunctionExpr;
use datafusion_physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion_physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::series_ranges::series_ranges;

/// Adds columns of period functions to rows that come series by series, in the order of their periods.
///
/// In one pass: each batch leaves as it came, with its columns. What is held is one interval of a series;
/// where a function needs later rows one series, charged to the memory pool.
#[derive(Debug)]
pub(super) struct SeriesWindowExec {
    /// DataFusion's operator of the same window: it knows what the input must be and the output is.
    window: Arc<dyn ExecutionPlan>,
    functions: Vec<Arc<dyn StandardWindowFunctionExpr>>,
    series: Vec<Arc<dyn PhysicalExpr>>,
    needs_series: bool,
}

impl SeriesWindowExec {
    pub(super) fn new(
        window: Arc<dyn ExecutionPlan>,
        functions: Vec<Arc<dyn StandardWindowFunctionExpr>>,
        series: Vec<Arc<dyn PhysicalExpr>>,
        needs_series: bool,
    ) -> Self {
        Self {
            window,
            functions,
            series,
            needs_series,
        }
    }
}

impl DisplayAs for SeriesWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .functions
            .iter()
            .map(|function| function.name())
            .collect();
        write!(f, "SeriesWindowExec: {}", names.join(", "))
    }
}

impl ExecutionPlan for SeriesWindowExec {
    fn name(&self) -> &str {
        "SeriesWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.window.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.window.children()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let window = Arc::clone(&self.window).replace_children(children, options)?;
        Ok(Arc::new(Self::new(
            window,
            self.functions.clone(),
            self.series.clone(),
            self.needs_series,
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.window.apply_expressions(visit)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.window.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.window.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.window.maintains_input_order()
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let children = self.children();
        let [input] = children.as_slice() else {
            return internal_err!("SeriesWindowExec has one input");
        };
        let windows = Windows {
            memory: MemoryConsumer::new("SeriesWindowExec").register(context.memory_pool()),
            input: input.execute(partition, context)?,
            functions: self.functions.clone(),
            series: self.series.clone(),
            needs_series: self.needs_series,
            running: Vec::new(),
            last: None,
            held: Vec::new(),
            ended: false,
            schema: self.schema(),
        };
        let batches = stream::try_unfold(windows, |mut windows| async move {
            Ok(windows.next().await?.map(|batch| (batch, windows)))
        });
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

struct Windows {
    input: SendableRecordBatchStream,
    functions: Vec<Arc<dyn StandardWindowFunctionExpr>>,
    series: Vec<Arc<dyn PhysicalExpr>>,
    needs_series: bool,
    /// The functions' states in the series of the last row.
    running: Vec<Box<dyn PartitionEvaluator>>,
    /// What the last row's series is called; `None` before the first row.
    last: Option<Vec<ArrayRef>>,
    /// Where whole series are needed, the rows so far of the one whose last row may not have come yet.
    held: Vec<RecordBatch>,
    ended: bool,
    memory: MemoryReservation,
    schema: SchemaRef,
}

impl Windows {
    /// The next rows with their columns; `None` after the last.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.ended {
            return Ok(None);
        }
        match self.input.next().await.transpose()? {
            Some(batch) if batch.num_rows() == 0 => {
                Ok(Some(RecordBatch::new_empty(Arc::clone(&self.schema))))
            }
            Some(batch) if self.needs_series => self.hold(batch).map(Some),
            Some(batch) => self.answer(&batch).map(Some),
            None => {
                self.ended = true;
                let rest = std::mem::take(&mut self.held);
                match rest.first() {
                    None => Ok(None),
                    Some(first) => {
                        let rows = concat_batches(first.schema_ref(), &rest)?;
                        self.last = None;
                        self.answer(&rows).map(Some)
                    }
                }
            }
        }
    }

    /// Holds rows back until their series has ended; what has ended is answered.
    fn hold(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        self.held.push(batch);
        let rows = match self.held.as_slice() {
            [one] => one.clone(),
            // To see whether the series goes on, its last batch will do.
            [.., before, last] => {
                let tail = before.slice(before.num_rows() - 1, 1);
                concat_batches(last.schema_ref(), [&tail, last])?
            }
            [] => return internal_err!("a batch was pushed"),
        };
        let ranges = series_ranges(&self.keys(&rows)?, rows.num_rows())?;
        let Some(open) = ranges.last().filter(|_| ranges.len() > 1) else {
            let held = self.held.iter().map(RecordBatch::get_array_memory_size);
            self.memory.try_resize(held.sum())?;
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        };
        let open_rows = rows.num_rows() - open.start;
        let mut ended = std::mem::take(&mut self.held);
        if let Some(last) = ended.pop() {
            let closed = last.num_rows() - open_rows;
            self.held.push(last.slice(closed, open_rows));
            ended.push(last.slice(0, closed));
        }
        let held = self.held.iter().map(RecordBatch::get_array_memory_size);
        self.memory.try_resize(held.sum())?;
        let rows = concat_batches(rows.schema_ref(), &ended)?;
        // Whole series only: none goes on from the rows before.
        self.last = None;
        self.answer(&rows)
    }

    /// The rows with their columns.
    fn answer(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.keys(batch)?;
        let columns = self
            .functions
            .iter()
            .map(|function| function.evaluate_args(batch))
            .collect::<Result<Vec<_>>>()?;
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.functions.len()];
        let goes_on = self.goes_on(&keys)?;
        for (number, range) in series_ranges(&keys, batch.num_rows())?
            .into_iter()
            .enumerate()
        {
            if number > 0 || !goes_on {
                let states = self
                    .functions
                    .iter()
                    .map(|function| function.create_evaluator());
                self.running = states.collect::<Result<_>>()?;
            }
            let length = range.len();
            let running = self.running.iter_mut().zip(&columns).zip(&mut parts);
            for ((state, columns), parts) in running {
                let slices: Vec<ArrayRef> = columns
                    .iter()
                    .map(|column| column.slice(range.start, length))
                    .collect();
                parts.push(state.evaluate_all(&slices, length)?);
            }
        }
        let last = batch.num_rows() - 1;
        self.last = Some(keys.iter().map(|key| key.slice(last, 1)).collect());
        let mut all = batch.columns().to_vec();
        for parts in &parts {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            all.push(concat(&parts)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), all)?)
    }

    /// What tells series apart.
    fn keys(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        self.series
            .iter()
            .map(|key| key.evaluate(batch)?.into_array(rows))
            .collect()
    }

    /// Whether the first row belongs to the series of the last row before.
    fn goes_on(&self, keys: &[ArrayRef]) -> Result<bool> {
        let Some(last) = &self.last else {
            return Ok(false);
        };
        if keys.is_empty() {
            return Ok(true);
        }
        let pairs = last
            .iter()
            .zip(keys)
            .map(|(last, key)| concat(&[last.as_ref(), key.slice(0, 1).as_ref()]));
        Ok(partition(&pairs.collect::<Result<Vec<_>, _>>()?)?.len() == 1)
    }
}
