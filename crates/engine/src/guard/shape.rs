//! What may not be in a query, at any depth.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, Query, Select, SetExpr, Statement as SqlStatement,
    TableFactor, Visitor,
};

use super::denied;
use crate::limits::{CUBE_COLUMNS, NESTED_OPERATORS, RELATIONS, SELECTED_COLUMNS};
use crate::{Error, ErrorKind};

/// Walks a query for what may not be in it, at any depth.
#[derive(Default)]
pub(super) struct Shape {
    statements: usize,
    /// Expressions around the current place.
    depth: usize,
    /// The queries around the current place, the innermost last.
    queries: Vec<Scope>,
}

/// One query: the planner puts a common table's plan wherever its name stands, so names that refer to
/// names that refer to names grow without bound out of a short text.
#[derive(Default)]
struct Scope {
    /// Its common tables, in order.
    names: Vec<String>,
    /// How many relations each of those visited so far stands for.
    sizes: Vec<usize>,
    /// Relations of the query itself, each common table at its size.
    relations: usize,
}

impl Shape {
    /// How many relations a name stands for: the innermost common table's, or one.
    fn size(&self, name: &str) -> usize {
        let named = |scope: &Scope| {
            let place = scope.names.iter().position(|known| known == name)?;
            scope.sizes.get(place).copied()
        };
        self.queries.iter().rev().find_map(named).unwrap_or(1)
    }

    /// Counts relations of the innermost query.
    fn add(&mut self, size: usize) -> ControlFlow<Error> {
        let Some(query) = self.queries.last_mut() else {
            return ControlFlow::Continue(());
        };
        query.relations = query.relations.saturating_add(size);
        if query.relations <= RELATIONS {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Error::invalid(format!(
            "the statement reads more than {RELATIONS} tables, common tables counted wherever they are named"
        )))
    }
}

impl Visitor for Shape {
    type Break = Error;

    /// `WITH … INSERT` is a query that holds a statement.
    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<Error> {
        self.statements += 1;
        if self.statements > 1 {
            let text = statement.to_string();
            return ControlFlow::Break(denied(text.split_whitespace().next().unwrap_or_default()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        refuse_ignored_clauses(query)?;
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables
            .map(|table| table.alias.name.value.to_lowercase())
            .collect();
        self.queries.push(Scope {
            names,
            ..Scope::default()
        });
        check_arms(&query.body)
    }

    /// Common tables are visited before the query's own body, in their order.
    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        let size = self.queries.pop().map_or(0, |scope| scope.relations);
        match self.queries.last_mut() {
            Some(outer) if outer.sizes.len() < outer.names.len() => {
                outer.sizes.push(size.max(1));
                ControlFlow::Continue(())
            }
            _ => self.add(size),
        }
    }

    /// In DataFusion 55 these panic without an argument.
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > NESTED_OPERATORS {
            return ControlFlow::Break(Error::invalid(format!(
                "an expression of more than {NESTED_OPERATORS} levels"
            )));
        }
        if let Expr::Cube(columns) = expr
            && columns.len() > CUBE_COLUMNS
        {
            return ControlFlow::Break(Error::invalid(format!(
                "a CUBE of more than {CUBE_COLUMNS} columns: each one doubles the groups"
            )));
        }
        let Expr::Function(function) = expr else {
            return ControlFlow::Continue(());
        };
        let has_arguments = match &function.args {
            FunctionArguments::None => false,
            FunctionArguments::Subquery(_) => true,
            FunctionArguments::List(list) => !list.args.is_empty(),
        };
        let name = function.name.0.last().and_then(|part| part.as_ident());
        let name = name.map_or_else(String::new, |name| name.value.to_lowercase());
        if !has_arguments && ["first_value", "last_value", "nth_value"].contains(&name.as_str()) {
            return ControlFlow::Break(Error::invalid(format!("{name} needs an argument")));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, relation: &TableFactor) -> ControlFlow<Error> {
        let size = match relation {
            TableFactor::Table { name, .. } => self.size(&name.to_string().to_lowercase()),
            // Its own relations are counted.
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => 0,
            _ => 1,
        };
        self.add(size)?;
        let ignored = match relation {
            TableFactor::Table {
                sample: Some(_), ..
            }
            | TableFactor::Derived {
                sample: Some(_), ..
            } => "TABLESAMPLE",
            TableFactor::Table {
                version: Some(_), ..
            } => "AS OF behind a table's name",
            TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => {
                "WITH behind a table's name"
            }
            TableFactor::Table { partitions, .. } if !partitions.is_empty() => "PARTITION",
            TableFactor::Table { index_hints, .. } if !index_hints.is_empty() => "an index hint",
            TableFactor::Table {
                json_path: Some(_), ..
            } => "a path behind a table's name",
            TableFactor::Table {
                with_ordinality: true,
                ..
            } => "WITH ORDINALITY",
            _ => return ControlFlow::Continue(()),
        };
        unsupported(ignored)
    }
}

fn unsupported(clause: &str) -> ControlFlow<Error> {
    ControlFlow::Break(Error::new(
        ErrorKind::Unsupported,
        format!("{clause} is not supported"),
    ))
}

/// Refuses what the parser knows and the planner would pass over, giving other rows than were asked for.
fn refuse_ignored_clauses(query: &Query) -> ControlFlow<Error> {
    let ignored = [
        (!query.locks.is_empty(), "FOR UPDATE"),
        (query.for_clause.is_some(), "FOR XML and FOR JSON"),
        (query.settings.is_some(), "SETTINGS"),
        (query.format_clause.is_some(), "FORMAT"),
    ];
    match ignored.iter().find(|(is_there, _)| *is_there) {
        Some((_, clause)) => unsupported(clause),
        None => ControlFlow::Continue(()),
    }
}

fn refuse_ignored_parts(select: &Select) -> ControlFlow<Error> {
    let modifiers = match &select.group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => modifiers,
    };
    let ignored = [
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE behind the SELECT list"),
        (select.select_modifiers.is_some(), "a modifier of SELECT"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
        (!modifiers.is_empty(), "WITH behind GROUP BY"),
        (!select.optimizer_hints.is_empty(), "an optimizer hint"),
    ];
    match ignored.iter().find(|(is_there, _)| *is_there) {
        Some((_, clause)) => unsupported(clause),
        None => ControlFlow::Continue(()),
    }
}

fn check_arms(body: &SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            check_arms(left)?;
            check_arms(right)
        }
        SetExpr::Select(select) if select.into.is_some() => {
            ControlFlow::Break(denied("SELECT INTO"))
        }
        SetExpr::Select(select) if select.projection.is_empty() => {
            ControlFlow::Break(Error::invalid("the SELECT list is empty"))
        }
        SetExpr::Select(select) if select.projection.len() > SELECTED_COLUMNS => {
            ControlFlow::Break(Error::invalid(format!(
                "a SELECT list of more than {SELECTED_COLUMNS} expressions"
            )))
        }
        SetExpr::Select(select) => refuse_ignored_parts(select),
        _ => ControlFlow::Continue(()),
    }
}
