//! `yoy`: growth on the year.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::Interval;

use crate::base_window::BaseWindow;
use crate::growth::growth_on;

/// The window function `yoy(value, period)`.
pub(crate) fn yoy() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Growth on the same period one year earlier, as a fraction: 0.0588 is 5.88 %. January and \
         February reported as one figure are compared with January and February, never with \
         February. NULL where the value or its base is missing, NULL, or the base is zero or \
         negative; never infinite and never NaN (pandas' pct_change gives inf on a base of zero). \
         An error where one period occurs twice in a partition.",
        "yoy(value, period_start [, period_end])",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out. See prior for how a base is found.",
    )
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       yoy(value, period_start, period_end)\n         OVER (PARTITION BY series ORDER BY period_start, period_end) AS growth\nFROM exports\nQUALIFY period_start >= DATE '2024-01-01'  -- WHERE would remove the bases too",
    )
    .with_related_udf("growth")
    .with_related_udf("prior")
    .build();
    Arc::new(WindowUDF::new_from_impl(BaseWindow::new(
        "yoy",
        Some(Interval::YEAR),
        growth_on,
        documentation,
    )))
}
