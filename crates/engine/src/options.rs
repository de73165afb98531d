//! Options by name, `yoy(value, period, signed => true) OVER (…)`, and names by use.
//!
//! DataFusion can put named arguments into the places of a fixed list, but leaves none of them out. The
//! period functions take their options as one struct instead, which is what names become here.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Value, VisitMut, VisitorMut,
};

use crate::guard::query_of;

/// Turns the named arguments of Didymium's functions into what their plans take: a struct of options,
/// or the last place.
pub(crate) fn gather(statement: &mut Statement) {
    let functions = didymium_functions::window_functions();
    let names = functions.iter().map(|it| it.name().to_owned()).collect();
    if let Some(query) = query_of(statement) {
        let _ = query.visit(&mut Gather { names });
    }
}

struct Gather {
    names: Vec<String>,
}

impl VisitorMut for Gather {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && function.over.is_some()
            && is_among(&function.name, &self.names)
            && let FunctionArguments::List(list) = &mut function.args
        {
            gather_list(list);
        }
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &mut function.args
        {
            place_last(&function.name, list);
            if function.over.is_none() {
                name_fillers(&mut function.name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// `locf(sum(x))` without OVER is gap filling's; in a plan it has a name of its own, since a scalar function
/// would hide the window function of its name.
fn name_fillers(name: &mut ObjectName) {
    for filler in ["locf", "interpolate"] {
        if is_among(name, &[filler.to_owned()]) {
            *name = ObjectName::from(vec![Ident::new(format!("gapfill_{filler}"))]);
        }
    }
}

/// The one argument that may be left out, by function, and its place.
const LAST: [(&str, &str, usize); 2] =
    [("fiscal_year", "named_by", 2), ("time_bucket", "origin", 2)];

/// `fiscal_year(day, 7, named_by => 'start')` becomes `fiscal_year(day, 7, 'start')`.
fn place_last(function: &ObjectName, list: &mut FunctionArgumentList) {
    let is_named = |argument: &FunctionArg, place: usize| {
        LAST.iter().any(|(name, last, at)| {
            let names = [(*name).to_owned()];
            *at == place
                && is_among(function, &names)
                && matches!(argument, FunctionArg::Named { name, .. } if name.value.eq_ignore_ascii_case(last))
        })
    };
    let place = list.args.len().saturating_sub(1);
    if let Some(argument) = list.args.last_mut()
        && is_named(argument, place)
        && let FunctionArg::Named { arg, .. } = argument
    {
        *argument = FunctionArg::Unnamed(arg.clone());
    }
}

fn is_among(name: &ObjectName, names: &[String]) -> bool {
    let name = name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| {
        names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&name.value))
    })
}

/// `(value, name => x)` becomes `(value, named_struct('name', x))`.
fn gather_list(list: &mut FunctionArgumentList) {
    let mut options = Vec::new();
    list.args.retain(|argument| match argument {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            operator: FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment,
        } => {
            let name = Value::SingleQuotedString(name.value.to_lowercase());
            options.push(unnamed(Expr::Value(name.into())));
            options.push(unnamed(value.clone()));
            false
        }
        _ => true,
    });
    if !options.is_empty() {
        list.args.push(unnamed(named_struct(options)));
    }
}

fn unnamed(value: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
}

fn named_struct(args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("named_struct")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
