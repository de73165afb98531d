//! `execution_rate`: how much of several quotas together has been used.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::aggregate_doc_sections::DOC_SECTION_STATISTICAL;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility,
};
use didymium_model::{NegativeQuota, execution_rate as rate};

use crate::error::invalid;

const NAME: &str = "execution_rate";

/// The aggregate `execution_rate(actual, quota)`.
pub(crate) fn execution_rate() -> Arc<AggregateUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "All actual output as a fraction of all quotas: a ratio of sums, never a mean of ratios. Only \
         rows where both are known count. NULL where there is none, or the quotas are zero together; \
         an error where a quota is negative. All rows must be in one unit and on one basis, and must \
         not count twice: leave out a national total where its holders are there.",
        "execution_rate(actual, quota)",
    )
    .with_argument("actual", "What was mined, separated or exported.")
    .with_argument("quota", "The ceiling for the same period, in the same unit and basis.")
    .with_sql_example(
        "SELECT execution_rate(actual, quota)  -- 0.8: 80 of 100\nFROM (VALUES (50, 50), (30, 50), (NULL, 900)) AS t(actual, quota)",
    )
    .with_related_udf("quota_execution_rate")
    .build();
    Arc::new(AggregateUDF::new_from_impl(ExecutionRate {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExecutionRate {
    signature: Signature,
    documentation: Documentation,
}

impl AggregateUDFImpl for ExecutionRate {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [actual, quota]
                if [actual, quota]
                    .iter()
                    .all(|given| given.is_numeric() || given.is_null()) =>
            {
                Ok(vec![DataType::Float64; 2])
            }
            _ => Err(invalid(
                NAME,
                "expected execution_rate(actual, quota), two numbers",
            )),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str, data_type| {
            Arc::new(Field::new(
                format!("{}[{name}]", args.name),
                data_type,
                false,
            ))
        };
        Ok(vec![
            field("actual", DataType::Float64),
            field("quota", DataType::Float64),
            field("rows", DataType::UInt64),
        ])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sums::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The sums over the rows in which both are known.
#[derive(Debug, Default)]
struct Sums {
    actual: f64,
    quota: f64,
    rows: u64,
}

impl Accumulator for Sums {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [actual, quota] = columns else {
            return internal_err!("execution_rate takes two columns, not {}", columns.len());
        };
        let quota = quota.as_primitive::<Float64Type>();
        for (actual, quota) in actual.as_primitive::<Float64Type>().iter().zip(quota) {
            let Some((actual, quota)) = actual.zip(quota) else {
                continue;
            };
            if quota < 0.0 {
                return Err(invalid(NAME, NegativeQuota(quota)));
            }
            self.actual += actual;
            self.quota += quota;
            self.rows += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [actual, quota, rows] = states else {
            return internal_err!("the state of execution_rate has three columns");
        };
        let sum = |column: &ArrayRef| -> f64 {
            column.as_primitive::<Float64Type>().iter().flatten().sum()
        };
        self.actual += sum(actual);
        self.quota += sum(quota);
        self.rows += rows
            .as_primitive::<UInt64Type>()
            .iter()
            .flatten()
            .sum::<u64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Float64(Some(self.actual)),
            ScalarValue::Float64(Some(self.quota)),
            ScalarValue::UInt64(Some(self.rows)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.rows == 0 {
            return Ok(ScalarValue::Float64(None));
        }
        let rate = rate(self.actual, self.quota).map_err(|error| invalid(NAME, error))?;
        Ok(ScalarValue::Float64(rate))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
