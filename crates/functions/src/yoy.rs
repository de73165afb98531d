//! `yoy` and `yoy_reason`: growth on the year, and why there is none.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::Interval;

use crate::base_growth::{BaseDocumentation, Comparison, over_named, start, why_not};
use crate::cells::CellType;
use crate::period_window::Behaviour;

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
    .with_period()
    .with_matching()
    .with_sign()
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       yoy(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS growth\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .with_related_udf("growth")
    .with_related_udf("prior")
    .build();
    let yoy = Behaviour::Rows(|call| start(call, Some(Interval::YEAR), Comparison::Growth));
    Arc::new(over_named("yoy", (yoy, CellType::Number), documentation).into())
}

/// The window function `yoy_reason(value, period)`.
pub(crate) fn yoy_reason() -> Arc<WindowUDF> {
    let documentation = why_not(
        "yoy",
        "value, period",
        "yoy_reason(value, period_start [, period_end])",
        "SELECT period_start, period_end, value,\n       yoy_reason(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS why_not\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    );
    let reason = Behaviour::Rows(|call| start(call, Some(Interval::YEAR), Comparison::Reason));
    Arc::new(over_named("yoy_reason", (reason, CellType::Word), documentation).into())
}
