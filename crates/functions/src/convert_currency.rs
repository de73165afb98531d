//! `convert_currency`: a value in another currency, at the rate of its own day.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use didymium_model::{Day, ExchangeRates};

use crate::scalar::{coerced, is_day, is_number, is_text, results_of};

const NAME: &str = "convert_currency";

/// The scalar function `convert_currency(value, from, to, date)` over these rates. Without any it
/// gives NULL; a program that has rates registers the function anew with them.
pub fn convert_currency(rates: Arc<ExchangeRates>) -> ScalarUDF {
    let documentation = Documentation::builder(
        DOC_SECTION_MATH,
        "A value in another currency, at the rate of its own day. The rates are the rows of the table \
         exchange_rates, which comes empty: `didymium load exchange_rates FILE.csv` brings them. A rate \
         is used as it is stated, else the other way round, else by way of the first currency in the \
         alphabet that has both rates on that day; never the rate of another day (an as-of join finds \
         the last one before a weekend). NULL where an argument is NULL or that day has no rate; the \
         value itself where both currencies are the same. At most a million rates are read.",
        "convert_currency(value, from, to, date)",
    )
    .with_argument("value", "The number, of any numeric type; the result is a DOUBLE.")
    .with_argument("from, to", "Currencies, written as exchange_rates has them, such as CNY and USD.")
    .with_argument("date", "The day, a DATE or TIMESTAMP.")
    .with_sql_example(
        "SELECT convert_currency(718.84, 'CNY', 'USD', DATE '2024-12-31')  -- NULL until rates are loaded",
    )
    .with_related_udf("convert_unit")
    .build();
    ScalarUDF::new_from_impl(ConvertCurrency {
        rates,
        signature: Signature::user_defined(Volatility::Immutable),
        documentation,
    })
}

#[derive(Debug)]
struct ConvertCurrency {
    rates: Arc<ExchangeRates>,
    signature: Signature,
    documentation: Documentation,
}

// Two statements may see different rates: the function is the same only over the same ones.
impl PartialEq for ConvertCurrency {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rates, &other.rates)
    }
}

impl Eq for ConvertCurrency {}

impl Hash for ConvertCurrency {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.rates).hash(state);
    }
}

impl ScalarUDFImpl for ConvertCurrency {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let types = match given {
            [value, from, to, date]
                if is_number(value) && is_text(from) && is_text(to) && is_day(date) =>
            {
                Some(vec![
                    DataType::Float64,
                    DataType::Utf8,
                    DataType::Utf8,
                    DataType::Date32,
                ])
            }
            _ => None,
        };
        coerced(NAME, types, given, &self.documentation)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        results_of(NAME, &args.args, |columns| self.converted(columns))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl ConvertCurrency {
    fn converted(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let [values, from, to, days] = take_function_args(NAME, columns)?;
        let values = values.as_primitive::<Float64Type>();
        let (from, to) = (from.as_string::<i32>(), to.as_string::<i32>());
        let days = days.as_primitive::<Date32Type>();
        let converted = (0..values.len()).map(|row| {
            let valid = [values as &dyn Array, from, to, days];
            if valid.iter().any(|column| column.is_null(row)) {
                return None;
            }
            let day = Day::from_epoch(days.value(row));
            let rate = self.rates.rate(from.value(row), to.value(row), day)?;
            Some(values.value(row) * rate)
        });
        Ok(Arc::new(converted.collect::<Float64Array>()))
    }
}
