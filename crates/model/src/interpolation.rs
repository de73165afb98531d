//! Values between known ones.

use crate::{Buckets, CalendarDay, Interval, Moment};

/// What a line is straight in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Calendar months: each has the same length, and a month's end is a whole number of months from
    /// another's.
    Months,
    /// Days.
    Days,
    /// Spans of one interval: each counts the same.
    Buckets(Buckets),
}

impl Scale {
    /// Where a time stands on the scale; `None` beyond the calendar.
    fn place(self, moment: Moment) -> Option<f64> {
        const DAY_NS: f64 = 86_400e9;
        let of_day = moment.nanosecond as f64 / DAY_NS;
        match self {
            Self::Days => Some(f64::from(moment.day.days_from_epoch()) + of_day),
            Self::Buckets(buckets) => buckets.number(moment.day).map(|number| number as f64),
            Self::Months => {
                let day = CalendarDay::of(moment.day)?;
                if day.is_month_end() {
                    return Some((day.month() + 1) as f64);
                }
                let length = day.month_end().day() as f64;
                let passed = (day.day() - 1) as f64 + of_day;
                Some(day.month() as f64 + passed / length)
            }
        }
    }
}

/// Fills the holes between known values by straight lines. Ends are never extended, and a hole that
/// is longer than `longest` stays.
pub fn interpolate(
    points: &[(Option<Moment>, Option<f64>)],
    scale: Scale,
    longest: Option<Interval>,
) -> Vec<Option<f64>> {
    let mut filled: Vec<Option<f64>> = points.iter().map(|(_, value)| *value).collect();
    let known = |(row, (moment, value)): (usize, &(Option<Moment>, Option<f64>))| {
        Some((row, (*moment)?, (*value)?))
    };
    let mut before: Option<(usize, Moment, f64)> = None;
    for after in points.iter().enumerate().filter_map(known) {
        if let Some(before) = before.replace(after)
            && after.0 - before.0 > 1
            && within(before.1, after.1, longest)
        {
            fill(points, scale, before, after, &mut filled);
        }
    }
    filled
}

fn fill(
    points: &[(Option<Moment>, Option<f64>)],
    scale: Scale,
    (first, from, low): (usize, Moment, f64),
    (last, to, high): (usize, Moment, f64),
    filled: &mut [Option<f64>],
) {
    let (Some(from), Some(to)) = (scale.place(from), scale.place(to)) else {
        return;
    };
    for row in first + 1..last {
        let at = points[row].0.and_then(|moment| scale.place(moment));
        filled[row] = at.map(|at| low + (high - low) * (at - from) / (to - from));
    }
}

/// Whether a time lies at most `longest` after another.
pub fn within(before: Moment, after: Moment, longest: Option<Interval>) -> bool {
    match longest {
        None => true,
        Some(longest) => after
            .earlier(longest)
            .is_none_or(|earliest| earliest <= before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Day;

    fn at(text: &str) -> Option<Moment> {
        Day::parse(text).map(Moment::from)
    }

    #[test]
    fn months_have_one_length_and_days_too() {
        let points = [
            (at("2024-01-31"), Some(0.0)),
            (at("2024-02-29"), None),
            (at("2024-03-31"), Some(2.0)),
        ];
        assert_eq!(interpolate(&points, Scale::Months, None)[1], Some(1.0));
        let by_days = interpolate(&points, Scale::Days, None)[1].expect("it lies between");
        assert!((by_days - 29.0 / 60.0 * 2.0).abs() < 1e-12, "{by_days}");
    }

    #[test]
    fn ends_stay_open_and_long_holes_too() {
        let points = [
            (at("2024-01-01"), None),
            (at("2024-02-01"), Some(1.0)),
            (at("2024-03-01"), None),
            (at("2024-04-01"), Some(3.0)),
            (at("2024-05-01"), None),
        ];
        let two_months = Some(Interval::Months(2));
        let filled = [None, Some(1.0), Some(2.0), Some(3.0), None];
        assert_eq!(interpolate(&points, Scale::Months, two_months), filled);
        let one_month = Some(Interval::Months(1));
        assert_eq!(interpolate(&points, Scale::Months, one_month)[2], None);
    }
}
