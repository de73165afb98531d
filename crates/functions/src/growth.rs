//! `growth` and `growth_reason`: growth on any earlier period, and why there is none.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};

use crate::base_growth::{Comparison, MATCHING_AND_SIGN, over_interval, start};
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
    .with_argument(
        "period_start, period_end",
        "The days, both included, that the value covers; taken from the window's ORDER BY where \
         left out. See prior for how a base is found.",
    )
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
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
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "Why growth is NULL: value_missing, base_missing, period_length_differs (a period ends where the base \
         would and starts elsewhere), base_null, base_zero (or so small that no number holds the \
         growth), base_negative. NULL where there is a growth.",
        "growth_reason(value, period_start [, period_end], interval)",
    )
    .with_argument("value, period, interval", "As growth takes them, with the same options.")
    .with_sql_example(
        "SELECT period_start, value,\n       growth_reason(value, period_start, period_end, INTERVAL '2 years') OVER (ORDER BY period_start, period_end) AS why_not\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'\nORDER BY period_start",
    )
    .with_related_udf("growth")
    .build();
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
