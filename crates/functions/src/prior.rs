//! `prior`: the value one interval earlier.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};

use crate::base_growth::{BaseDocumentation, Comparison, MATCHING, over_interval, start};
use crate::cells::CellType;
use crate::period_window::Behaviour;

/// The window function `prior(value, period, interval)`.
pub(crate) fn prior() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value of the period that lies exactly one interval earlier in the same partition, in \
         the value's own unit. NULL where that period was not observed or has no value, and where \
         the period is NULL. An error where one period occurs twice in a partition.",
        "prior(value, period_start [, period_end], interval)",
    )
    .with_argument("value", "The number to look up, of any numeric type; the result is a DOUBLE.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers. Both ends must lie one interval earlier, \
         a month's end meeting a month's end. With one date, the same date one interval earlier, \
         or else, from a month's end, the end of the earlier month.",
    )
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
    .with_matching()
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       prior(value, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS year_before\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .build();
    let prior = Behaviour::Rows(|call| start(call, None, Comparison::Prior));
    Arc::new(over_interval("prior", (prior, CellType::Number), MATCHING, documentation).into())
}
