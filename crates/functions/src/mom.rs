//! `mom` and `mom_reason`: growth on the month, and why there is none.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};
use didymium_model::Interval;

use crate::base_growth::{BaseDocumentation, Comparison, over_named, start, why_not};
use crate::cells::CellType;
use crate::period_window::Behaviour;

/// The window function `mom(value, period)`.
pub(crate) fn mom() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Growth on the period that lies exactly one month earlier, as a fraction. NULL, reasons and \
         errors as with yoy. March has none after a January and February reported as one figure.",
        "mom(value, period_start [, period_end])",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_period()
    .with_matching()
    .with_sign()
    .with_sql_example(
        "SELECT period_start, period_end, value,\n       mom(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS growth\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    )
    .with_related_udf("growth")
    .with_related_udf("prior")
    .build();
    let mom = Behaviour::Rows(|call| start(call, Some(Interval::MONTH), Comparison::Growth));
    Arc::new(over_named("mom", (mom, CellType::Number), documentation).into())
}

/// The window function `mom_reason(value, period)`.
pub(crate) fn mom_reason() -> Arc<WindowUDF> {
    let documentation = why_not(
        "mom",
        "value, period",
        "mom_reason(value, period_start [, period_end])",
        "SELECT period_start, period_end, value,\n       mom_reason(value, period_start, period_end) OVER (ORDER BY period_start, period_end) AS why_not\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nQUALIFY period_start >= DATE '2025-01-01'  -- WHERE would remove the bases too\nORDER BY period_start, period_end",
    );
    let reason = Behaviour::Rows(|call| start(call, Some(Interval::MONTH), Comparison::Reason));
    Arc::new(over_named("mom_reason", (reason, CellType::Word), documentation).into())
}
