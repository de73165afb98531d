//! What an operator's expressions may make of its input's rows, as far as the plan tells.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::expressions::{Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use crate::bounded::{Growth, is_guarded};
use crate::operators::is_concatenation;
use crate::portions::{MOST_ROWS, PORTION_BYTES};
use crate::sizes::is_long;

/// Literals that are shorter may stand in each row of a batch.
const LITERAL_BYTES: usize = 64;

/// The texts and lists that any operator may compute of a row.
const FEW_COMPUTED: usize = 4;

/// What the expressions of one operator make of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Whether there are functions that keep an account of what they make.
    pub(super) is_metered: bool,
    /// How many of them make texts or lists that are longer than what they are given.
    pub(super) growing: usize,
    /// Whether they are evaluated over all rows once the last has come.
    pub(super) is_window: bool,
    /// Bytes of long literals, which may stand in each row.
    literal_bytes: usize,
    /// How many texts and lists are computed: each may be as long as a row.
    computed: usize,
}

impl Load {
    /// What stands in the expressions of an operator; `None` where it is little whatever the rows are.
    pub(super) fn of(
        plan: &Arc<dyn ExecutionPlan>,
        input: &Arc<dyn ExecutionPlan>,
    ) -> Result<Option<Self>> {
        let is_second_step = plan
            .downcast_ref::<AggregateExec>()
            .is_some_and(|it| matches!(it.mode().input_mode(), AggregateInputMode::Partial));
        if is_second_step {
            // Its expressions are those of the first step; this one merges.
            return Ok(None);
        }
        let load = Self::of_expressions(plan, &input.schema())?;
        Ok((!load.is_light()).then_some(load))
    }

    /// What stands in all expressions of an operator, over rows of this schema.
    pub(super) fn of_expressions(plan: &Arc<dyn ExecutionPlan>, schema: &Schema) -> Result<Self> {
        let mut load = Self {
            is_window: plan.downcast_ref::<WindowAggExec>().is_some()
                || plan.downcast_ref::<BoundedWindowAggExec>().is_some(),
            ..Self::default()
        };
        plan.apply_expressions(&mut |expr| {
            load.add(expr, schema)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(load)
    }

    /// Whether it is little whatever the rows are.
    pub(super) fn is_light(&self) -> bool {
        !self.is_metered && self.most_rows() >= MOST_ROWS && self.copies() == 0
    }

    /// The rows whose literals fit into a portion.
    pub(super) fn most_rows(&self) -> usize {
        (2 * PORTION_BYTES / self.literal_bytes.max(1)).clamp(1, MOST_ROWS)
    }

    /// How many copies of a row there may be in what is computed of it; 0 where they are few.
    pub(super) fn copies(&self) -> usize {
        match self.computed <= FEW_COMPUTED {
            true => 0,
            false => self.computed,
        }
    }

    pub(super) fn add(&mut self, expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<()> {
        expr.apply(|expr| {
            if let Some(literal) = expr.downcast_ref::<Literal>() {
                self.literal_bytes += bytes_of(literal.value());
                return Ok(TreeNodeRecursion::Continue);
            }
            if let Some(list) = expr.downcast_ref::<InListExpr>() {
                // The items of its list stand once, not in each row.
                self.add(list.expr(), schema)?;
                return Ok(TreeNodeRecursion::Jump);
            }
            let function = expr.downcast_ref::<ScalarFunctionExpr>();
            if let Some(called) = function.map(ScalarFunctionExpr::fun) {
                let is_concatenation = is_concatenation(called);
                self.is_metered |= is_concatenation || is_guarded(called);
                let is_growing = Growth::of(called.name()).is_some_and(Growth::is_size);
                self.growing += usize::from(is_concatenation || is_growing);
            }
            let is_column = expr.downcast_ref::<Column>().is_some();
            let is_computed = !is_column && expr.data_type(schema).is_ok_and(|it| is_long(&it));
            self.computed += usize::from(is_computed);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }
}

/// The bytes of a literal, where they are many.
fn bytes_of(literal: &ScalarValue) -> usize {
    let bytes = literal.size().saturating_sub(size_of::<ScalarValue>());
    match bytes < LITERAL_BYTES {
        true => 0,
        false => bytes,
    }
}
