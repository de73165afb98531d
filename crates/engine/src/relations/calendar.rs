//! `calendar(first, last, interval)`: the periods that follow each other, one row each.

use datafusion::sql::sqlparser::ast::{FunctionArg, Statement, TableAlias, TableFactor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::Arguments;
use crate::{Error, Result};

/// The query that the relation stands for.
pub(super) fn query(args: &[FunctionArg], alias: Option<TableAlias>) -> Result<TableFactor> {
    let args = Arguments::of("calendar", &["first", "last", "interval"], args)?;
    let expression = |name| args.get(name).ok_or_else(|| args.missing(name));
    // The expressions were parsed once; their text parses again.
    let sql = format!(
        "SELECT period['period_start'] AS period_start, period['period_end'] AS period_end \
         FROM (SELECT unnest(calendar_periods({}, {}, {})) AS period)",
        expression("first")?,
        expression("last")?,
        expression("interval")?
    );
    let mut statements = Parser::parse_sql(&GenericDialect {}, &sql)
        .map_err(|error| Error::invalid(format!("calendar: {error}")))?;
    let Some(Statement::Query(subquery)) = statements.pop() else {
        return Err(Error::invalid("calendar: its arguments are no expressions"));
    };
    Ok(TableFactor::Derived {
        lateral: false,
        subquery,
        alias,
        sample: None,
    })
}
