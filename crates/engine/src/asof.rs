//! `a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k`.
//!
//! The parser knows it and the planner does not. It becomes `a LEFT JOIN b ON asof_match(a.t >= b.t) AND
//! a.k = b.k`, which `didymium-functions` plans: names, aliases and nesting are those of any join.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, JoinConstraint, JoinOperator, ObjectName, Query, SetExpr,
    TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use crate::guard::query_of;
use crate::{Error, Result};

/// Rewrites the as-of joins of a statement.
///
/// # Errors
/// `InvalidInput` for USING and NATURAL, which name no sides.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<()> {
    let Some(query) = query_of(statement) else {
        return Ok(());
    };
    match query.visit(&mut Rewrite) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewrite;

impl VisitorMut for Rewrite {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        in_arms(&mut query.body)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => in_joins(table_with_joins),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn in_arms(body: &mut SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            in_arms(left)?;
            in_arms(right)
        }
        SetExpr::Select(select) => select.from.iter_mut().try_for_each(in_joins),
        _ => ControlFlow::Continue(()),
    }
}

fn in_joins(tables: &mut TableWithJoins) -> ControlFlow<Error> {
    for join in &mut tables.joins {
        let JoinOperator::AsOf {
            match_condition,
            constraint,
        } = &join.join_operator
        else {
            continue;
        };
        let matching = asof_match(match_condition.clone());
        let condition = match constraint {
            JoinConstraint::On(keys) => Expr::BinaryOp {
                left: Box::new(matching),
                op: BinaryOperator::And,
                right: Box::new(Expr::Nested(Box::new(keys.clone()))),
            },
            JoinConstraint::None => matching,
            JoinConstraint::Using(_) | JoinConstraint::Natural => {
                return ControlFlow::Break(Error::invalid(
                    "ASOF JOIN: write ON a.key = b.key instead of USING",
                ));
            }
        };
        join.join_operator = JoinOperator::LeftOuter(JoinConstraint::On(condition));
    }
    ControlFlow::Continue(())
}

/// The condition within the function that marks it.
pub(crate) fn asof_match(condition: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("asof_match")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(condition))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
