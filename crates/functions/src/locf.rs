//! `locf`: the last observation, carried forward.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::{Interval, Misplaced, Moment, Period, within};

use crate::arguments::{Arguments, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::error::invalid;
use crate::period_window::{Behaviour, PeriodWindow, RowState};

const NAME: &str = "locf";

/// The window function `locf(value, period [, max_gap])`.
pub(crate) fn locf() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value, or where it is NULL the last one before it in the partition, in the value's own \
         unit. NULL before the first value, and where the last one is older than max_gap. In a query \
         with time_bucket_gapfill it is written without OVER, around an aggregate. An error where one \
         period occurs twice in a partition.",
        "locf(value, period_start [, period_end] [, max_gap])",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days that the value covers; taken from the window's ORDER BY where left out.",
    )
    .with_argument(
        "max_gap",
        "How old a value may be, as a constant interval between the starts of the periods; any age \
         where left out.",
    )
    .with_sql_example(
        "SELECT day, locf(value, day) OVER (ORDER BY day) AS last_known\nFROM (VALUES (DATE '2024-01-31', 100.0), (DATE '2024-02-29', NULL), (DATE '2024-03-31', 120.0)) AS t(day, value)\nORDER BY day",
    )
    .with_related_udf("interpolate")
    .build();
    let locf = Behaviour::Rows(|call| {
        Ok(Box::new(Carried {
            period: None,
            last: None,
            max_gap: call.interval()?,
        }))
    });
    let arguments = Arguments {
        periods: Periods::DateOrPair,
        constant: Constant::OptionalInterval,
        options: &[],
    };
    Arc::new(PeriodWindow::new(NAME, arguments, CellType::Number, locf, documentation).into())
}

#[derive(Debug)]
struct Carried {
    /// The period of the row before.
    period: Option<Period>,
    last: Option<(Moment, f64)>,
    max_gap: Option<Interval>,
}

impl RowState for Carried {
    fn next(&mut self, period: Option<Period>, value: Option<f64>) -> Result<Cell> {
        let Some(period) = period else {
            return Ok(Cell::Number(value));
        };
        if self.period.replace(period) == Some(period) {
            return Err(invalid(NAME, Misplaced::Duplicate(period)));
        }
        if let Some(value) = value {
            self.last = Some((period.start, value));
            return Ok(Cell::Number(Some(value)));
        }
        let carried = self
            .last
            .filter(|(at, _)| within(*at, period.start, self.max_gap));
        Ok(Cell::Number(carried.map(|(_, value)| value)))
    }
}
