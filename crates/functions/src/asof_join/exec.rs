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
use datafusion_physical_expr::equivalence::ProjectionMapping;
use datafusion_physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion_physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion_physical_plan::projection::{
    EmbeddedProjection, ProjectionExec, try_embed_projection,
};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::asof_join::matches::Matches;
use crate::asof_join::right::{ASCENDING, Right, Side, SideExprs};
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
    /// The columns that it gives, by their places in both sides together.
    projection: Vec<usize>,
    /// The columns of both sides together.
    both: SchemaRef,
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
        let both = Arc::clone(node.schema().inner());
        let projection = (0..both.fields().len()).collect();
        let exprs = (left_exprs, right_exprs);
        Self::new(
            (left, right),
            exprs,
            is_strict,
            node.is_outer,
            (projection, both),
        )
    }

    fn new(
        (left, right): (Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>),
        exprs: (SideExprs, SideExprs),
        is_strict: (bool, bool),
        is_outer: bool,
        (projection, both): (Vec<usize>, SchemaRef),
    ) -> Result<Self> {
        let mut of_both = EquivalenceProperties::new(Arc::clone(&both));
        // The left rows keep their places and their order.
        let orders = left.equivalence_properties().oeq_class().iter().cloned();
        of_both.add_orderings(orders);
        let mapping = ProjectionMapping::from_indices(&projection, &both)?;
        let schema = Arc::new(both.project(&projection)?);
        let equivalences = of_both.project(&mapping, Arc::clone(&schema));
        let properties = Arc::new(PlanProperties::new(
            equivalences,
            left.output_partitioning().project(&mapping, &of_both),
            left.pipeline_behavior(),
            left.boundedness(),
        ));
        Ok(Self {
            left,
            right,
            exprs,
            is_strict,
            is_outer,
            projection,
            both,
            schema,
            properties,
        })
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
            (self.projection.clone(), Arc::clone(&self.both)),
        )?))
    }

    /// Columns that nobody wants need not be put together.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        try_embed_projection(projection, self)
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
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let of = |side: &SideExprs| match side.keys.is_empty() {
            true => Distribution::SinglePartition,
            false => Distribution::KeyPartitioned(side.keys.clone()),
        };
        InputDistributionRequirements::co_partitioned(vec![of(&self.exprs.0), of(&self.exprs.1)])
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
        let memory = MemoryConsumer::new("AsofJoinExec").register(context.memory_pool());
        let right = self.right.execute(partition, Arc::clone(&context))?;
        let joining = Joining {
            left: self.left.execute(partition, context)?,
            left_exprs: left_exprs.clone(),
            right: Right::new(right, right_exprs.clone()),
            right_schema: self.right.schema(),
            is_strict: self.is_strict,
            is_outer: self.is_outer,
            projection: self.projection.clone(),
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

impl EmbeddedProjection for AsofJoinExec {
    fn with_projection(&self, projection: Option<Vec<usize>>) -> Result<Self> {
        let places = projection.unwrap_or_else(|| (0..self.projection.len()).collect());
        let places = places.into_iter().map(|place| self.projection[place]);
        Self::new(
            (Arc::clone(&self.left), Arc::clone(&self.right)),
            self.exprs.clone(),
            self.is_strict,
            self.is_outer,
            (places.collect(), Arc::clone(&self.both)),
        )
    }
}

struct Joining {
    left: SendableRecordBatchStream,
    left_exprs: SideExprs,
    right: Right,
    right_schema: SchemaRef,
    is_strict: (bool, bool),
    is_outer: bool,
    projection: Vec<usize>,
    memory: MemoryReservation,
    schema: SchemaRef,
}

impl Joining {
    /// The next left rows with what they found; `None` after the last.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.left.next().await.transpose()? else {
            return Ok(None);
        };
        let left = Side::of(batch, &self.left_exprs)?;
        self.right.face(&left)?;
        let rows = left.batch.num_rows();
        let mut matches = Matches::new(Arc::clone(&self.right_schema), rows);
        for row in 0..rows {
            let Some(time) = left.time(row) else {
                matches.push(None)?;
                continue;
            };
            let (strict, strict_lower) = self.is_strict;
            let found = self.right.pass(&left, row, time, strict).await?;
            let lower = self.left_exprs.lower.is_some().then(|| left.lower(row));
            let found = found.filter(|found| {
                lower.is_none_or(|lower| is_above(lower, found.side.lower(found.row), strict_lower))
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
        let wanted = (self.projection.as_slice(), &self.schema);
        let joined = matches.joined(&left.batch, self.is_outer, wanted)?;
        Ok(Some(joined))
    }
}

/// Whether a right row lies above the lower bound.
fn is_above(of_left: Option<i64>, of_right: Option<i64>, is_strict: bool) -> bool {
    match (of_left, of_right) {
        (Some(bound), Some(found)) if is_strict => found > bound,
        (Some(bound), Some(found)) => found >= bound,
        _ => false,
    }
}
