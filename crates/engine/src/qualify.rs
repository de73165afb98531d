//! QUALIFY without a window function in its own condition.
//!
//! `SELECT yoy(…) OVER (…) … QUALIFY period_start >= DATE '2024-01-01'` is how growth is asked for
//! from a day on: WHERE would remove the bases. DataFusion 55 refuses it, since it looks for a window
//! function in the SELECT list only after having replaced it by a column. So the condition gets one
//! of the list's window functions, in a way that changes neither its value nor the work.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;

use crate::guard::query_of;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select, SetExpr,
    Value, Visit, VisitMut, Visitor, VisitorMut, WindowSpec, WindowType,
};

/// Rewrites every such QUALIFY of a statement.
pub(crate) fn complete(statement: &mut Statement) {
    let Some(query) = query_of(statement) else {
        return;
    };
    let _ = query.visit(&mut Complete);
}

struct Complete;

impl VisitorMut for Complete {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        complete_arms(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn complete_arms(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            complete_arms(left);
            complete_arms(right);
        }
        SetExpr::Select(select) => complete_select(select),
        _ => {}
    }
}

/// `condition` becomes `(condition) AND (window IS NULL OR true)`.
fn complete_select(select: &mut Select) {
    let windows = select.named_window.clone();
    let Some(condition) = &mut select.qualify else {
        return;
    };
    // The planner looks names of windows up in the SELECT list only.
    let _ = condition.visit(&mut Unname { windows: &windows });
    if window_in(condition).is_some() {
        return;
    }
    let Some(mut window) = select.projection.iter().find_map(window_in) else {
        return;
    };
    let _ = VisitMut::visit(&mut window, &mut Unname { windows: &windows });
    let condition = condition.clone();
    let always = binary(Expr::IsNull(Box::new(window)), BinaryOperator::Or, truth());
    let condition = Expr::Nested(Box::new(condition));
    let always = Expr::Nested(Box::new(always));
    select.qualify = Some(binary(condition, BinaryOperator::And, always));
}

/// Puts the definitions of named windows where their names are.
struct Unname<'a> {
    windows: &'a [NamedWindowDefinition],
}

impl VisitorMut for Unname<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::NamedWindow(name)) = &function.over
            && let Some(spec) = self.spec(name)
        {
            function.over = Some(WindowType::WindowSpec(spec));
        }
        ControlFlow::Continue(())
    }
}

impl Unname<'_> {
    fn spec(&self, name: &Ident) -> Option<WindowSpec> {
        let named = |it: &&NamedWindowDefinition| it.0.value.eq_ignore_ascii_case(&name.value);
        match &self.windows.iter().find(named)?.1 {
            NamedWindowExpr::WindowSpec(spec) => Some(spec.clone()),
            NamedWindowExpr::NamedWindow(_) => None,
        }
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn truth() -> Expr {
    Expr::Value(Value::Boolean(true).into())
}

/// The first window function in a part of a statement, its subqueries left out.
fn window_in(part: &impl Visit) -> Option<Expr> {
    match part.visit(&mut FindWindow { subqueries: 0 }) {
        ControlFlow::Break(window) => Some(window),
        ControlFlow::Continue(()) => None,
    }
}

struct FindWindow {
    subqueries: usize,
}

impl Visitor for FindWindow {
    type Break = Expr;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Expr> {
        self.subqueries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Expr> {
        self.subqueries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Expr> {
        match expr {
            Expr::Function(function) if function.over.is_some() && self.subqueries == 0 => {
                ControlFlow::Break(expr.clone())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
