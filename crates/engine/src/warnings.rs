//! What the author of a statement may not have meant.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, WindowFunctionDefinition};

/// A warning: the result stands all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A word for programs.
    pub code: &'static str,
    /// What it is, and what to write instead.
    pub message: String,
}

/// The functions that look back at earlier periods of a series.
const LOOK_BACK: [&str; 12] = [
    "prior",
    "yoy",
    "yoy_reason",
    "qoq",
    "qoq_reason",
    "mom",
    "mom_reason",
    "growth",
    "growth_reason",
    "change",
    "from_ytd",
    "locf",
];

/// The columns by which periods are cut off.
const PERIOD: [&str; 2] = ["period_start", "period_end"];

/// The warnings of a statement, as it was planned and before it is optimized.
pub(crate) fn warnings(plan: &LogicalPlan) -> Vec<Warning> {
    let mut functions = BTreeSet::new();
    // Walking a plan fails only where its visitor does.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Window(window) = node
            && removes_bases(&window.input)
        {
            functions.extend(window.window_expr.iter().filter_map(looks_back));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let warning = |function: String| Warning {
        code: "BASE_PERIODS_REMOVED",
        message: format!(
            "WHERE takes away the earlier periods that {function} looks back at, so that it is NULL at the first ones: cut off periods with QUALIFY, which comes after it"
        ),
    };
    functions.into_iter().map(warning).collect()
}

fn looks_back(expr: &Expr) -> Option<String> {
    let expr = match expr {
        Expr::Alias(alias) => alias.expr.as_ref(),
        expr => expr,
    };
    let Expr::WindowFunction(window) = expr else {
        return None;
    };
    let WindowFunctionDefinition::WindowUDF(function) = &window.fun else {
        return None;
    };
    let name = function.name();
    LOOK_BACK.contains(&name).then(|| name.to_owned())
}

/// Whether the rows of a window come out of a filter that takes early periods away.
fn removes_bases(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            let parts = split_conjunction(&filter.predicate);
            parts.into_iter().any(is_lower_bound) || removes_bases(&filter.input)
        }
        LogicalPlan::Projection(it) => removes_bases(&it.input),
        LogicalPlan::Sort(it) => removes_bases(&it.input),
        LogicalPlan::Window(it) => removes_bases(&it.input),
        LogicalPlan::SubqueryAlias(it) => removes_bases(&it.input),
        _ => false,
    }
}

fn is_lower_bound(part: &Expr) -> bool {
    match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let above = matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq);
            let below = matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq);
            (above && is_of_period(left)) || (below && is_of_period(right))
        }
        Expr::Between(between) => !between.negated && is_of_period(&between.expr),
        Expr::InList(list) => !list.negated && is_of_period(&list.expr),
        _ => false,
    }
}

fn is_of_period(expr: &Expr) -> bool {
    let columns = expr.column_refs();
    columns
        .iter()
        .any(|column| PERIOD.contains(&column.name.as_str()))
}
