//! `asof_join('left', 'right', on => 'series', left_time => 'period_end', right_time => 'period_end')`: each
//! row of a table with the newest row of another that is not after it.

use datafusion::sql::sqlparser::ast::{FunctionArg, TableAlias, TableFactor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{Arguments, name_in_sql};
use crate::{Error, Result};

const PARAMETERS: [&str; 7] = [
    "left",
    "right",
    "on",
    "left_time",
    "right_time",
    "tolerance",
    "how",
];

/// The join that the relation stands for, of both tables by their names.
pub(super) fn join(args: &[FunctionArg], alias: Option<&TableAlias>) -> Result<TableFactor> {
    if alias.is_some() {
        return Err(Error::invalid(
            "asof_join takes no alias: its columns are those of the tables, by the tables' names",
        ));
    }
    let args = Arguments::of("asof_join", &PARAMETERS, args)?;
    let (left, right) = (
        name_in_sql(&args.text("left")?),
        name_in_sql(&args.text("right")?),
    );
    if left == right {
        return Err(Error::invalid(
            "asof_join: to join a table with itself, write a ASOF JOIN b with aliases",
        ));
    }
    let column = |table: &str, column: &str| format!("{table}.{}", name_in_sql(column));
    let left_time = column(&left, &args.text("left_time")?);
    let right_time = column(&right, &args.text("right_time")?);
    let tolerance = match args.get("tolerance") {
        None => String::new(),
        Some(interval) => format!(" AND {right_time} >= {left_time} - {interval}"),
    };
    let keys = args.text("on")?;
    let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    let keys: Vec<String> = keys
        .map(|key| format!(" AND {} = {}", column(&left, key), column(&right, key)))
        .collect();
    let kind = match args.get("how") {
        None => "LEFT",
        Some(_) => match args.text("how")?.as_str() {
            "left" => "LEFT",
            "inner" => "INNER",
            _ => return Err(args.missing("how")),
        },
    };
    let sql = format!(
        "({left} {kind} JOIN {right} ON asof_match({left_time} >= {right_time}{tolerance}){})",
        keys.concat()
    );
    let invalid = |error| Error::invalid(format!("asof_join: {error}"));
    Parser::new(&GenericDialect {})
        .try_with_sql(&sql)
        .and_then(|mut parser| parser.parse_table_factor())
        .map_err(invalid)
}
