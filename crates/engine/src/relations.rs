//! Relations over tables: `as_of('quotas', DATE '2023-10-01')` and its kin.
//!
//! A relation opens a snapshot and may take parameters, which table functions of the engine's can't.
//! So each is replaced before planning: a view of a table by a table of its own, a composed relation
//! by the query that it stands for. What is left are ordinary tables and subqueries.

mod asof_join;
mod calendar;
mod provenance;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr as LogicalExpr, ExprSchemable as _, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query,
    Statement as SqlStatement, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use didymium_model::Day;
use didymium_store::View;

use crate::{Error, ErrorKind, Parameters, Result, Value as PlaceholderValue, guard};

/// What a name in a statement stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Every row of a table.
    Rows(String),
    /// A view of a series table, as of a day's knowledge.
    View(String, View, Day),
    /// A table's own commits.
    Commits(String),
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
        if day > self.day {
            let message = match self.day < self.latest {
                true => format!(
                    "{day} lies beyond the request's published_as_of, {}",
                    self.day
                ),
                false => {
                    format!("{day} lies in the future: what will be known then is not known yet")
                }
            };
            return Err(Error::invalid(message));
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
        defined: Vec::new(),
    };
    match query.visit(&mut expand) {
        ControlFlow::Continue(()) => Ok(expand.sources),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A relation that is a query over others, in `relations/`.
struct Composed {
    name: &'static str,
    /// Its arguments; `None` for a view, which has no parentheses.
    parameters: Option<&'static [&'static str]>,
    sql: &'static str,
}

const COMPOSED: [Composed; 4] = [
    Composed {
        name: "quota_issued",
        parameters: Some(&["year", "as_of"]),
        sql: include_str!("relations/quota_issued.sql"),
    },
    Composed {
        name: "quota_execution",
        parameters: Some(&["year", "as_of"]),
        sql: include_str!("relations/quota_execution.sql"),
    },
    Composed {
        name: "published_vs_computed",
        parameters: Some(&[]),
        sql: include_str!("relations/published_vs_computed.sql"),
    },
    // A view: named like a table.
    Composed {
        name: "quotas_by_year",
        parameters: None,
        sql: include_str!("relations/quotas_by_year.sql"),
    },
];

/// Relations over any table, which [`COMPOSED`] does not list.
const VIEWS: [&str; 5] = ["all_vintages", "as_of", "conflicts", "latest", "revisions"];

/// Whether a relation of our own has the name.
pub(crate) fn is_relation(name: &str) -> bool {
    VIEWS.contains(&name)
        || ["asof_join", "calendar", "provenance"].contains(&name)
        || COMPOSED.iter().any(|composed| composed.name == name)
}

struct Expand<'a> {
    state: &'a SessionState,
    knowledge: Knowledge,
    sources: Sources,
    /// The common tables of the queries around the current place.
    defined: Vec<BTreeSet<String>>,
}

impl VisitorMut for Expand<'_> {
    type Break = Error;

    /// A name that a query around a place defines is not ours there.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let names = tables.map(|table| table.alias.name.value.to_lowercase());
        self.defined.push(names.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.defined.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table {
            name, alias, args, ..
        } = factor
        else {
            return ControlFlow::Continue(());
        };
        let relation = name.to_string().to_lowercase();
        let replaced = match args {
            Some(args) => self.relation(&relation, &args.args, alias.as_ref()),
            None if self.defined.iter().any(|names| names.contains(&relation)) => Ok(None),
            None => self.view(&relation, alias.as_ref()),
        };
        match replaced {
            Ok(Some(new)) => *factor = new,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Expand<'_> {
    /// What a relation with arguments is replaced by; `None` for one that is not ours.
    fn relation(
        &mut self,
        name: &str,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<Option<TableFactor>> {
        let (parameters, view): (&[&str], _) = match name {
            "all_vintages" => (&["table"], None),
            "as_of" => (&["table", "day"], Some(View::Current)),
            "latest" => (&["table", "as_of"], Some(View::Latest)),
            "revisions" => (&["table", "as_of"], Some(View::Revisions)),
            "conflicts" => (&["table", "as_of"], Some(View::Conflicts)),
            "asof_join" => return asof_join::join(args, alias).map(Some),
            "calendar" => return calendar::query(args, alias_of(alias, name)).map(Some),
            "provenance" => return self.provenance(args, alias).map(Some),
            _ => return self.composed(name, args, alias),
        };
        let args = Arguments::of(name, parameters, args)?;
        let table = args.text("table")?;
        let day = match args.get(parameters[parameters.len() - 1]) {
            Some(day) if view.is_some() => self.day(name, day)?,
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
        Ok(Some(table_named(&shown, alias_of(alias, name))))
    }

    /// A composed relation's query, with its arguments in their places.
    fn composed(
        &mut self,
        name: &str,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<Option<TableFactor>> {
        let composed = COMPOSED.iter().find(|composed| composed.name == name);
        let Some((composed, parameters)) = composed.and_then(|it| Some((it, it.parameters?)))
        else {
            return Ok(None);
        };
        let args = Arguments::of(name, parameters, args)?;
        let mut values = Parameters::default();
        if parameters.contains(&"as_of") {
            let day = match args.get("as_of") {
                Some(day) => self.day(name, day)?,
                None => self.knowledge.day,
            };
            values
                .named
                .insert("as_of".to_owned(), PlaceholderValue::Date(day));
        }
        if parameters.contains(&"year") {
            let year = args
                .get("year")
                .and_then(|year| self.constant(year, DataType::Int64));
            let year = match year {
                Some(ScalarValue::Int64(Some(year))) => PlaceholderValue::Integer(year),
                Some(ScalarValue::Int64(None)) => PlaceholderValue::Null,
                _ => return Err(args.missing("year")),
            };
            values.named.insert("year".to_owned(), year);
        }
        composed.query(&values, alias).map(Some)
    }

    /// What a view's name is replaced by; `None` for a name that is no view.
    fn view(&self, name: &str, alias: Option<&TableAlias>) -> Result<Option<TableFactor>> {
        let composed = COMPOSED.iter().find(|composed| composed.name == name);
        let composed = composed.filter(|composed| composed.parameters.is_none());
        composed
            .map(|composed| composed.query(&Parameters::default(), alias))
            .transpose()
    }

    /// A constant expression's day, if it may be asked for.
    fn day(&self, relation: &str, expr: &Expr) -> Result<Day> {
        match self.constant(expr, DataType::Date32) {
            Some(ScalarValue::Date32(Some(days))) => self.knowledge.check(Day::from_epoch(days)),
            _ => Err(Error::invalid(format!(
                "{relation}: the day must be a constant DATE"
            ))),
        }
    }

    /// The value of an expression without columns.
    fn constant(&self, expr: &Expr, data_type: DataType) -> Option<ScalarValue> {
        let empty = DFSchema::empty();
        let with_alias = ExprWithAlias {
            expr: expr.clone(),
            alias: None,
        };
        let value = self
            .state
            .create_logical_expr_from_sql_expr(with_alias, &empty)
            .ok()?;
        // A number is no day, though it can be cast to one.
        if data_type == DataType::Date32 && value.get_type(&empty).ok()?.is_numeric() {
            return None;
        }
        // What current_date means.
        let mut state = self.state.clone();
        state.mark_start_execution();
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(empty.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let value = simplifier.coerce(cast(value, data_type), &empty).ok()?;
        match simplifier.simplify(value).ok()? {
            LogicalExpr::Literal(value, _) => Some(value),
            _ => None,
        }
    }
}

impl Composed {
    fn query(&self, values: &Parameters, alias: Option<&TableAlias>) -> Result<TableFactor> {
        let mut query = derived(self.sql, alias_of(alias, self.name))?;
        values.put_into(&mut query)?;
        Ok(query)
    }
}

/// A query of our own in the place of a table.
fn derived(sql: &str, alias: Option<TableAlias>) -> Result<TableFactor> {
    let broken = |error: String| {
        Error::new(
            ErrorKind::Internal,
            format!("a relation of our own: {error}"),
        )
    };
    let parsed = Parser::parse_sql(&GenericDialect {}, sql);
    let mut statements = parsed.map_err(|error| broken(error.to_string()))?;
    let Some(SqlStatement::Query(subquery)) = statements.pop() else {
        return Err(broken("it is no query".to_owned()));
    };
    Ok(TableFactor::Derived {
        lateral: false,
        subquery,
        alias,
        sample: None,
    })
}

/// A name as an identifier, whatever it holds.
fn name_in_sql(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
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
            "first" | "last" => "a day",
            "interval" => "an INTERVAL",
            "left" | "right" => "a table's name in quotes, such as 'exports'",
            "left_time" | "right_time" => "a column's name in quotes",
            "on" => "the key columns' names in quotes, with commas between them",
            "how" => "'left' or 'inner'",
            "table" => "a table's name in quotes, such as 'quotas'",
            "year" => "a year, such as 2024, or NULL for all",
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

/// The alias that a query gives a relation; else the relation's own name.
fn alias_of(alias: Option<&TableAlias>, name: &str) -> Option<TableAlias> {
    let own = || TableAlias {
        explicit: true,
        name: Ident::new(name),
        columns: Vec::new(),
        at: None,
    };
    Some(alias.cloned().unwrap_or_else(own))
}
