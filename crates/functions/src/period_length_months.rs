//! `period_length_months`: how many months a period fills.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Date32Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::{Day, Period};

use crate::scalar::{Scalar, is_day};

const NAME: &str = "period_length_months";

/// The scalar function `period_length_months(start, end)`.
pub(crate) fn period_length_months() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "How many whole calendar months a period fills, a BIGINT: 2 for January and February \
         reported as one figure. NULL where it starts or ends within a month, ends before it starts, \
         or an end is NULL.",
        "period_length_months(period_start, period_end)",
    )
    .with_argument("period_start, period_end", "The days, both part of the period.")
    .with_sql_example(
        "SELECT period_start, period_end, period_length_months(period_start, period_end) AS months\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND NOT cumulative\nORDER BY months DESC, period_start",
    )
    .with_related_udf("end_of_period")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [start, end] if is_day(start) && is_day(end) => Some(vec![DataType::Date32; 2]),
            _ => None,
        },
        result: |_| DataType::Int64,
        compute: lengths,
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn lengths(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [starts, ends] = take_function_args(NAME, columns)?;
    let starts = starts.as_primitive::<Date32Type>().iter();
    let lengths: Int64Array = starts
        .zip(ends.as_primitive::<Date32Type>())
        .map(|(start, end)| {
            let (start, end) = start.zip(end)?;
            Period::of_days(Day::from_epoch(start), Day::from_epoch(end)).whole_months()
        })
        .collect();
    Ok(Arc::new(lengths))
}
