//! `from_ytd` and `from_ytd_value`: what happened between two figures that count from the start of the
//! year.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::{Flow, FromYearToDate, Period};

use crate::arguments::{Arguments, Call, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::error::invalid;
use crate::period_window::{Behaviour, PeriodWindow, RowState};

const ARGUMENTS: Arguments = Arguments {
    periods: Periods::Pair,
    constant: Constant::OptionalMonth,
    options: &[],
};

/// The window function `from_ytd(value, period_start, period_end [, fiscal_start_month])`.
pub(crate) fn from_ytd() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "What happened between two cumulative figures of one year: a STRUCT of value, period_start \
         and period_end. The first figure of a year is its own flow; each later one covers exactly \
         the days since the figure before it, whatever their number: after January–February and \
         January–April comes March–April. A figure that was revised downward gives a negative flow. \
         value is NULL where either figure is NULL. An error where a figure does not count from the \
         start of its year, or comes twice in a partition.",
        "from_ytd(value, period_start, period_end [, fiscal_start_month])",
    )
    .with_argument("value", "The figure since the start of the year, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days that the figure covers: from the first of the year; taken from the window's ORDER \
         BY where left out.",
    )
    .with_argument(
        "fiscal_start_month",
        "The constant month, from 1 to 12, in which the year starts; 1 where left out.",
    )
    .with_sql_example(
        "SELECT part['period_start'] AS period_start, part['period_end'] AS period_end, part['value'] AS value\nFROM (SELECT from_ytd(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS part\n      FROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND cumulative)\nORDER BY period_start DESC",
    )
    .with_related_udf("from_ytd_value")
    .with_related_udf("ytd")
    .build();
    let flows = Behaviour::Rows(|call| start(call, Cell::Flow));
    Arc::new(PeriodWindow::new("from_ytd", ARGUMENTS, CellType::Flow, flows, documentation).into())
}

/// The window function `from_ytd_value(value, period_start, period_end [, fiscal_start_month])`.
pub(crate) fn from_ytd_value() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value of from_ytd alone, in the figure's own unit: NULL and errors as there. Which days \
         it covers depends on the figure before it; from_ytd says them.",
        "from_ytd_value(value, period_start, period_end [, fiscal_start_month])",
    )
    .with_argument("value, period, fiscal_start_month", "As from_ytd takes them.")
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       from_ytd_value(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS since_the_figure_before\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND cumulative\nORDER BY period_end DESC",
    )
    .with_related_udf("from_ytd")
    .build();
    let values =
        Behaviour::Rows(|call| start(call, |flow| Cell::Number(flow.and_then(|it| it.value))));
    let window = PeriodWindow::new(
        "from_ytd_value",
        ARGUMENTS,
        CellType::Number,
        values,
        documentation,
    );
    Arc::new(window.into())
}

fn start(call: &Call<'_>, cell: fn(Option<Flow>) -> Cell) -> Result<Box<dyn RowState>> {
    let flows = FromYearToDate::new(call.month()?)
        .ok_or_else(|| call.invalid("a year starts in a month from 1 to 12"))?;
    Ok(Box::new(Flows {
        function: call.function,
        flows,
        cell,
    }))
}

#[derive(Debug)]
struct Flows {
    function: &'static str,
    flows: FromYearToDate,
    cell: fn(Option<Flow>) -> Cell,
}

impl RowState for Flows {
    fn next(&mut self, period: Option<Period>, value: Option<f64>) -> Result<Cell> {
        let flow = match period {
            None => None,
            Some(period) => self
                .flows
                .next(period, value)
                .map_err(|error| invalid(self.function, error))?,
        };
        Ok((self.cell)(flow))
    }
}
