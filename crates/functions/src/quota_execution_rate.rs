//! `quota_execution_rate`: how much of a quota has been used.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use didymium_model::execution_rate;

use crate::error::invalid;

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
    .build();
    Arc::new(ScalarUDF::new_from_impl(QuotaExecutionRate {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct QuotaExecutionRate {
    signature: Signature,
    documentation: Documentation,
}

impl ScalarUDFImpl for QuotaExecutionRate {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != 2 {
            return Err(invalid(
                NAME,
                format!("expected {}", self.documentation.syntax_example),
            ));
        }
        if let Some(other) = given
            .iter()
            .find(|given| !given.is_numeric() && !given.is_null())
        {
            return Err(invalid(
                NAME,
                format!("both arguments must be numbers, not {other}"),
            ));
        }
        Ok(vec![DataType::Float64; 2])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let [actual, quota] =
            take_function_args(NAME, ColumnarValue::values_to_arrays(&args.args)?)?;
        let rates = rates(&actual, &quota)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &rates, 0,
            )?));
        }
        Ok(ColumnarValue::Array(rates))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn rates(actual: &ArrayRef, quota: &ArrayRef) -> Result<ArrayRef> {
    let (actual, quota) = (
        actual.as_primitive::<Float64Type>(),
        quota.as_primitive::<Float64Type>(),
    );
    let mut rates = Float64Builder::with_capacity(quota.len());
    for (actual, quota) in actual.iter().zip(quota) {
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
