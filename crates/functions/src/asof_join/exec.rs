//! The operator of the as-of join.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DFSchema, Result, internal_err};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::{Expr, UserDefinedLogicalNodeCore};
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
use futures::{StreamExt, TryStreamExt, stream};

use crate::asof_join::matches::Matches;
use crate::asof_join::right::{ASCENDING, Converter, Right, Side, SideExprs};
use crate::asof_join::{ASOF_JOIN, AsofJoin};
use crate::error::invalid;

/// Makes a physical expression over a schema.
pub type CreateExpr<'a> = &'a dyn Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>>;

/// Joins two inputs that come sorted by keys and time, in one pass over both.
///
/// It streams: what it holds is a left batch and the right rows that it found.
#[derive(Debug)]
pub(crate) struct AsofJoinExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    exprs: (SideExprs, SideExprs),
    /// Whether equal times match, and whether a right row on the lower bound does.
    is_strict: (bool, bool),
    is_outer: bool,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl AsofJoinExec {
    /// The operator of a node over the plans of its inputs.
    pub(crate) fn of(
        node: &AsofJoin,
        (left, right): (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>),
        create: CreateExpr<'_>,
    ) -> Result<Self> {
        let of_left = |expr: &Expr| create(expr, node.left.schema());
        let of_right = |expr: &Expr| create(expr, node.right.schema());
        let lower = node.lower.as_ref();
        let left_exprs = SideExprs {
            keys: node
                .keys
                .iter()
                .map(|(key, _)| of_left(key))
                .collect::<Result<_>>()?,
            time: of_left(&node.upper.left)?,
            lower: lower.map(|lower| of_left(&lower.left)).transpose()?,
        };
        let right_exprs = SideExprs {
            keys: node
                .keys
                .iter()
                .map(|(_, key)| of_right(key))
                .collect::<Result<_>>()?,
            time: of_right(&node.upper.right)?,
            lower: lower.map(|lower| of_right(&lower.right)).transpose()?,
        };
        let is_strict = (node.upper.is_strict, lower.is_some_and(|it| it.is_strict));
        let schema = Arc::clone(node.schema().inner());
        let exprs = (left_exprs, right_exprs);
        Ok(Self::new(
            (left, right),
            exprs,
            is_strict,
            node.is_outer,
            schema,
        ))
    }

    fn new(
        (left, right): (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>),
        exprs: (SideExprs, SideExprs),
        is_strict: (bool, bool),
        is_outer: bool,
        schema: SchemaRef,
    ) -> Self {
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
        // The left rows keep their places and their order.
        let orders = left.equivalence_properties().oeq_class().iter().cloned();
        equivalences.add_orderings(orders);
        let properties = Arc::new(PlanProperties::new(
            equivalences,
            left.output_partitioning().clone(),
            left.pipeline_behavior(),
            left.boundedness(),
        ));
        Self {
            left,
            right,
            exprs,
            is_strict,
            is_outer,
            schema,
            properties,
        }
    }
}

impl DisplayAs for AsofJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_strict.0 { ">" } else { ">=" };
        let (left, right) = &self.exprs;
        write!(f, "AsofJoinExec: {} {sign} {}", left.time, right.time)?;
        for (left, right) in left.keys.iter().zip(&right.keys) {
            write!(f, ", {left} = {right}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for AsofJoinExec {
    fn name(&self) -> &str {
        "AsofJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([left, right]) = <[_; 2]>::try_from(children) else {
            return internal_err!("AsofJoinExec has two inputs");
        };
        Ok(Arc::new(Self::new(
            (left, right),
            self.exprs.clone(),
            self.is_strict,
            self.is_outer,
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let sides = [&self.exprs.0, &self.exprs.1];
        for expr in sides
            .iter()
            .flat_map(|side| side.keys.iter().chain([&side.time]).chain(&side.lower))
        {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Rows of one key meet in one stream.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        let of = |side: &SideExprs| match side.keys.is_empty() {
            true => Distribution::SinglePartition,
            false => Distribution::KeyPartitioned(side.keys.clone()),
        };
        vec![of(&self.exprs.0), of(&self.exprs.1)]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let of = |side: &SideExprs| {
            let exprs = side.keys.iter().chain([&side.time]);
            let order =
                exprs.map(|expr| PhysicalSortRequirement::new(Arc::clone(expr), Some(ASCENDING)));
            LexRequirement::new(order).map(OrderingRequirements::from)
        };
        vec![of(&self.exprs.0), of(&self.exprs.1)]
    }

    /// The order of its rows stands in its properties. To call it the input's would let a sort by other
    /// columns be put below, where this operator needs its own.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (left_exprs, right_exprs) = &self.exprs;
        let left_schema = self.left.schema();
        let types = left_exprs
            .keys
            .iter()
            .map(|key| key.data_type(&left_schema));
        let converter = Converter::new(types.collect::<Result<_>>()?)?;
        let memory = MemoryConsumer::new("AsofJoinExec").register(context.memory_pool());
        let right = self.right.execute(partition, Arc::clone(&context))?;
        let joining = Joining {
            left: self.left.execute(partition, context)?,
            left_exprs: left_exprs.clone(),
            right: Right::new(right, right_exprs.clone()),
            right_schema: self.right.schema(),
            converter,
            is_strict: self.is_strict,
            is_outer: self.is_outer,
            memory,
            schema: Arc::clone(&self.schema),
        };
        let batches = stream::try_unfold(joining, |mut joining| async move {
            Ok(joining.next().await?.map(|batch| (batch, joining)))
        });
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }
}

struct Joining {
    left: SendableRecordBatchStream,
    left_exprs: SideExprs,
    right: Right,
    right_schema: SchemaRef,
    converter: Converter,
    is_strict: (bool, bool),
    is_outer: bool,
    memory: MemoryReservation,
    schema: SchemaRef,
}

impl Joining {
    /// The next left rows with what they found; `None` after the last.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.left.next().await.transpose()? else {
            return Ok(None);
        };
        let left = Side::of(batch, &self.left_exprs, &self.converter)?;
        let rows = left.batch.num_rows();
        let mut matches = Matches::new(Arc::clone(&self.right_schema), rows);
        for row in 0..rows {
            let Some(time) = left.time(row) else {
                matches.push(None)?;
                continue;
            };
            let key = left.key(row);
            self.right
                .pass(key, time, self.is_strict.0, &self.converter)
                .await?;
            let lower = left.lower(row);
            let candidate = self.right.candidate.as_ref();
            let found = candidate.filter(|found| {
                found.has_key(key) && self.is_above(lower, found.side.lower(found.row))
            });
            if found.is_some_and(|found| found.is_tied) {
                return Err(invalid(
                    ASOF_JOIN,
                    "two right rows have one key and time: join by all keys, or pick a vintage",
                ));
            }
            matches.push(found)?;
        }
        self.memory.try_resize(matches.bytes())?;
        let columns = matches.columns(&left.batch, self.is_outer)?;
        Ok(Some(RecordBatch::try_new(
            Arc::clone(&self.schema),
            columns,
        )?))
    }

    /// Whether a right row lies above the lower bound, where there is one.
    fn is_above(&self, of_left: Option<i64>, of_right: Option<i64>) -> bool {
        if self.left_exprs.lower.is_none() {
            return true;
        }
        match (of_left, of_right) {
            (Some(bound), Some(found)) if self.is_strict.1 => found > bound,
            (Some(bound), Some(found)) => found >= bound,
            _ => false,
        }
    }
}
