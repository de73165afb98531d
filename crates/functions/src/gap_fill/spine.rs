//! The rows of one series with its missing buckets, and what stands in them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimestampMicrosecondType};
use datafusion_common::{Result, internal_err};
use didymium_model::{Buckets, Day, Moment, Scale, interpolate, within};

use crate::gap_fill::node::{Fill, FillKind};
use crate::sql_time::{day_of, midnight};

/// For each row of a filled series: its bucket, and the row that it comes from.
pub(super) struct Spine {
    days: Vec<Option<Day>>,
    rows: Vec<Option<u32>>,
}

impl Spine {
    /// The buckets from the first row's to the last's. `room` is how many rows may be added; `None`
    /// where that is too few.
    pub(super) fn of(column: &ArrayRef, buckets: Buckets, room: usize) -> Result<Option<Self>> {
        let mut spine = Self {
            days: Vec::with_capacity(column.len()),
            rows: Vec::with_capacity(column.len()),
        };
        let mut expected: Option<Day> = None;
        let mut added = 0;
        for (row, day) in days(column)?.into_iter().enumerate() {
            if let Some(day) = day {
                while let Some(missing) = expected.filter(|missing| *missing < day) {
                    if added == room {
                        return Ok(None);
                    }
                    added += 1;
                    spine.days.push(Some(missing));
                    spine.rows.push(None);
                    expected = buckets.next(missing);
                }
                expected = buckets.next(day);
            }
            spine.days.push(day);
            spine.rows.push(Some(row as u32));
        }
        Ok(Some(spine))
    }

    pub(super) fn added(&self) -> usize {
        self.rows.iter().filter(|row| row.is_none()).count()
    }

    /// The columns of the filled series.
    pub(super) fn columns(
        &self,
        rows: &RecordBatch,
        bucket: usize,
        keys: &[usize],
        buckets: Buckets,
        fills: &[Fill],
    ) -> Result<Vec<ArrayRef>> {
        let places = UInt32Array::from(self.rows.clone());
        let first = UInt32Array::from(vec![0; self.rows.len()]);
        let columns = rows.columns().iter().enumerate().map(|(place, column)| {
            if place == bucket {
                return self.bucket_column(column.data_type());
            }
            if keys.contains(&place) {
                return Ok(take(column, &first, None)?);
            }
            match fills.iter().find(|fill| fill.column == place) {
                None => Ok(take(column, &places, None)?),
                Some(fill) if fill.kind == FillKind::LastKnown => {
                    Ok(take(column, &self.last_known(column, fill), None)?)
                }
                Some(fill) => self.lines(column, fill, buckets),
            }
        });
        columns.collect()
    }

    fn bucket_column(&self, data_type: &DataType) -> Result<ArrayRef> {
        let days = self.days.iter();
        match data_type {
            DataType::Date32 => {
                let days = days.map(|day| day.map(Day::days_from_epoch));
                Ok(Arc::new(days.collect::<Date32Array>()))
            }
            DataType::Timestamp(_, _) => {
                let times = days.map(|day| day.map(midnight));
                Ok(Arc::new(times.collect::<TimestampMicrosecondArray>()))
            }
            other => internal_err!("a bucket arrived as {other}"),
        }
    }

    /// The row whose value stands in each row.
    fn last_known(&self, column: &ArrayRef, fill: &Fill) -> UInt32Array {
        let mut last: Option<(u32, Option<Day>)> = None;
        let known = self.rows.iter().zip(&self.days).map(|(row, day)| {
            if let Some(row) = row.filter(|row| column.is_valid(*row as usize)) {
                last = Some((row, *day));
                return Some(row);
            }
            let (row, since) = last?;
            let (since, day) = since.zip(*day)?;
            within(since.into(), day.into(), fill.max_gap).then_some(row)
        });
        known.collect()
    }

    fn lines(&self, column: &ArrayRef, fill: &Fill, buckets: Buckets) -> Result<ArrayRef> {
        let values = column.as_primitive::<Float64Type>();
        let point = |(row, day): (&Option<u32>, &Option<Day>)| {
            let value = row
                .map(|row| row as usize)
                .filter(|row| values.is_valid(*row))
                .map(|row| values.value(row));
            (day.map(Moment::from), value)
        };
        let points: Vec<_> = self.rows.iter().zip(&self.days).map(point).collect();
        let filled = interpolate(&points, Scale::Buckets(buckets), fill.max_gap);
        Ok(Arc::new(Float64Array::from(filled)))
    }
}

fn days(column: &ArrayRef) -> Result<Vec<Option<Day>>> {
    match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            Ok(days.iter().map(|day| day.map(Day::from_epoch)).collect())
        }
        DataType::Timestamp(_, _) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            Ok(times.iter().map(|time| time.and_then(day_of)).collect())
        }
        other => internal_err!("a bucket arrived as {other}"),
    }
}
