//! `qoq` and `qoq_reason`: growth on the quarter, and why there is none.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::Interval;

use crate::base_growth::{Comparison, over_named, start};
use crate::cells::CellType;
use crate::period_window::Behaviour;

/// The window function `qoq(value, period)`.
pub(crate) fn qoq() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Growth on the period that lies exactly three months earlier, as a fraction. NULL, reasons and \
         errors as with yoy.",
        "qoq(value, period_start [, period_end])",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out. See prior for how a base is found.",
    )
    .with_argument(
        "match => 'M'",
        "Compare by calendar unit instead: the base is the row whose ends lie in the units one \
         interval earlier, on whatever day of them. D, W (ISO weeks), M, Q or A.",
    )
    .with_argument(
        "tolerance => INTERVAL '5 days'",
        "For single dates with holes, such as trading days: the base is the newest date that is at \
         most so much older than the date one interval earlier.",
    )
    .with_argument(
        "signed => true",
        "Growth relative to the base's size, so that a negative base has one too.",
    )
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       qoq(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS growth\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .with_related_udf("growth")
    .with_related_udf("prior")
    .build();
    let qoq = Behaviour::Rows(|call| start(call, Some(Interval::QUARTER), Comparison::Growth));
    Arc::new(over_named("qoq", (qoq, CellType::Number), documentation).into())
}

/// The window function `qoq_reason(value, period)`.
pub(crate) fn qoq_reason() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Why qoq is NULL: value_missing, base_missing, period_length_differs (a period ends where the base \
         would and starts elsewhere), base_null, base_zero (or so small that no number holds the \
         growth), base_negative. NULL where there is a growth.",
        "qoq_reason(value, period_start [, period_end])",
    )
    .with_argument("value, period", "As qoq takes them, with the same options.")
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       qoq_reason(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS why_not\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .with_related_udf("qoq")
    .build();
    let reason = Behaviour::Rows(|call| start(call, Some(Interval::QUARTER), Comparison::Reason));
    Arc::new(over_named("qoq_reason", (reason, CellType::Word), documentation).into())
}
