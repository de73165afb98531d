//! `growth` and `growth_reason`: growth on any earlier period, and why there is none.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};

use crate::base_growth::{
    BaseDocumentation, Comparison, MATCHING_AND_SIGN, over_interval, start, why_not,
};
use crate::cells::CellType;
use crate::period_window::Behaviour;

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
    .with_period()
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
    .with_matching()
    .with_sign()
    .with_sql_example(
        "SELECT period_start, value,\n       growth(value, period_start, period_end, INTERVAL '2 years') OVER (ORDER BY period_start, period_end) AS over_two_years\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'\nORDER BY period_start",
    )
    .with_related_udf("yoy")
    .with_related_udf("prior")
    .build();
    let growth = Behaviour::Rows(|call| start(call, None, Comparison::Growth));
    Arc::new(
        over_interval(
            "growth",
            (growth, CellType::Number),
            MATCHING_AND_SIGN,
            documentation,
        )
        .into(),
    )
}

/// The window function `growth_reason(value, period, interval)`.
pub(crate) fn growth_reason() -> Arc<WindowUDF> {
    let documentation = why_not(
        "growth",
        "value, period, interval",
        "growth_reason(value, period_start [, period_end], interval)",
        "SELECT period_start, value,\n       growth_reason(value, period_start, period_end, INTERVAL '2 years') OVER (ORDER BY period_start, period_end) AS why_not\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'\nORDER BY period_start",
    );
    let reason = Behaviour::Rows(|call| start(call, None, Comparison::Reason));
    Arc::new(
        over_interval(
            "growth_reason",
            (reason, CellType::Word),
            MATCHING_AND_SIGN,
            documentation,
        )
        .into(),
    )
}
