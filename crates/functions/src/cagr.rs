//! `cagr`: compound annual growth.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Float64Type};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::aggregate_doc_sections::DOC_SECTION_STATISTICAL;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility,
};
use didymium_model::{Day, Endpoint, FirstAndLast};

use crate::error::invalid;
use crate::period_columns::period_type;

const NAME: &str = "cagr";

/// The aggregate `cagr(value, period)`.
pub(crate) fn cagr() -> Arc<AggregateUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_STATISTICAL,
        "Compound annual growth from the earliest value to the latest, as a fraction: (last ÷ first) \
         to the power of 1 ÷ years, less 1, where years are whole calendar months ÷ 12. Rows without \
         a value do not count. NULL under a year, and where either value is zero or negative. An \
         error where the earliest or the latest day has two different values.",
        "cagr(value, period)",
    )
    .with_argument("value", "The level, of any numeric type.")
    .with_argument("period", "A day that tells when: the start of the period, or its end.")
    .with_sql_example(
        "SELECT cagr(value, period_start)\nFROM quotas_by_year\nWHERE regulator_line = 'mining_control' AND commodity = 'rare_earths' AND holder_kind = 'national' AND mineral_class = 'all' AND period_start >= DATE '2018-01-01'",
    )
    .with_related_udf("yoy")
    .build();
    Arc::new(AggregateUDF::new_from_impl(Cagr {
        signature: Signature::user_defined(Volatility::Immutable),
        documentation,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cagr {
    signature: Signature,
    documentation: Documentation,
}

impl AggregateUDFImpl for Cagr {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [value, period] = given else {
            return Err(invalid(NAME, "expected cagr(value, period)"));
        };
        if !value.is_numeric() && !value.is_null() {
            return Err(invalid(
                NAME,
                format!("the value must be a number, not {value}"),
            ));
        }
        period_type(NAME, period)?;
        Ok(vec![DataType::Float64, DataType::Date32])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str, data_type| {
            Arc::new(Field::new(
                format!("{}[{name}]", args.name),
                data_type,
                true,
            ))
        };
        Ok(["first", "last"]
            .iter()
            .flat_map(|end| {
                [
                    field(&format!("{end} day"), DataType::Date32),
                    field(&format!("{end} value"), DataType::Float64),
                    field(&format!("{end} contradicted"), DataType::Boolean),
                ]
            })
            .collect())
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Ends(FirstAndLast::default())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[derive(Debug)]
struct Ends(FirstAndLast);

impl Accumulator for Ends {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [values, days] = columns else {
            return internal_err!("cagr takes two columns, not {}", columns.len());
        };
        let values = values.as_primitive::<Float64Type>();
        let days = days.as_primitive::<Date32Type>();
        for (value, day) in values.iter().zip(days) {
            if let (Some(value), Some(day)) = (value, day) {
                self.0.add(Day::from_epoch(day), value);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [first @ .., _, _, _] = states else {
            return internal_err!("the state of cagr has six columns, not {}", states.len());
        };
        let rows = first.first().map_or(0, |column| column.len());
        for row in 0..rows {
            self.0.merge(FirstAndLast {
                first: endpoint(&states[..3], row),
                last: endpoint(&states[3..], row),
            });
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok([self.0.first, self.0.last]
            .into_iter()
            .flat_map(|end| {
                [
                    ScalarValue::Date32(end.map(|end| end.day.days_from_epoch())),
                    ScalarValue::Float64(end.map(|end| end.value)),
                    ScalarValue::Boolean(end.map(|end| end.is_contradicted)),
                ]
            })
            .collect())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let growth = self
            .0
            .annual_growth()
            .map_err(|error| invalid(NAME, error))?;
        Ok(ScalarValue::Float64(growth))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// One end out of its columns of a state.
fn endpoint(columns: &[ArrayRef], row: usize) -> Option<Endpoint> {
    let [days, values, contradicted] = columns else {
        return None;
    };
    let days = days.as_primitive::<Date32Type>();
    days.is_valid(row).then(|| Endpoint {
        day: Day::from_epoch(days.value(row)),
        value: values.as_primitive::<Float64Type>().value(row),
        is_contradicted: contradicted.as_boolean().value(row),
    })
}
