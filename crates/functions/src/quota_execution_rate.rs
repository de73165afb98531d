//! `quota_execution_rate`: how much of a quota has been used.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::execution_rate;

use crate::error::invalid;
use crate::scalar::{Scalar, is_number};

const NAME: &str = "quota_execution_rate";

/// The scalar function `quota_execution_rate(actual, quota)`.
pub(crate) fn quota_execution_rate() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_MATH,
        "Actual output as a fraction of its quota: 0.9072 is 90.72 %. Both must be in one unit and \
         on one basis. More than the quota is more than 1 and is not cut off. NULL where either is \
         NULL or the quota is zero; an error where the quota is negative.",
        "quota_execution_rate(actual, quota)",
    )
    .with_argument("actual", "What was mined, separated or exported.")
    .with_argument(
        "quota",
        "The ceiling for the same period, in the same unit and basis.",
    )
    .with_sql_example(
        "SELECT quota_execution_rate(27769, 30611)  -- 0.9072 of the export quota of 2014",
    )
    .with_related_udf("execution_rate")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [actual, quota] if is_number(actual) && is_number(quota) => {
                Some(vec![DataType::Float64; 2])
            }
            _ => None,
        },
        result: |_| DataType::Float64,
        compute: rates,
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn rates(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [actual, quota] = take_function_args(NAME, columns)?;
    let quota = quota.as_primitive::<Float64Type>();
    let mut rates = Float64Builder::with_capacity(quota.len());
    for (actual, quota) in actual.as_primitive::<Float64Type>().iter().zip(quota) {
        let rate = match actual.zip(quota) {
            Some((actual, quota)) => {
                execution_rate(actual, quota).map_err(|error| invalid(NAME, error))?
            }
            None => None,
        };
        rates.append_option(rate);
    }
    Ok(Arc::new(rates.finish()))
}
