//! Relations over tables: `as_of('quotas', DATE '2023-10-01')` and its kin.
//!
//! A relation opens a snapshot and may take parameters, which table functions of the engine's can't.
//! So each is replaced before planning: a view of a table by a table of its own, a composed relation
//! by the query that it stands for. What is left are ordinary tables and subqueries.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, cast};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, TableFactor,
    Value, VisitMut, VisitorMut,
};
use didymium_model::Day;
use didymium_store::View;

use crate::{Error, Result, guard};

/// What a name in a statement stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Every row of a table.
    Rows(String),
    /// A view of a series table, as of a day's knowledge.
    View(String, View, Day),
}

/// A statement's relations, by the names that replaced them.
pub(crate) type Sources = BTreeMap<String, Source>;

/// The day up to which a statement knows, and the last one that it may ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knowledge {
    pub(crate) day: Day,
    pub(crate) latest: Day,
}

impl Knowledge {
    /// A day that a statement may ask for.
    pub(crate) fn check(self, day: Day) -> Result<Day> {
        if day > self.latest {
            return Err(Error::invalid(format!(
                "{day} lies in the future: what will be known then is not known yet"
            )));
        }
        Ok(day)
    }
}

/// Replaces the relations of a statement.
pub(crate) fn expand(
    statement: &mut Statement,
    state: &SessionState,
    knowledge: Knowledge,
) -> Result<Sources> {
    let Some(query) = guard::query_of(statement) else {
        return Ok(Sources::new());
    };
    let mut expand = Expand {
        state,
        knowledge,
        sources: Sources::new(),
    };
    match query.visit(&mut expand) {
        ControlFlow::Continue(()) => Ok(expand.sources),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Expand<'a> {
    state: &'a SessionState,
    knowledge: Knowledge,
    sources: Sources,
}

impl VisitorMut for Expand<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } = factor
        else {
            return ControlFlow::Continue(());
        };
        let relation = name.to_string().to_lowercase();
        let replaced = match self.relation(&relation, &args.args, alias.take()) {
            Ok(replaced) => replaced,
            Err(error) => return ControlFlow::Break(error),
        };
        match replaced {
            Replacement::Is(new) => *factor = *new,
            Replacement::NotOurs(taken) => *alias = taken,
        }
        ControlFlow::Continue(())
    }
}

enum Replacement {
    Is(Box<TableFactor>),
    /// A function of the engine's own; its alias goes back.
    NotOurs(Option<TableAlias>),
}

impl Expand<'_> {
    fn relation(
        &mut self,
        name: &str,
        args: &[FunctionArg],
        alias: Option<TableAlias>,
    ) -> Result<Replacement> {
        let (parameters, view): (&[&str], _) = match name {
            "all_vintages" => (&["table"], None),
            "as_of" => (&["table", "day"], Some(View::Current)),
            "revisions" => (&["table", "as_of"], Some(View::Revisions)),
            "conflicts" => (&["table", "as_of"], Some(View::Conflicts)),
            _ => return Ok(Replacement::NotOurs(alias)),
        };
        let args = Arguments::of(name, parameters, args)?;
        let table = args.text("table")?;
        let day = match args.get(parameters[parameters.len() - 1]) {
            Some(day) if view.is_some() => self.knowledge.check(self.day(name, day)?)?,
            None if name == "as_of" => return Err(args.missing("day")),
            _ => self.knowledge.day,
        };
        let (source, shown) = match view {
            None => (
                Source::Rows(table.clone()),
                format!("all_vintages('{table}')"),
            ),
            Some(view) => (
                Source::View(table.clone(), view, day),
                format!("{name}('{table}', {day})"),
            ),
        };
        self.sources.insert(shown.clone(), source);
        Ok(Replacement::Is(Box::new(table_named(
            &shown,
            alias.or_else(|| Some(alias_named(name))),
        ))))
    }

    /// A constant expression's day.
    fn day(&self, relation: &str, expr: &Expr) -> Result<Day> {
        let not_a_day = || Error::invalid(format!("{relation}: the day must be a constant DATE"));
        let empty = DFSchema::empty();
        let with_alias = ExprWithAlias {
            expr: expr.clone(),
            alias: None,
        };
        let evaluated = self
            .state
            .create_logical_expr_from_sql_expr(with_alias, &empty)
            .and_then(|day| {
                self.state
                    .create_physical_expr(cast(day, DataType::Date32), &empty)
            })
            .and_then(|day| day.evaluate(&one_row()));
        let scalar = match evaluated {
            Ok(ColumnarValue::Scalar(scalar)) => scalar,
            Ok(ColumnarValue::Array(array)) => {
                ScalarValue::try_from_array(&array, 0).map_err(|_| not_a_day())?
            }
            Err(_) => return Err(not_a_day()),
        };
        match scalar {
            ScalarValue::Date32(Some(days)) => Ok(Day::from_epoch(days)),
            _ => Err(not_a_day()),
        }
    }
}

/// A relation's arguments by name, whether written by place or as `name => value`.
struct Arguments<'a> {
    relation: &'a str,
    given: BTreeMap<&'a str, &'a Expr>,
}

impl<'a> Arguments<'a> {
    fn of(relation: &'a str, parameters: &[&'a str], args: &'a [FunctionArg]) -> Result<Self> {
        let invalid = |rule: String| Err(Error::invalid(format!("{relation}: {rule}")));
        let usage = format!("expected {relation}({})", parameters.join(", "));
        let mut given = BTreeMap::new();
        for (place, arg) in args.iter().enumerate() {
            let (name, arg) = match arg {
                FunctionArg::Unnamed(arg) => (parameters.get(place).copied(), arg),
                FunctionArg::Named { name, arg, .. } => (known(parameters, &name.value), arg),
                FunctionArg::ExprNamed { name, arg, .. } => {
                    (known(parameters, &name.to_string()), arg)
                }
            };
            let (Some(name), FunctionArgExpr::Expr(arg)) = (name, arg) else {
                return invalid(usage);
            };
            if given.insert(name, arg).is_some() {
                return invalid(format!("{name} is given twice"));
            }
        }
        Ok(Self { relation, given })
    }

    fn get(&self, name: &str) -> Option<&'a Expr> {
        self.given.get(name).copied()
    }

    /// A text constant.
    fn text(&self, name: &str) -> Result<String> {
        match self.get(name) {
            Some(Expr::Value(value)) => match &value.value {
                Value::SingleQuotedString(text) => Ok(text.clone()),
                _ => Err(self.missing(name)),
            },
            _ => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let form = match name {
            "table" => "a table's name in quotes, such as 'quotas'",
            _ => "a DATE",
        };
        Error::invalid(format!("{}: {name} must be {form}", self.relation))
    }
}

fn known<'a>(parameters: &[&'a str], name: &str) -> Option<&'a str> {
    parameters
        .iter()
        .copied()
        .find(|parameter| parameter.eq_ignore_ascii_case(name))
}

fn table_named(name: &str, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn alias_named(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::new(name),
        columns: Vec::new(),
        at: None,
    }
}

fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let schema = Arc::new(Schema::empty());
    RecordBatch::try_new_with_options(schema, Vec::new(), &options)
        .expect("a batch without columns holds any number of rows")
}
