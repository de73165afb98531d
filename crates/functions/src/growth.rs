//! `growth`: growth on any earlier period.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};

use crate::base_window::BaseWindow;

/// The window function `growth(value, period, interval)`.
pub(crate) fn growth() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Growth on the period that lies exactly one interval earlier, as a fraction. NULL where \
         the value or its base is missing, NULL, or the base is zero or negative; never infinite \
         and never NaN. An error where one period occurs twice in a partition.",
        "growth(value, period_start [, period_end], interval)",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out. See prior for how a base is found.",
    )
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
    .with_sql_example(
        "SELECT period_start, value,\n       growth(value, period_start, period_end, INTERVAL '3 months')\n         OVER (PARTITION BY series ORDER BY period_start, period_end) AS on_the_quarter\nFROM production",
    )
    .with_related_udf("yoy")
    .with_related_udf("prior")
    .build();
    Arc::new(WindowUDF::new_from_impl(BaseWindow::new(
        "growth",
        None,
        growth_on,
        documentation,
    )))
}

/// Growth of a value that may be missing on a base that is known.
pub(crate) fn growth_on(value: Option<f64>, base: f64) -> Option<f64> {
    didymium_model::growth(value?, base)
}
