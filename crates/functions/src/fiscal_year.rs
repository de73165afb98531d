//! `fiscal_year`: the year of a day, where years start in any month.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Builder};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::interval_arithmetic::Interval as Bounds;
use datafusion_expr::preimage::PreimageResult;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Documentation, Expr, ScalarUDF};
use didymium_model::{Day, FiscalYear};

use crate::error::invalid;
use crate::scalar::{Scalar, is_day, is_text};

const NAME: &str = "fiscal_year";

/// The scalar function `fiscal_year(date, start_month [, named_by])`.
pub(crate) fn fiscal_year() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "The fiscal year of a day, a BIGINT: the calendar year in which it ends, or starts. NULL \
         where an argument is NULL. A condition such as fiscal_year(day, 7) = 2025 reads only the \
         days of that year.",
        "fiscal_year(date, start_month [, named_by])",
    )
    .with_argument("date", "A DATE, or a TIMESTAMP without a zone.")
    .with_argument(
        "start_month",
        "The month, from 1 to 12, in which the year starts.",
    )
    .with_argument(
        "named_by",
        "'end', as where left out: a year from July 2024 is 2025; or 'start': it is 2024.",
    )
    .with_sql_example("SELECT fiscal_year(DATE '2024-07-01', 7)  -- 2025, Australia's")
    .with_related_udf("time_bucket")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [day, month, named_by @ ..]
                if is_day(day)
                    && (month.is_integer() || month.is_null())
                    && named_by.len() <= 1
                    && named_by.iter().all(is_text) =>
            {
                let mut types = vec![DataType::Date32, DataType::Int64];
                types.extend(named_by.iter().map(|_| DataType::Utf8));
                Some(types)
            }
            _ => None,
        },
        result: |_| DataType::Int64,
        compute: years,
        rises_with: Some(0),
        preimage: Some(days_of_year),
        documentation,
    };
    scalar.into_udf()
}

fn years(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [days, months, rest @ ..] = columns else {
        return plan_err!("{NAME} takes a day and a month");
    };
    let days = days.as_primitive::<Date32Type>();
    let months = months.as_primitive::<Int64Type>();
    let named_by = rest.first().map(|names| names.as_string::<i32>());
    let name_in = |row| match named_by {
        None => Some("end"),
        Some(names) => names.is_valid(row).then(|| names.value(row)),
    };
    let mut years = Int64Builder::with_capacity(days.len());
    for (row, (day, month)) in days.iter().zip(months).enumerate() {
        let (Some((day, month)), Some(name)) = (day.zip(month), name_in(row)) else {
            years.append_null();
            continue;
        };
        let (rule, is_by_end) = (rule(month)?, is_by_end(name)?);
        let day = Day::from_epoch(day);
        let year = match is_by_end {
            true => rule.end_year(day),
            false => rule.start_year(day),
        };
        years.append_option(year.map(i64::from));
    }
    Ok(Arc::new(years.finish()))
}

fn rule(month: i64) -> Result<FiscalYear> {
    u32::try_from(month)
        .ok()
        .and_then(FiscalYear::starting_in)
        .ok_or_else(|| {
            invalid(
                NAME,
                format!("a year starts in a month from 1 to 12, not in {month}"),
            )
        })
}

fn is_by_end(name: &str) -> Result<bool> {
    match name {
        "end" => Ok(true),
        "start" => Ok(false),
        other => Err(invalid(
            NAME,
            format!("a year is named by its 'end' or its 'start', not by '{other}'"),
        )),
    }
}

/// The days that give a year, so that a condition on it prunes like one on the days.
fn days_of_year(args: &[Expr], result: &Expr, context: &SimplifyContext) -> Result<PreimageResult> {
    let [day, Expr::Literal(month, _), rest @ ..] = args else {
        return Ok(PreimageResult::None);
    };
    let (Ok(ScalarValue::Int64(Some(month))), Expr::Literal(year, _)) =
        (month.cast_to(&DataType::Int64), result)
    else {
        return Ok(PreimageResult::None);
    };
    let ScalarValue::Int64(Some(year)) = year else {
        return Ok(PreimageResult::None);
    };
    let name = match rest {
        [] => "end",
        [Expr::Literal(name, _)] => name.try_as_str().flatten().unwrap_or_default(),
        _ => return Ok(PreimageResult::None),
    };
    let is_date = context.get_data_type(day)? == DataType::Date32;
    let (Ok(rule), Ok(is_by_end), Ok(year), true) =
        (rule(month), is_by_end(name), i32::try_from(*year), is_date)
    else {
        return Ok(PreimageResult::None);
    };
    let start_year = match is_by_end {
        true => rule.start_of_end(year),
        false => year,
    };
    let next_year = start_year
        .checked_add(1)
        .and_then(|year| rule.first_day(year));
    let (Some(first), Some(after)) = (rule.first_day(start_year), next_year) else {
        return Ok(PreimageResult::None);
    };
    let date = |day: Day| ScalarValue::Date32(Some(day.days_from_epoch()));
    Ok(PreimageResult::Range {
        expr: day.clone(),
        interval: Box::new(Bounds::try_new(date(first), date(after))?),
    })
}
