//! What a statement's text may be, before anything is planned.
//!
//! A stack that overflows ends the process and can't be caught, so depth is counted on the tokens,
//! before the parser builds a tree of that depth.

mod depth;
mod shape;

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Statement as SqlStatement, Visit};
use datafusion::sql::sqlparser::dialect::GenericDialect;

use crate::limits::{NESTING, SQL_BYTES};
use crate::{Error, ErrorKind, Result};

/// The one query that the text holds.
///
/// # Errors
/// `InvalidInput` for text that is no single statement or breaks a limit, `Denied` for a statement
/// that does anything but read, `Unsupported` for clauses that would be ignored.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let statement = statement(sql)?;
    check(&statement)?;
    Ok(statement)
}

/// The one statement that the text holds, whatever it does.
///
/// # Errors
/// `InvalidInput` for text that is no single statement or breaks a limit.
pub(crate) fn statement(sql: &str) -> Result<Statement> {
    if sql.len() > SQL_BYTES {
        return Err(Error::invalid(format!(
            "the statement has {} bytes, {SQL_BYTES} are allowed: load long lists as a table",
            sql.len()
        )));
    }
    let tokens = depth::tokens(sql)?;
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(NESTING)
        .build()
        .map_err(|error| Error::while_planning(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| syntax(&error))?;
    let statement = statements
        .pop_front()
        .ok_or_else(|| Error::invalid("there is no statement"))?;
    if !statements.is_empty() {
        return Err(Error::invalid(
            "one statement at a time: send each in a request of its own",
        ));
    }
    Ok(statement)
}

fn syntax(error: &datafusion::common::DataFusionError) -> Error {
    let error = Error::while_planning(error);
    if error.to_string().contains("recursion limit exceeded") {
        return Error::invalid(format!(
            "the statement is nested more than {NESTING} levels deep"
        ));
    }
    error
}

/// Refuses what is no query, and what only breaks a limit on its shape.
///
/// # Errors
/// `Denied`, `InvalidInput`, `Unsupported`.
pub(crate) fn check(statement: &Statement) -> Result<()> {
    let query = match statement {
        Statement::Statement(statement) => statement.as_ref(),
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(statement) => statement.as_ref(),
            _ => return Err(denied("this statement")),
        },
        Statement::CreateExternalTable(_) => return Err(denied("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => return Err(denied("COPY")),
        Statement::Reset(_) => return Err(denied("RESET")),
    };
    if !matches!(query, SqlStatement::Query(_)) {
        let text = query.to_string();
        let verb = text.split_whitespace().next().unwrap_or("this statement");
        return Err(denied(verb));
    }
    let mut shape = shape::Shape::default();
    match query.visit(&mut shape) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The query in a statement that has passed [`parse`].
pub(crate) fn query_of(statement: &mut Statement) -> Option<&mut SqlStatement> {
    match statement {
        Statement::Statement(statement) => Some(statement.as_mut()),
        Statement::Explain(explain) => match explain.statement.as_mut() {
            Statement::Statement(statement) => Some(statement.as_mut()),
            _ => None,
        },
        _ => None,
    }
}

fn denied(what: &str) -> Error {
    let what = what.to_uppercase();
    // What pandas sends for to_sql(…, if_exists="replace"), of which its user knows nothing.
    let instead = match what.as_str() {
        "DROP" => {
            "; a table's rows are replaced by adbc_ingest with mode=\"replace\", and the table is dropped by `didymium table drop`"
        }
        _ => "",
    };
    Error::new(
        ErrorKind::Denied,
        format!(
            "{what} is not allowed: a statement reads (SELECT, WITH, VALUES, EXPLAIN), or makes and drops views{instead}"
        ),
    )
}

#[cfg(test)]
mod tests;
