//! `change`: the difference to an earlier period.

use std::sync::Arc;

use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, WindowUDF};

use crate::base_growth::{BaseDocumentation, Comparison, MATCHING, over_interval, start};
use crate::cells::CellType;
use crate::period_window::Behaviour;

/// The window function `change(value, period, interval)`.
pub(crate) fn change() -> Arc<WindowUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        "The value less the one of the period that lies exactly one interval earlier, in the value's \
         own unit. NULL where either is missing or NULL. An error where one period occurs twice in a \
         partition.",
        "change(value, period_start [, period_end], interval)",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_period()
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
    .with_matching()
    .with_sql_example(
        "SELECT period_start, value,\n       change(value, period_start, period_end, INTERVAL '1 year') OVER (ORDER BY period_start, period_end) AS more_than_a_year_before\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all'\nORDER BY period_start",
    )
    .with_related_udf("growth")
    .build();
    let change = Behaviour::Rows(|call| start(call, None, Comparison::Change));
    Arc::new(
        over_interval(
            "change",
            (change, CellType::Number),
            MATCHING,
            documentation,
        )
        .into(),
    )
}
