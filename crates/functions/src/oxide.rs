//! What `to_reo` and `from_reo` share.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::oxide_per_mass;

use crate::error::invalid;
use crate::scalar::{Scalar, is_number, is_text};

/// A function of a mass and a substance.
pub(crate) fn by_substance(
    name: &'static str,
    documentation: Documentation,
    compute: fn(&[ArrayRef]) -> Result<ArrayRef>,
) -> Arc<ScalarUDF> {
    let scalar = Scalar {
        name,
        coerce: |given| match given {
            [mass, substance] if is_number(mass) && is_text(substance) => {
                Some(vec![DataType::Float64, DataType::Utf8])
            }
            _ => None,
        },
        result: |_| DataType::Float64,
        compute,
        rises_with: Some(0),
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

/// Masses changed by the factor of their substance, oxide per mass.
pub(crate) fn masses(
    name: &str,
    columns: &[ArrayRef],
    change: fn(mass: f64, factor: f64) -> f64,
) -> Result<ArrayRef> {
    let [masses, substances] = take_function_args(name, columns)?;
    let masses = masses.as_primitive::<Float64Type>();
    // A substance is a constant, or changes rarely.
    let mut last: Option<(&str, f64)> = None;
    let mut changed = Float64Builder::with_capacity(masses.len());
    for (mass, substance) in masses.iter().zip(substances.as_string::<i32>()) {
        let Some((mass, substance)) = mass.zip(substance) else {
            changed.append_null();
            continue;
        };
        let factor = match last {
            Some((known, factor)) if known == substance => factor,
            _ => oxide_per_mass(substance).map_err(|error| invalid(name, error))?,
        };
        last = Some((substance, factor));
        changed.append_value(change(mass, factor));
    }
    Ok(Arc::new(changed.finish()))
}
