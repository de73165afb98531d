//! `end_of_period`: the last day of a calendar unit.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Builder};
use arrow::datatypes::{DataType, Date32Type};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::{Day, UNIT_LETTERS, Unit};

use crate::error::invalid;
use crate::scalar::{Scalar, is_day, is_text};

const NAME: &str = "end_of_period";

/// The scalar function `end_of_period(date, unit)`.
pub(crate) fn end_of_period() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "The last day of the calendar unit that a day lies in, a DATE. NULL where either is NULL. It \
         rises with the day, so rows in the order of their days need no sort.",
        "end_of_period(date, unit)",
    )
    .with_argument("date", "A DATE, or a TIMESTAMP without a zone.")
    .with_argument(
        "unit",
        "D (day), W (ISO week), M (month), Q (quarter), H (half-year) or A (year), as in the column \
         frequency.",
    )
    .with_sql_example("SELECT end_of_period(DATE '2024-02-10', 'M')  -- 2024-02-29")
    .with_related_udf("time_bucket")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [day, unit] if is_day(day) && is_text(unit) => {
                Some(vec![DataType::Date32, DataType::Utf8])
            }
            _ => None,
        },
        result: |_| DataType::Date32,
        compute: ends,
        rises_with: Some(0),
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn ends(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [days, units] = take_function_args(NAME, columns)?;
    let days = days.as_primitive::<Date32Type>();
    let mut ends = Date32Builder::with_capacity(days.len());
    for (day, unit) in days.iter().zip(units.as_string::<i32>()) {
        let Some((day, letter)) = day.zip(unit) else {
            ends.append_null();
            continue;
        };
        let unit = Unit::from_letter(letter).ok_or_else(|| {
            invalid(
                NAME,
                format!("the unit must be {UNIT_LETTERS}, not {letter}"),
            )
        })?;
        let end = unit.end(Day::from_epoch(day));
        ends.append_option(end.map(Day::days_from_epoch));
    }
    Ok(Arc::new(ends.finish()))
}
