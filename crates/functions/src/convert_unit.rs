//! `convert_unit`: a value in another unit of the same dimension.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_MATH;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::{Conversion, Measure};

use crate::error::invalid;
use crate::scalar::{Scalar, is_number, is_text};

const NAME: &str = "convert_unit";

/// The scalar function `convert_unit(value, from, to)`.
pub(crate) fn convert_unit() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_MATH,
        "A value in another unit: of a mass, or of a price per mass in one currency. NULL where an \
         argument is NULL; an error for a unit that is not known, and for units of different \
         dimensions or currencies. It never changes what a tonne is counted in: to_reo does. The \
         pound is 0.45359237 kg (agreement of 1959); the others follow from it (NIST Special \
         Publication 811).",
        "convert_unit(value, from, to)",
    )
    .with_argument("value", "The number, of any numeric type; the result is a DOUBLE.")
    .with_argument(
        "from, to",
        "t, kt, Mt, kg, g, lb, oz_troy, st (short ton), lt (long ton), 吨, 万吨; or a currency's three \
         letters per one of them, such as USD/kg.",
    )
    .with_sql_example("SELECT convert_unit(60.5, 'USD/kg', 'USD/t')  -- 60500")
    .with_related_udf("to_reo")
    .with_related_udf("convert_currency")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [value, from, to] if is_number(value) && is_text(from) && is_text(to) => {
                Some(vec![DataType::Float64, DataType::Utf8, DataType::Utf8])
            }
            _ => None,
        },
        result: |_| DataType::Float64,
        compute: converted,
        rises_with: Some(0),
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn converted(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [values, from, to] = take_function_args(NAME, columns)?;
    let values = values.as_primitive::<Float64Type>();
    let units = from.as_string::<i32>().iter().zip(to.as_string::<i32>());
    // Units are constants, or change rarely.
    let mut last: Option<((&str, &str), Conversion)> = None;
    let mut converted = Float64Builder::with_capacity(values.len());
    for (value, (from, to)) in values.iter().zip(units) {
        let (Some(value), Some(units)) = (value, from.zip(to)) else {
            converted.append_null();
            continue;
        };
        let conversion = match last {
            Some((known, conversion)) if known == units => conversion,
            _ => conversion(units)?,
        };
        last = Some((units, conversion));
        converted.append_value(conversion.of(value));
    }
    Ok(Arc::new(converted.finish()))
}

fn conversion((from, to): (&str, &str)) -> Result<Conversion> {
    let measure = |name| Measure::named(name).map_err(|error| invalid(NAME, error));
    measure(from)?
        .to(&measure(to)?, (from, to))
        .map_err(|error| invalid(NAME, error))
}
