//! Orders the windows of the period functions by their period.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::expr::Sort;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawWindowExpr};
use datafusion_expr::{Expr, WindowFrame, WindowFunctionDefinition};

use crate::arguments::Constant;
use crate::error::invalid;
use crate::period_window::PeriodWindow;

/// Gives a period function the order that it needs, whatever order the query writes.
///
/// `yoy(value)` takes its period from ORDER BY, `yoy(value, period)` needs no ORDER BY, and a
/// descending one is turned round: a result never depends on the order of rows. What can't be meant
/// is refused: an order by something else, a frame, FILTER, DISTINCT, IGNORE NULLS.
#[derive(Debug)]
pub(crate) struct WindowOrder;

impl ExprPlanner for WindowOrder {
    fn plan_window(&self, mut window: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let WindowFunctionDefinition::WindowUDF(function) = window.func_def.clone() else {
            return Ok(PlannerResult::Original(window));
        };
        let Some(function) = function.inner().downcast_ref::<PeriodWindow>() else {
            return Ok(PlannerResult::Original(window));
        };
        refuse_modifiers(function.name, &window)?;
        let periods = take_periods(function, &mut window)?;
        if let Some(last) = window.args.last_mut() {
            fold_options(last)?;
        }
        window.order_by = ordered_by(function.name, periods, window.order_by)?;
        window.window_frame = WindowFrame::new(Some(false));
        Ok(PlannerResult::Original(window))
    }
}

fn refuse_modifiers(function: &str, window: &RawWindowExpr) -> Result<()> {
    let without_frame = [Some(false), Some(true), None].map(WindowFrame::new);
    if !without_frame.contains(&window.window_frame) {
        return Err(invalid(
            function,
            "rows are told apart by their periods and not by their number: leave the frame (ROWS, RANGE, GROUPS) out",
        ));
    }
    if window.filter.is_some() || window.distinct || window.null_treatment.is_some() {
        return Err(invalid(
            function,
            "FILTER, DISTINCT and IGNORE NULLS have no meaning here: filter the rows in a subquery",
        ));
    }
    Ok(())
}

/// The period's expressions: the arguments after the value, or the ORDER BY where there are none.
fn take_periods(function: &PeriodWindow, window: &mut RawWindowExpr) -> Result<Vec<Expr>> {
    let end = window.args.len() - constants(function, &window.args);
    if end > 1 {
        return Ok(window.args[1..end].to_vec());
    }
    let periods: Vec<Expr> = window
        .order_by
        .iter()
        .map(|sort| sort.expr.clone())
        .collect();
    if end == 0 || !(1..=2).contains(&periods.len()) {
        return Err(invalid(
            function.name,
            format!(
                "name the period, as in {}, or order the window by it: OVER (PARTITION BY series ORDER BY period_start, period_end)",
                function.documentation.syntax_example
            ),
        ));
    }
    window.args.splice(1..1, periods.iter().cloned());
    Ok(periods)
}

/// Turns a struct of constants into one constant. The optimizer would do it later, under an alias, and
/// DataFusion 55 then takes the sort keys of two calls in one window for different ones.
fn fold_options(options: &mut Expr) -> Result<()> {
    let Expr::ScalarFunction(call) = &options else {
        return Ok(());
    };
    if call.name() != "named_struct" {
        return Ok(());
    }
    let mut fields: Vec<(FieldRef, ArrayRef)> = Vec::new();
    for pair in call.args.chunks(2) {
        let [Expr::Literal(name, _), Expr::Literal(value, _)] = pair else {
            return Ok(());
        };
        let Some(name) = name.try_as_str().flatten() else {
            return Ok(());
        };
        let field = Field::new(name, value.data_type(), true);
        fields.push((Arc::new(field), value.to_array()?));
    }
    let folded = ScalarValue::Struct(Arc::new(StructArray::from(fields)));
    *options = Expr::Literal(folded, None);
    Ok(())
}

/// How many of the last arguments are no columns: the constant behind the period, the options.
fn constants(function: &PeriodWindow, args: &[Expr]) -> usize {
    let mut rest = args;
    if let [before @ .., Expr::ScalarFunction(options)] = rest
        && options.name() == "named_struct"
    {
        rest = before;
    }
    let arguments = &function.arguments;
    if let [_, before @ .., last] = rest
        && (arguments.constant.is_required() || is_optional(arguments.constant, last))
    {
        return args.len() - 1 - before.len();
    }
    args.len() - rest.len()
}

fn is_optional(constant: Constant, argument: &Expr) -> bool {
    let Expr::Literal(value, _) = argument else {
        return false;
    };
    match constant {
        Constant::OptionalInterval => matches!(
            value,
            ScalarValue::IntervalMonthDayNano(_)
                | ScalarValue::IntervalYearMonth(_)
                | ScalarValue::IntervalDayTime(_)
        ),
        Constant::OptionalMonth => value.data_type().is_integer(),
        Constant::Nothing | Constant::Interval | Constant::Day => false,
    }
}

/// The periods in ascending order, then whatever else the query orders by.
fn ordered_by(function: &str, periods: Vec<Expr>, written: Vec<Sort>) -> Result<Vec<Sort>> {
    if let Some(first) = written.first()
        && first.expr != periods[0]
    {
        return Err(invalid(
            function,
            format!(
                "the window is ordered by {}: order it by the period, {}",
                first.expr, periods[0]
            ),
        ));
    }
    let rest = written
        .into_iter()
        .filter(|sort| !periods.contains(&sort.expr))
        .collect::<Vec<_>>();
    let periods = periods
        .iter()
        .map(|period| period.clone().sort(true, false));
    Ok(periods.chain(rest).collect())
}
