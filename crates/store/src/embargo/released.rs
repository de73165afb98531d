//! An operator that leaves out the rows of hidden sources, and shows nothing of what lies below it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, reset_plan_states};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};

use super::SOURCE;

/// The rows of a plan, whose columns include the source, that are of none of the hidden sources, which
/// are given in order.
pub(crate) fn without(
    plan: Arc<dyn ExecutionPlan>,
    hidden: &Arc<Vec<String>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let source = plan.schema().index_of(SOURCE)?;
    Ok(Arc::new(ReleasedExec::new(
        plan,
        source,
        Arc::clone(hidden),
    )))
}

/// Reads a plan without the rows of hidden sources.
///
/// It is a leaf. A plan shows its steps to whoever asks for it, with their files, their statistics and what they
/// have read; below this one all of that tells of the hidden rows as well. Nor is a predicate put below it, where
/// an error would tell of a hidden value.
struct ReleasedExec {
    all: Arc<dyn ExecutionPlan>,
    /// The place of the source among its columns.
    source: usize,
    hidden: Arc<Vec<String>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl ReleasedExec {
    fn new(all: Arc<dyn ExecutionPlan>, source: usize, hidden: Arc<Vec<String>>) -> Self {
        let properties = Arc::new(PlanProperties::new(
            all.equivalence_properties().clone(),
            all.output_partitioning().clone(),
            all.pipeline_behavior(),
            all.boundedness(),
        ));
        Self {
            all,
            source,
            hidden,
            metrics: ExecutionPlanMetricsSet::new(),
            properties,
        }
    }
}

impl fmt::Debug for ReleasedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleasedExec")
    }
}

impl DisplayAs for ReleasedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReleasedExec: rows of released sources")
    }
}

impl ExecutionPlan for ReleasedExec {
    fn name(&self) -> &str {
        "ReleasedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("ReleasedExec has no input that could be another"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let all = reset_plan_states(Arc::clone(&self.all))?;
        let hidden = Arc::clone(&self.hidden);
        Ok(Arc::new(Self::new(all, self.source, hidden)))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let all = self.all.execute(partition, context)?;
        let (source, hidden) = (self.source, Arc::clone(&self.hidden));
        let counted = BaselineMetrics::new(&self.metrics, partition);
        let seen = all.map(move |rows| {
            let seen = released(&rows?, source, &hidden)?;
            counted.record_output(seen.num_rows());
            Ok::<_, DataFusionError>(seen)
        });
        let seen = seen.try_filter(|rows| std::future::ready(rows.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), seen)))
    }
}

/// The rows whose source is not hidden.
fn released(rows: &RecordBatch, source: usize, hidden: &[String]) -> Result<RecordBatch> {
    let Some(sources) = rows.column(source).as_string_opt::<i32>() else {
        return internal_err!("a source is no text");
    };
    let is_hidden = |source: &str| {
        let found = hidden.binary_search_by(|hidden| hidden.as_str().cmp(source));
        found.is_ok()
    };
    let seen = sources.iter().map(|source| !source.is_some_and(is_hidden));
    let seen = BooleanArray::from_iter(seen.map(Some));
    match seen.true_count() == rows.num_rows() {
        true => Ok(rows.clone()),
        false => Ok(filter_record_batch(rows, &seen)?),
    }
}
