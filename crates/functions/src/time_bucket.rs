//! `time_bucket`: the regular span of time that a day falls into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion_common::{Result, plan_err};
use datafusion_expr::scalar_doc_sections::DOC_SECTION_DATETIME;
use datafusion_expr::{Documentation, ScalarUDF};
use didymium_model::{Buckets, Day};

use crate::scalar::{Scalar, is_day};
use crate::sql_time::{day_of, interval, midnight};

const NAME: &str = "time_bucket";

/// The scalar function `time_bucket(interval, date [, origin])`.
pub(crate) fn time_bucket() -> Arc<ScalarUDF> {
    let documentation = Documentation::builder(
        DOC_SECTION_DATETIME,
        "The first day of the span that a day falls into: a DATE for a DATE, a TIMESTAMP for a \
         TIMESTAMP. Spans follow each other from an origin; months, quarters and years keep their \
         day of the month. NULL where an argument is NULL. It rises with the day, so rows in the \
         order of their days need no sort.",
        "time_bucket(interval, date [, origin])",
    )
    .with_argument("interval", "A number of months, quarters, years, weeks or days.")
    .with_argument("date", "A DATE, or a TIMESTAMP without a zone.")
    .with_argument(
        "origin",
        "A day with which a span starts; where left out Monday 2000-01-03 for whole weeks, else \
         2000-01-01.",
    )
    .with_sql_example(
        "SELECT time_bucket(INTERVAL '3 months', period_start) AS quarter, sum(value)\nFROM exports WHERE series = 'GACC/export/China/World/rare_earths/gross/quantity' AND period_length_months(period_start, period_end) <= 2\nGROUP BY quarter ORDER BY quarter DESC",
    )
    .with_related_udf("time_bucket_gapfill")
    .build();
    let scalar = Scalar {
        name: NAME,
        coerce: bucket_types,
        result: |given| given[1].clone(),
        compute: buckets,
        rises_with: Some(1),
        preimage: None,
        documentation,
    };
    scalar.into_udf()
}

/// The types of an interval, a day and perhaps an origin.
pub(crate) fn bucket_types(given: &[DataType]) -> Option<Vec<DataType>> {
    let [interval, day, origin @ ..] = given else {
        return None;
    };
    let is_interval = matches!(interval, DataType::Interval(_)) || interval.is_null();
    if !is_interval || !is_day(day) || origin.len() > 1 || !origin.iter().all(is_day) {
        return None;
    }
    let day = match day {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => DataType::Date32,
    };
    let mut types = vec![DataType::Interval(IntervalUnit::MonthDayNano), day];
    types.extend(origin.iter().map(|_| DataType::Date32));
    Some(types)
}

fn buckets(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [intervals, days, rest @ ..] = columns else {
        return plan_err!("{NAME} takes an interval and a day");
    };
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let origins = rest.first().map(|it| it.as_primitive::<Date32Type>());
    // An interval is one constant, as a rule.
    let mut last = None;
    let mut rule = |row: usize| -> Result<Option<Buckets>> {
        let origin = match origins {
            Some(origins) if origins.is_null(row) => return Ok(None),
            Some(origins) => Some(Day::from_epoch(origins.value(row))),
            None => None,
        };
        if intervals.is_null(row) {
            return Ok(None);
        }
        let parts = intervals.value(row);
        match last {
            Some((known, interval)) if known == parts => Ok(Some(Buckets::new(interval, origin))),
            _ => {
                let interval = interval(NAME, parts)?;
                last = Some((parts, interval));
                Ok(Some(Buckets::new(interval, origin)))
            }
        }
    };
    let mut start =
        |row, day| -> Result<Option<Day>> { Ok(rule(row)?.and_then(|buckets| buckets.start(day))) };
    if days.data_type() == &DataType::Date32 {
        let starts = days.as_primitive::<Date32Type>().iter().enumerate();
        let starts = starts.map(|(row, day)| match day {
            None => Ok(None),
            Some(day) => Ok(start(row, Day::from_epoch(day))?.map(Day::days_from_epoch)),
        });
        return Ok(Arc::new(
            starts.collect::<Result<PrimitiveArray<Date32Type>>>()?,
        ));
    }
    let times = days.as_primitive::<TimestampMicrosecondType>();
    let starts = times.iter().enumerate().map(|(row, time)| {
        let day = time.and_then(day_of);
        let Some(day) = day else {
            return Ok(None);
        };
        let start = start(row, day)?;
        Ok(start.map(midnight))
    });
    Ok(Arc::new(
        starts.collect::<Result<PrimitiveArray<TimestampMicrosecondType>>>()?,
    ))
}
