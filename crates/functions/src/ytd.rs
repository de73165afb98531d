//! `ytd`: sums from the start of the year.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::{Period, YearToDate};

use crate::arguments::{Arguments, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::error::invalid;
use crate::period_window::{Behaviour, PeriodWindow, RowState};

const NAME: &str = "ytd";

/// The window function `ytd(value, period_start, period_end [, fiscal_start_month])`.
pub(crate) fn ytd() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The sum from the start of the year through the period's end, in the value's own unit. A \
         period is missing where one does not start on the day after the one before it, or the first \
         not with the year: from there to the year's end the sum is NULL, and so it is from a value \
         that is NULL. An error where a period crosses two years, or comes twice in a partition.",
        "ytd(value, period_start, period_end [, fiscal_start_month])",
    )
    .with_argument("value", "What happened in the period, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out.",
    )
    .with_argument(
        "fiscal_start_month",
        "The constant month, from 1 to 12, in which the year starts; 1 where left out.",
    )
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       ytd(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS so_far\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND period_length_months(period_start, period_end) <= 2\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .with_related_udf("from_ytd")
    .build();
    let ytd = Behaviour::Rows(|call| {
        let sums = YearToDate::new(call.month()?)
            .ok_or_else(|| call.invalid("a year starts in a month from 1 to 12"))?;
        Ok(Box::new(Sums(sums)))
    });
    let arguments = Arguments {
        periods: Periods::Pair,
        constant: Constant::OptionalMonth,
        options: &[],
    };
    Arc::new(PeriodWindow::new(NAME, arguments, CellType::Number, ytd, documentation).into())
}

#[derive(Debug)]
struct Sums(YearToDate);

impl RowState for Sums {
    fn next(&mut self, period: Option<Period>, value: Option<f64>) -> Result<Cell> {
        let sum = match period {
            None => None,
            Some(period) => self
                .0
                .next(period, value)
                .map_err(|error| invalid(NAME, error))?,
        };
        Ok(Cell::Number(sum))
    }
}
