//! An operator that hands its input's rows on as they are, and does something beside it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};

/// What is done with the rows on their way.
pub(crate) trait Passage: fmt::Debug + Send + Sync + 'static {
    /// The operator's name in plans.
    fn name(&self) -> &'static str;

    /// What plans say of it beside its name.
    fn note(&self) -> Option<&'static str> {
        None
    }

    /// The properties of the rows that leave, which are those of the rows that come in all but scheduling.
    fn properties(&self, input: &Arc<PlanProperties>) -> Arc<PlanProperties> {
        Arc::clone(input)
    }

    /// Begins to read a partition.
    fn open(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// The operator of a passage.
#[derive(Debug)]
pub(crate) struct PassageExec {
    input: Arc<dyn ExecutionPlan>,
    passage: Arc<dyn Passage>,
    properties: Arc<PlanProperties>,
}

impl PassageExec {
    pub(crate) fn of(
        input: Arc<dyn ExecutionPlan>,
        passage: Arc<dyn Passage>,
    ) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self {
            properties: passage.properties(input.properties()),
            input,
            passage,
        })
    }
}

/// An operator over other inputs.
pub(crate) fn over(
    plan: &Arc<dyn ExecutionPlan>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(plan).replace_children(inputs, options)
}

impl DisplayAs for PassageExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.passage.name())?;
        self.passage
            .note()
            .map_or(Ok(()), |note| write!(f, ": {note}"))
    }
}

impl ExecutionPlan for PassageExec {
    fn name(&self) -> &str {
        self.passage.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Self::of(input, Arc::clone(&self.passage))),
            None => internal_err!("{} has one input", self.passage.name()),
        }
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

    /// As many rows leave as come in, so a limit may be put below, and a filter too.
    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(pushed))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.passage.open(&self.input, partition, context)
    }
}
