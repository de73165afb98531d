//! `index_to`: a series as an index, 100 at a period.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::{Day, Misplaced, Period};

use crate::arguments::{Arguments, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::error::invalid;
use crate::period_window::{Behaviour, PeriodWindow, SeriesFunction};

const NAME: &str = "index_to";

/// The window function `index_to(value, period, day)`.
pub(crate) fn index_to() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value as an index: 100 in the period that starts on a day. NULL in all of a partition \
         that has no such period, or none with a value above zero. An error where one period occurs \
         twice in a partition, or two periods start on the day. It holds one partition at a time.",
        "index_to(value, period_start [, period_end], day)",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out.",
    )
    .with_argument("day", "The constant day on which the base period starts.")
    .with_sql_example(
        "SELECT period_start, value,\n       index_to(value, period_start, period_end, DATE '2020-01-01') OVER (ORDER BY period_start, period_end) AS of_2020\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'\nORDER BY period_start",
    )
    .with_related_udf("growth")
    .build();
    let index = Behaviour::Series(|call| Ok(Box::new(Index { day: call.day()? })));
    let arguments = Arguments {
        periods: Periods::DateOrPair,
        constant: Constant::Day,
        options: &[],
    };
    Arc::new(PeriodWindow::new(NAME, arguments, CellType::Number, index, documentation).into())
}

#[derive(Debug)]
struct Index {
    day: Day,
}

impl SeriesFunction for Index {
    fn all(&self, rows: &[(Option<Period>, Option<f64>)]) -> Result<Vec<Cell>> {
        refuse_twice(NAME, rows)?;
        let starts = |row: &&(Option<Period>, Option<f64>)| {
            row.0.is_some_and(|period| period.start == self.day.into())
        };
        let mut bases = rows.iter().filter(starts);
        let base = bases.next().and_then(|(_, value)| *value);
        if bases.next().is_some() {
            return Err(invalid(
                NAME,
                format!(
                    "two periods start on {}: index periods of one length",
                    self.day
                ),
            ));
        }
        let base = base.filter(|base| *base > 0.0);
        let index = |value: f64| base.map(|base| value / base * 100.0);
        let cell = |(period, value): &(Option<Period>, Option<f64>)| {
            let index = period.and(*value).and_then(index);
            Cell::Number(index.filter(|index| index.is_finite()))
        };
        Ok(rows.iter().map(cell).collect())
    }
}

/// Refuses a series with one period in two rows, which stand beside each other.
pub(crate) fn refuse_twice(function: &str, rows: &[(Option<Period>, Option<f64>)]) -> Result<()> {
    for pair in rows.windows(2) {
        if let [(Some(one), _), (Some(other), _)] = pair
            && one == other
        {
            return Err(invalid(function, Misplaced::Duplicate(*one)));
        }
    }
    Ok(())
}
