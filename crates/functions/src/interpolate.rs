//! `interpolate`: straight lines between known values.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::{Interval, Period, Scale, interpolate as between};

use crate::arguments::{Arguments, Call, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::index_to::refuse_twice;
use crate::period_window::{Behaviour, PeriodWindow, SeriesFunction};

const NAME: &str = "interpolate";

/// The window function `interpolate(value, period [, max_gap])`.
pub(crate) fn interpolate() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value, or where it is NULL the one on the straight line between the last known value \
         and the next, in the value's own unit. Nothing is drawn beyond the ends. In a query with \
         time_bucket_gapfill it is written without OVER, around an aggregate. An error where one \
         period occurs twice in a partition. It holds one partition at a time.",
        "interpolate(value, period_start [, period_end] [, max_gap])",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days that the value covers, of which the start counts; taken from the window's ORDER BY \
         where left out.",
    )
    .with_argument(
        "max_gap",
        "How far apart two known values may lie for a line between them, as a constant interval; any \
         distance where left out.",
    )
    .with_argument(
        "by => 'days'",
        "A line that is straight in days; else in months, each of which has the same length.",
    )
    .with_sql_example(
        "SELECT day, interpolate(value, day) OVER (ORDER BY day) AS between\nFROM (VALUES (DATE '2024-01-31', 100.0), (DATE '2024-02-29', NULL), (DATE '2024-03-31', 120.0)) AS t(day, value)\nORDER BY day",
    )
    .with_related_udf("locf")
    .build();
    let interpolate = Behaviour::Series(|call| {
        Ok(Box::new(Lines {
            scale: scale(call)?,
            max_gap: call.interval()?,
        }))
    });
    let arguments = Arguments {
        periods: Periods::DateOrPair,
        constant: Constant::OptionalInterval,
        options: &["by"],
    };
    let window = PeriodWindow::new(
        NAME,
        arguments,
        CellType::Number,
        interpolate,
        documentation,
    );
    Arc::new(window.into())
}

fn scale(call: &Call<'_>) -> Result<Scale> {
    let word = call.word("by", &["months", "days"])?;
    Ok(match word.as_deref() {
        Some("days") => Scale::Days,
        _ => Scale::Months,
    })
}

#[derive(Debug)]
struct Lines {
    scale: Scale,
    max_gap: Option<Interval>,
}

impl SeriesFunction for Lines {
    fn all(&self, rows: &[(Option<Period>, Option<f64>)]) -> Result<Vec<Cell>> {
        refuse_twice(NAME, rows)?;
        let points: Vec<_> = rows
            .iter()
            .map(|(period, value)| (period.map(|period| period.start), *value))
            .collect();
        let filled = between(&points, self.scale, self.max_gap);
        Ok(filled.into_iter().map(Cell::Number).collect())
    }
}
