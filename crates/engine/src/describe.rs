//! What a statement would give, without running it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::parser::Statement;
use didymium_model::Day;
use futures::FutureExt;

use crate::command::{self, Parsed, parsed};
use crate::conform::conformed_schema;
use crate::engine::Scope;
use crate::query::{self, panicked};
use crate::{Engine, Error, Parameters, QueryRequest, Result, Value, guard, parameters};

/// What a statement would give.
#[derive(Debug, Clone)]
pub struct Description {
    /// The columns of its result; none for a command.
    pub schema: SchemaRef,
    /// Its parameters that have no value, in order, each with the type that its place suggests.
    pub parameters: Vec<Field>,
    /// The version of each table that it would read now.
    pub versions: BTreeMap<String, u64>,
    /// The day up to which it would know.
    pub published_as_of: Day,
    /// Whether it does something rather than give rows.
    pub is_command: bool,
}

impl Engine {
    /// Plans a statement and tells what it would give. Parameters without a value may stay open. What is
    /// held is let go when planning ends.
    ///
    /// # Errors
    /// What its run would say before its first row.
    pub async fn describe(
        self: &Arc<Self>,
        request: QueryRequest,
        held: impl Send + 'static,
    ) -> Result<Description> {
        let engine = Arc::clone(self);
        let limit = self.limits().timeout;
        let limit = request.timeout.map_or(limit, |asked| asked.min(limit));
        self.run_within(limit, async move {
            // Planning goes on for a while after its client has gone.
            let _held = held;
            let described = AssertUnwindSafe(describe(&engine, request)).catch_unwind();
            described
                .await
                .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
        })
        .await
    }
}

impl Engine {
    /// The names of the parameters of a statement's text.
    ///
    /// # Errors
    /// `InvalidInput` for text that is no statement, and for parameters written in a way of their own.
    pub async fn parameter_names(&self, sql: String) -> Result<Vec<String>> {
        self.run_on_threads(async move { names_of(&mut guard::statement(&sql)?) })
            .await
    }
}

fn names_of(statement: &mut Statement) -> Result<Vec<String>> {
    match guard::query_of(statement) {
        Some(query) => parameters::names(query),
        None => Ok(Vec::new()),
    }
}

async fn describe(engine: &Engine, mut request: QueryRequest) -> Result<Description> {
    let published_as_of = engine.pins(&request)?.day();
    let described = |schema, parameters, versions, is_command| Description {
        schema,
        parameters,
        versions,
        published_as_of,
        is_command,
    };
    let mut statement = match parsed(&request.sql)? {
        Parsed::Query(statement) => statement,
        Parsed::Command(_) => {
            command::refuse_readers(&request)?;
            let nothing = Arc::new(Schema::empty());
            return Ok(described(nothing, Vec::new(), BTreeMap::new(), true));
        }
    };
    let names = names_of(&mut statement)?;
    let is_open = request.parameters == Parameters::default() && !names.is_empty();
    if !is_open {
        let plan = query::plan(engine, statement, &request).await?;
        let schema = conformed_schema(&plan.plan.schema());
        return Ok(described(schema, Vec::new(), plan.versions, false));
    }
    let constant = match guard::query_of(&mut statement) {
        Some(query) => parameters::names_in_relations(query)?,
        None => Vec::new(),
    };
    // The arguments of a relation are constants, of types that are not known: the first guess that fits
    // is as good as any, since the values themselves will decide.
    let mut first = None;
    for guesses in guesses(&constant, published_as_of) {
        match with_open_parameters(engine, statement.clone(), &request, &names, &guesses).await {
            Ok((schema, types)) => return Ok(described(schema, types, BTreeMap::new(), false)),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    // Other places want constants as well, such as the second argument of date_bin.
    for guess in likely(published_as_of) {
        request.parameters = filled(&names, &guess);
        if let Ok(plan) = query::plan(engine, statement.clone(), &request).await {
            let schema = conformed_schema(&plan.plan.schema());
            let types = names.iter().map(|name| untyped(name)).collect();
            return Ok(described(schema, types, plan.versions, false));
        }
    }
    Err(first.expect("there is at least one guess"))
}

/// The columns and the parameters' types as the planner infers them.
async fn with_open_parameters(
    engine: &Engine,
    mut statement: Statement,
    request: &QueryRequest,
    names: &[String],
    guesses: &BTreeMap<String, Value>,
) -> Result<(SchemaRef, Vec<Field>)> {
    if let Some(query) = guard::query_of(&mut statement) {
        parameters::leave_open(query, guesses)?;
    }
    let while_planning = |error| Error::while_planning(&error);
    let mut scope = Scope::of(engine, request)?;
    let state = engine.session(&mut statement, None, &mut scope).await?;
    let plan = state.statement_to_plan(statement).await;
    let plan = state.optimize(&plan.map_err(while_planning)?);
    let plan = plan.map_err(while_planning)?;
    let inferred = plan.get_parameter_fields().map_err(while_planning)?;
    let schema = conformed_schema(plan.schema().as_arrow());
    let types = names.iter().map(|name| {
        let field = inferred.get(&format!("${name}")).cloned().flatten();
        match field.map(|field| field.data_type().clone()) {
            Some(data_type) if data_type != DataType::Null => Field::new(name, data_type, true),
            _ => untyped(name),
        }
    });
    let types = Schema::new(types.collect::<Vec<_>>());
    let types = conformed_schema(&types);
    let types = types.fields().iter().map(|field| field.as_ref().clone());
    Ok((schema, types.collect()))
}

/// What clients are told of a parameter whose place takes any type.
fn untyped(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// What a constant may be.
fn likely(day: Day) -> [Value; 4] {
    [
        Value::Date(day),
        Value::Null,
        Value::Integer(1),
        Value::Text(String::new()),
    ]
}

/// Values for the parameters of relations: all of one kind, or the last of another kind than the others.
fn guesses(names: &[String], day: Day) -> Vec<BTreeMap<String, Value>> {
    let Some((last, others)) = names.split_last() else {
        return vec![BTreeMap::new()];
    };
    let mut guesses = Vec::new();
    for end in likely(day) {
        for other in likely(day) {
            let same = others.iter().map(|name| (name.clone(), other.clone()));
            let mut guess: BTreeMap<String, Value> = same.collect();
            guess.insert(last.clone(), end.clone());
            if !guesses.contains(&guess) {
                guesses.push(guess);
            }
        }
    }
    guesses
}

/// Every parameter with the same value.
fn filled(names: &[String], value: &Value) -> Parameters {
    let places = names.iter().filter_map(|name| name.parse::<usize>().ok());
    let named = names.iter().filter(|name| name.parse::<usize>().is_err());
    Parameters {
        positional: vec![value.clone(); places.max().unwrap_or_default()],
        named: named.map(|name| (name.clone(), value.clone())).collect(),
        offered: BTreeMap::new(),
    }
}
