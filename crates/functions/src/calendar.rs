//! `calendar_periods`: the list behind the relation `calendar`.

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, AsArray, Date32Builder, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Fields, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion_common::Result;
use datafusion_common::utils::take_function_args;
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::{Day, Period};

use crate::error::invalid;
use crate::scalar::{Scalar, is_day};
use crate::sql_time::interval;

const NAME: &str = "calendar_periods";

/// Periods of all lists of one batch.
const LONGEST: usize = 1_000_000;

/// The scalar function `calendar_periods(first, last, interval)`.
pub(crate) fn calendar_periods() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "The periods that follow each other from a day on, as a list of STRUCT(period_start, \
         period_end), up to the one that holds the last day. Each starts a whole number of intervals \
         after the first, so a month's end never drifts. Empty where the last day lies before the \
         first; NULL where an argument is NULL; an error beyond a million periods. In FROM write \
         calendar.",
        "calendar_periods(first, last, interval)",
    )
    .with_argument("first", "The day with which the first period starts.")
    .with_argument("last", "A day that the last period holds.")
    .with_argument("interval", "A number of months, quarters, years, weeks or days.")
    .with_sql_example(
        "SELECT calendar_periods(DATE '2024-01-01', DATE '2024-06-30', INTERVAL '3 months')",
    )
    .with_related_udf("time_bucket")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: |given| match given {
            [first, last, interval]
                if is_day(first)
                    && is_day(last)
                    && (matches!(interval, DataType::Interval(_)) || interval.is_null()) =>
            {
                let interval = DataType::Interval(IntervalUnit::MonthDayNano);
                Some(vec![DataType::Date32, DataType::Date32, interval])
            }
            _ => None,
        },
        result: |_| DataType::List(item()),
        compute: lists,
        rises_with: None,
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("period_start", DataType::Date32, false),
        Field::new("period_end", DataType::Date32, false),
    ])
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), true))
}

fn lists(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [first, last, intervals] = take_function_args(NAME, columns)?;
    let (first, last) = (
        first.as_primitive::<Date32Type>(),
        last.as_primitive::<Date32Type>(),
    );
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let (mut starts, mut ends) = (Date32Builder::new(), Date32Builder::new());
    let mut lengths = Vec::with_capacity(first.len());
    let mut nulls = Vec::with_capacity(first.len());
    for ((first, last), parts) in first.iter().zip(last).zip(intervals) {
        let before = starts.len();
        if let (Some((first, last)), Some(parts)) = (first.zip(last), parts) {
            let interval = interval(NAME, parts)?;
            let (first, last) = (Day::from_epoch(first), Day::from_epoch(last));
            for period in Period::from_on(first, interval).take_while(|it| it.start.day <= last) {
                if starts.len() == LONGEST {
                    return Err(invalid(
                        NAME,
                        format!("more than {LONGEST} periods: take a longer interval"),
                    ));
                }
                starts.append_value(period.start.day.days_from_epoch());
                ends.append_value(period.end.day.days_from_epoch());
            }
            nulls.push(true);
        } else {
            nulls.push(false);
        }
        lengths.push(starts.len() - before);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(starts.finish()), Arc::new(ends.finish())];
    let periods = StructArray::try_new(fields(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(
        item(),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(periods),
        Some(NullBuffer::from(nulls)),
    )?))
}
