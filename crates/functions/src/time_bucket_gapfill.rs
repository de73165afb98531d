//! `time_bucket_gapfill`, and `locf` and `interpolate` around an aggregate: the words of gap filling.
//!
//! None of them is ever called: [`crate::gap_fill`] takes them out of the plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion_common::Result;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::{Documentation, ScalarUDF};

use crate::error::invalid;
use crate::scalar::{Scalar, is_number};
use crate::time_bucket::bucket_types;

/// The scalar function `time_bucket_gapfill(interval, date [, origin])`.
pub(crate) fn time_bucket_gapfill() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "In GROUP BY: time_bucket, with a row for each bucket between the first and the last of each \
         group of the other keys. Aggregates are NULL in the rows that it adds, unless locf or \
         interpolate, written without OVER, is around them. Ends are never extended. HAVING and \
         window functions see the added rows. At most 10 million rows are added.",
        "time_bucket_gapfill(interval, date [, origin])",
    )
    .with_argument("interval", "A constant number of months, quarters, years, weeks or days.")
    .with_argument("date", "A DATE, or a TIMESTAMP without a zone.")
    .with_argument("origin", "A constant day with which a bucket starts, as in time_bucket.")
    .with_sql_example(
        "SELECT time_bucket_gapfill(INTERVAL '1 month', day) AS month, sum(value) AS value,\n       locf(sum(value)) AS last_known, interpolate(sum(value)) AS between\nFROM (VALUES (DATE '2024-01-15', 100.0), (DATE '2024-03-20', 120.0)) AS t(day, value)\nGROUP BY month ORDER BY month",
    )
    .with_related_udf("time_bucket")
    .with_related_udf("gapfill_locf")
    .with_related_udf("gapfill_interpolate")
    .build();
    let scalar = Scalar {
        name: "time_bucket_gapfill",
        coerce: bucket_types,
        result: |given| given[1].clone(),
        compute: |_| {
            Err(invalid(
                "time_bucket_gapfill",
                "it belongs in GROUP BY; elsewhere write time_bucket",
            ))
        },
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

/// `gapfill_locf(aggregate [, max_gap])`. A scalar function has no name with a window function in common.
pub(crate) fn locf() -> Arc<ScalarUDF> {
    filler(
        "gapfill_locf",
        "locf without OVER means this. Around an aggregate, in a query whose GROUP BY has time_bucket_gapfill: where the aggregate is \
         NULL, its last value before in the group.",
        |given| fill_types(given, |value| Some(value.clone())),
        |given| given[0].clone(),
        |_| misplaced("gapfill_locf"),
    )
}

/// `gapfill_interpolate(aggregate [, max_gap])`.
pub(crate) fn interpolate() -> Arc<ScalarUDF> {
    filler(
        "gapfill_interpolate",
        "interpolate without OVER means this. Around an aggregate, in a query whose GROUP BY has time_bucket_gapfill: where the aggregate is \
         NULL, the value on the straight line between its neighbours, each bucket of one length. With \
         OVER, see the window function.",
        |given| fill_types(given, |value| is_number(value).then_some(DataType::Float64)),
        |_| DataType::Float64,
        |_| misplaced("gapfill_interpolate"),
    )
}

fn filler(
    name: &'static str,
    description: &str,
    coerce: fn(&[DataType]) -> Option<Vec<DataType>>,
    result: fn(&[DataType]) -> DataType,
    compute: fn(&[arrow::array::ArrayRef]) -> Result<arrow::array::ArrayRef>,
) -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        description,
        format!("{name}(aggregate [, max_gap])"),
    )
    .with_argument("aggregate", "An expression of the query's aggregates.")
    .with_argument(
        "max_gap",
        "As a constant interval: how old the last value may be, or how far apart the neighbours.",
    )
    .with_sql_example(format!(
        "SELECT time_bucket_gapfill(INTERVAL '1 month', day) AS month, {name}(avg(value)) AS value\nFROM (VALUES (DATE '2024-01-15', 100.0), (DATE '2024-03-20', 120.0)) AS t(day, value)\nGROUP BY month ORDER BY month"
    ))
    .with_related_udf("time_bucket_gapfill")
    .build();
    let scalar = Scalar {
        name,
        coerce,
        result,
        compute,
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn fill_types(
    given: &[DataType],
    value_type: fn(&DataType) -> Option<DataType>,
) -> Option<Vec<DataType>> {
    let [value, gap @ ..] = given else {
        return None;
    };
    if gap.len() > 1 || !gap.iter().all(|it| matches!(it, DataType::Interval(_))) {
        return None;
    }
    let mut types = vec![value_type(value)?];
    types.extend(
        gap.iter()
            .map(|_| DataType::Interval(IntervalUnit::MonthDayNano)),
    );
    Some(types)
}

fn misplaced<T>(name: &str) -> Result<T> {
    Err(invalid(
        name,
        "locf and interpolate without OVER belong around an aggregate, in a query whose GROUP BY has time_bucket_gapfill",
    ))
}
