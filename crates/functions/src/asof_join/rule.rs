//! Finds as-of joins in a plan.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, JoinType, Result};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Extension, Join, LogicalPlan, Operator};
use datafusion_optimizer::AnalyzerRule;

use crate::asof_join::node::Comparison;
use crate::asof_join::{ASOF_JOIN, ASOF_MATCH, AsofJoin};
use crate::error::invalid;

/// Replaces joins with `asof_match` in their condition by [`AsofJoin`] nodes.
#[derive(Debug)]
pub(crate) struct AsofJoinRule;

impl AnalyzerRule for AsofJoinRule {
    fn name(&self) -> &str {
        "asof_join"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewrite = |plan: LogicalPlan| match &plan {
            LogicalPlan::Join(join) => Ok(match asof_join(join)? {
                Some(node) => Transformed::yes(LogicalPlan::Extension(Extension {
                    node: Arc::new(node),
                })),
                None => Transformed::no(plan),
            }),
            _ => Ok(Transformed::no(plan)),
        };
        plan.transform_up_with_subqueries(rewrite).data()
    }
}

fn asof_join(join: &Join) -> Result<Option<AsofJoin>> {
    let Some(filter) = join.filter.as_ref().filter(|filter| has_match(filter)) else {
        return Ok(None);
    };
    let is_outer = match join.join_type {
        JoinType::Left => true,
        JoinType::Inner => false,
        other => {
            return Err(invalid(
                ASOF_JOIN,
                format!("an as-of join is a LEFT or an INNER join, not {other}"),
            ));
        }
    };
    let sides = Sides {
        left: join.left.schema(),
        right: join.right.schema(),
    };
    let mut keys = join.on.clone();
    let mut condition = None;
    for part in split_conjunction(filter) {
        match part {
            Expr::ScalarFunction(call) if call.name() == ASOF_MATCH && condition.is_none() => {
                condition = call.args.first();
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::Eq,
                right,
            }) if !has_match(part) => match sides.in_order(left, right) {
                Some(((left, right), _)) => keys.push((left.clone(), right.clone())),
                None => return Err(refused(part)),
            },
            other => return Err(refused(other)),
        }
    }
    let Some(condition) = condition else {
        return Err(refused(filter));
    };
    let (upper, lower) = sides.comparisons(condition)?;
    let inputs = ((*join.left).clone(), (*join.right).clone());
    AsofJoin::new(inputs, keys, upper, lower, is_outer).map(Some)
}

fn has_match(expr: &Expr) -> bool {
    let mut found = false;
    let walk = expr.apply(|part| {
        found |= matches!(part, Expr::ScalarFunction(call) if call.name() == ASOF_MATCH);
        Ok(TreeNodeRecursion::Continue)
    });
    found && walk.is_ok()
}

fn refused(part: &Expr) -> datafusion_common::DataFusionError {
    invalid(
        ASOF_JOIN,
        format!(
            "beside the comparison of times an as-of join takes equalities between both sides, not {part}"
        ),
    )
}

struct Sides<'a> {
    left: &'a DFSchema,
    right: &'a DFSchema,
}

impl Sides<'_> {
    /// Two expressions, that of the left side first, and whether they were so before. `None` where they
    /// are not of one side each.
    fn in_order<'e>(&self, one: &'e Expr, other: &'e Expr) -> Option<((&'e Expr, &'e Expr), bool)> {
        let of = |expr: &Expr, schema: &DFSchema| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
        };
        if of(one, self.left) && of(other, self.right) {
            return Some(((one, other), true));
        }
        (of(one, self.right) && of(other, self.left)).then_some(((other, one), false))
    }

    /// The upper bound of the right row's time, and the lower one where there is one.
    fn comparisons(&self, condition: &Expr) -> Result<(Comparison, Option<Comparison>)> {
        let wrong = || {
            invalid(
                ASOF_JOIN,
                format!(
                    "the condition must be left_time >= right_time, perhaps with AND right_time >= an expression of the left row, not {condition}"
                ),
            )
        };
        let (mut upper, mut lower) = (None, None);
        for part in split_conjunction(condition) {
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = part else {
                return Err(wrong());
            };
            let ((of_left, of_right), is_in_order) =
                self.in_order(left, right).ok_or_else(wrong)?;
            let (is_greater, is_strict) = match op {
                Operator::GtEq => (true, false),
                Operator::Gt => (true, true),
                Operator::LtEq => (false, false),
                Operator::Lt => (false, true),
                _ => return Err(wrong()),
            };
            let bound = match is_greater == is_in_order {
                true => &mut upper,
                false => &mut lower,
            };
            let is_taken = bound.is_some();
            self.check_time(of_left, self.left)?;
            self.check_time(of_right, self.right)?;
            *bound = Some(Comparison {
                left: of_left.clone(),
                right: of_right.clone(),
                is_strict,
            });
            if is_taken {
                return Err(wrong());
            }
        }
        Ok((upper.ok_or_else(wrong)?, lower))
    }

    fn check_time(&self, expr: &Expr, schema: &DFSchema) -> Result<()> {
        let data_type = expr.get_type(schema)?;
        if data_type.is_temporal() || data_type.is_integer() {
            return Ok(());
        }
        Err(invalid(
            ASOF_JOIN,
            format!("{expr} must be a date, a timestamp or an integer, not {data_type}"),
        ))
    }
}
