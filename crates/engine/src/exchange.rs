//! The rates that `convert_currency` uses: a table's rows, read once per statement.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Date32Type, Float64Type};
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Visit, Visitor};
use didymium_model::{Day, ExchangeRates};

use crate::session::{Own, with_tables};
use crate::share::Share;
use crate::{Error, ErrorKind, Result, guard};

/// The table of rates.
pub(crate) const TABLE: &str = "exchange_rates";

/// What is read of it.
const COLUMNS: [&str; 4] = ["base_currency", "quote_currency", "valid_on", "rate"];

/// The function that reads the rates.
const FUNCTION: &str = "convert_currency";

/// Rates are held in memory while a statement runs: some 100 bytes each.
const MOST_RATES: usize = 1_000_000;

/// Whether a statement converts currencies.
pub(crate) fn is_needed(statement: &mut Statement) -> bool {
    let Some(query) = guard::query_of(statement) else {
        return false;
    };
    query.visit(&mut Finder).is_break()
}

/// Stops at the function's name.
struct Finder;

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function)
                if function
                    .name
                    .to_string()
                    .trim_matches('"')
                    .eq_ignore_ascii_case(FUNCTION) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Reads the rates of a version of the table.
///
/// # Errors
/// `OverLimit` where it holds more than a statement may, `Precondition` where it has
/// other columns.
pub(crate) async fn rates(
    base: &SessionState,
    table: Arc<dyn TableProvider>,
    share: &Arc<Share>,
) -> Result<ExchangeRates> {
    let tables = BTreeMap::from([(TABLE.to_owned(), table)]);
    let own = Own {
        partitions: 1,
        time_zone: None,
        share: Arc::clone(share),
    };
    let state = with_tables(base, tables, BTreeMap::new(), &own)?;
    let rows = SessionContext::new_with_state(state).table(TABLE).await?;
    let batches = rows
        .select_columns(&COLUMNS)
        .map_err(|_| unusable())?
        .limit(0, Some(MOST_RATES + 1))?
        .collect()
        .await?;
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > MOST_RATES {
        return Err(Error::new(
            ErrorKind::OverLimit,
            format!("{FUNCTION} reads at most {MOST_RATES} rates, and the table {TABLE} has more"),
        ));
    }
    let mut rates = ExchangeRates::default();
    for batch in &batches {
        add(batch, &mut rates).ok_or_else(unusable)?;
    }
    Ok(rates)
}

fn add(batch: &RecordBatch, rates: &mut ExchangeRates) -> Option<()> {
    let [bases, quotes, days, values] = batch.columns() else {
        return None;
    };
    let bases = bases.as_string_opt::<i32>()?.iter();
    let quotes = quotes.as_string_opt::<i32>()?.iter();
    let days = days.as_primitive_opt::<Date32Type>()?.iter();
    let values = values.as_primitive_opt::<Float64Type>()?.iter();
    for (((base, quote), day), rate) in bases.zip(quotes).zip(days).zip(values) {
        if let (Some(base), Some(quote), Some(day), Some(rate)) = (base, quote, day, rate) {
            rates.add(base, quote, Day::from_epoch(day), rate);
        }
    }
    Some(())
}

fn unusable() -> Error {
    Error::new(
        ErrorKind::Precondition,
        format!(
            "{FUNCTION} needs a table {TABLE} with {} (text, text, date, double)",
            COLUMNS.join(", ")
        ),
    )
}
