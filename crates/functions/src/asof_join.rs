//! The as-of join: each row of the left with the newest row of the right that is not after it.
//!
//! A plan says it as a LEFT or INNER join with [`asof_match`] around the comparison of times.
//! [`AsofJoinRule`] turns that into an [`AsofJoin`] node, which [`AsofJoinExec`] runs: one pass over both
//! sides, sorted by their keys and times.

mod exec;
mod matches;
mod node;
mod right;
mod rule;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_CONDITIONAL;
use datafusion_expr::{Documentation, ScalarUDF};

use crate::error::invalid;
use crate::scalar::Scalar;

pub(crate) use exec::AsofJoinExec;
pub use exec::CreateExpr;
pub(crate) use node::AsofJoin;
pub(crate) use rule::AsofJoinRule;

const ASOF_MATCH: &str = "asof_match";

/// What messages call it.
const ASOF_JOIN: &str = "as-of join";

/// The scalar function `asof_match(condition)`.
pub(crate) fn asof_match() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_CONDITIONAL,
        "In the ON of a LEFT or INNER join: takes of all right rows with the keys of a left row the \
         newest that the condition lets through, as ASOF JOIN … MATCH_CONDITION does. The other \
         conditions of ON must be equalities between both sides. A left row without a match has NULLs \
         in a LEFT join. NULL keys and times match nothing. An error where two right rows of one key \
         and time would match.",
        "asof_match(left_time >= right_time [AND right_time >= left_expression])",
    )
    .with_argument(
        "condition",
        "left_time >= right_time, or >; and, as a tolerance, right_time >= an expression of the left \
         row, such as left_time - INTERVAL '3 months'.",
    )
    .with_sql_example(
        "WITH months AS (SELECT period_start AS month FROM calendar(DATE '2023-12-01', DATE '2024-02-01', INTERVAL '1 month'))\nSELECT m.month, p.period_start AS quoted_on, p.value\nFROM months m\nASOF JOIN prices p MATCH_CONDITION (m.month >= p.period_start AND p.period_start >= m.month - INTERVAL '2 months')\n  ON p.product = CASE WHEN m.month IS NOT NULL THEN 'Nd oxide' END\nORDER BY m.month",
    )
    .build();
    let scalar = Scalar {
        name: ASOF_MATCH,
        coerce: |given| match given {
            [DataType::Boolean] => Some(vec![DataType::Boolean]),
            _ => None,
        },
        result: |_| DataType::Boolean,
        compute: |_| {
            Err(invalid(
                ASOF_MATCH,
                "it belongs in the ON of a LEFT or INNER join, once and joined by AND to equalities",
            ))
        },
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}
