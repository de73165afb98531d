//! Finds the words of gap filling in a plan.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Aggregate, Expr, Extension, LogicalPlan, Projection};
use datafusion_optimizer::AnalyzerRule;
use didymium_model::{Day, Interval};

use crate::error::invalid;
use crate::gap_fill::GapFill;
use crate::gap_fill::node::{Fill, FillKind};
use crate::sql_time::interval;
use crate::time_bucket::time_bucket;

const GAPFILL: &str = "time_bucket_gapfill";

/// Replaces `time_bucket_gapfill` by `time_bucket` and a [`GapFill`] above the aggregate, and
/// `gapfill_locf` and `gapfill_interpolate` by the columns that it fills.
#[derive(Debug)]
pub(crate) struct GapFillRule;

impl AnalyzerRule for GapFillRule {
    fn name(&self) -> &str {
        "gap_fill"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite).data()
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Aggregate(aggregate) = &plan {
        return match gap_fill_over(aggregate)? {
            Some(filled) => Ok(Transformed::yes(filled)),
            None => Ok(Transformed::no(plan)),
        };
    }
    let calls = fill_calls(&plan)?;
    let plan = match calls.is_empty() {
        true => plan,
        false => with_fills(plan, &calls)?,
    };
    // Columns that were never NULL may be so now.
    let has_filled = plan.inputs().iter().any(|input| is_gap_fill(input));
    match has_filled || !calls.is_empty() {
        true => plan.recompute_schema().map(Transformed::yes),
        false => Ok(Transformed::no(plan)),
    }
}

fn is_gap_fill(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => gap_fill_of(extension).is_some(),
        LogicalPlan::Filter(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
            plan.inputs().iter().any(|input| is_gap_fill(input))
        }
        _ => false,
    }
}

fn gap_fill_of(extension: &Extension) -> Option<&GapFill> {
    extension.node.as_any().downcast_ref::<GapFill>()
}

/// The aggregate by plain buckets, and the node that adds the missing ones.
fn gap_fill_over(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let mut found: Option<(usize, Vec<Expr>)> = None;
    for (place, group) in aggregate.group_expr.iter().enumerate() {
        let Some(call) = call_within(group)? else {
            continue;
        };
        let is_all = matches!(unaliased(group), Expr::ScalarFunction(function) if function.name() == GAPFILL);
        if !is_all || found.is_some() {
            return Err(invalid(
                GAPFILL,
                "it must be one of the GROUP BY expressions, alone and once",
            ));
        }
        found = Some((place, call));
    }
    let Some((bucket, args)) = found else {
        return Ok(None);
    };
    let spans = spans(&args)?;
    let mut group_expr = aggregate.group_expr.clone();
    let name = group_expr[bucket].schema_name().to_string();
    group_expr[bucket] = time_bucket().call(args).alias(name);
    let plain = Aggregate::try_new(
        Arc::clone(&aggregate.input),
        group_expr,
        aggregate.aggr_expr.clone(),
    )?;
    let keys = (0..aggregate.group_expr.len())
        .filter(|place| *place != bucket)
        .collect();
    let node = GapFill::new(
        LogicalPlan::Aggregate(plain),
        bucket,
        keys,
        spans,
        Vec::new(),
    )?;
    Ok(Some(extension(node)))
}

fn extension(node: GapFill) -> LogicalPlan {
    LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    })
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The arguments of a call of `time_bucket_gapfill` anywhere in an expression.
fn call_within(expr: &Expr) -> Result<Option<Vec<Expr>>> {
    let mut found = None;
    expr.apply(|part| {
        if let Expr::ScalarFunction(call) = part
            && call.name() == GAPFILL
        {
            found = Some(call.args.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The constant interval and origin of the buckets.
fn spans(args: &[Expr]) -> Result<(Interval, Option<Day>)> {
    let interval = args
        .first()
        .map(|it| interval_of(GAPFILL, it))
        .transpose()?
        .flatten()
        .ok_or_else(|| invalid(GAPFILL, "the interval is missing"))?;
    let origin = match args.get(2).map(constant) {
        None => None,
        Some(Some(ScalarValue::Date32(Some(day)))) => Some(Day::from_epoch(day)),
        Some(_) => return Err(invalid(GAPFILL, "the origin must be a constant DATE")),
    };
    Ok((interval, origin))
}

fn interval_of(function: &str, expr: &Expr) -> Result<Option<Interval>> {
    match constant(expr) {
        Some(ScalarValue::IntervalMonthDayNano(Some(parts))) => interval(function, parts).map(Some),
        _ => Err(invalid(
            function,
            "an interval must be constant and not NULL",
        )),
    }
}

/// The value of a literal, perhaps within casts.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match unaliased(expr) {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        _ => None,
    }
}

/// The calls of `gapfill_locf` and `gapfill_interpolate` in the expressions of a node.
fn fill_calls(plan: &LogicalPlan) -> Result<Vec<ScalarFunction>> {
    let mut calls: Vec<ScalarFunction> = Vec::new();
    plan.apply_expressions(|expr| {
        expr.apply(|part| {
            if let Expr::ScalarFunction(call) = part
                && kind_of(call).is_some()
                && !calls.contains(call)
            {
                calls.push(call.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(calls)
}

fn kind_of(call: &ScalarFunction) -> Option<FillKind> {
    match call.name() {
        "gapfill_locf" => Some(FillKind::LastKnown),
        "gapfill_interpolate" => Some(FillKind::Line),
        _ => None,
    }
}

/// The node with each call replaced by the column that the [`GapFill`] below fills.
fn with_fills(plan: LogicalPlan, calls: &[ScalarFunction]) -> Result<LogicalPlan> {
    let inputs = plan.inputs();
    let [input] = inputs.as_slice() else {
        return Err(misplaced(&calls[0]));
    };
    let input = add_fills((*input).clone(), calls)?;
    let names = NamePreserver::new(&plan);
    let expressions = plan.expressions().into_iter().map(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|part| match part {
            Expr::ScalarFunction(call) if kind_of(&call).is_some() => {
                let filled = Column::from_name(column_name(&call));
                Ok(Transformed::yes(Expr::Column(filled)))
            }
            other => Ok(Transformed::no(other)),
        });
        expr.data().map(|expr| name.restore(expr))
    });
    let expressions = expressions.collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(expressions, vec![input])
}

fn column_name(call: &ScalarFunction) -> String {
    Expr::ScalarFunction(call.clone()).schema_name().to_string()
}

fn misplaced(call: &ScalarFunction) -> datafusion_common::DataFusionError {
    invalid(
        call.name(),
        "locf and interpolate without OVER belong in a query whose GROUP BY has time_bucket_gapfill",
    )
}

/// The plan with columns for the calls in the [`GapFill`] at its bottom.
fn add_fills(plan: LogicalPlan, calls: &[ScalarFunction]) -> Result<LogicalPlan> {
    if let LogicalPlan::Extension(node) = &plan {
        return match gap_fill_of(node) {
            Some(node) => filled(node, calls),
            None => Err(misplaced(&calls[0])),
        };
    }
    let passes = matches!(
        plan,
        LogicalPlan::Filter(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_)
    );
    let inputs = plan.inputs();
    let ([input], true) = (inputs.as_slice(), passes) else {
        return Err(misplaced(&calls[0]));
    };
    let input = add_fills((*input).clone(), calls)?;
    plan.with_new_exprs(plan.expressions(), vec![input])?
        .recompute_schema()
}

/// The node over a projection that computes what the calls fill.
fn filled(node: &GapFill, calls: &[ScalarFunction]) -> Result<LogicalPlan> {
    let input = node.input.clone();
    let schema = input.schema();
    let mut columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut fills = node.fills.clone();
    for call in calls {
        let name = column_name(call);
        if schema.has_column_with_unqualified_name(&name) {
            continue;
        }
        let (Some(kind), Some((value, gap))) = (kind_of(call), call.args.split_first()) else {
            return Err(misplaced(call));
        };
        let max_gap = match gap.first() {
            None => None,
            Some(gap) => interval_of(call.name(), gap)?,
        };
        fills.push(Fill {
            column: columns.len(),
            kind,
            max_gap,
        });
        columns.push(value.clone().alias(name));
    }
    let input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
    let spans = (node.interval, node.origin);
    let node = GapFill::new(input, node.bucket, node.keys.clone(), spans, fills)?;
    Ok(extension(node))
}
