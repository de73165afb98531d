//! Values between known ones.

use crate::{Buckets, CalendarDay, Interval, Moment};

/// What a line is straight in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Calendar months, each of which has the same length. Where all times are ends of months, they lie
    /// whole months apart.
    Months,
    /// Days.
    Days,
    /// Spans of one interval: each counts the same.
    Buckets(Buckets),
}

/// A place on a scale: whole units, and the part of one. Apart, since their sum would lose digits.
#[derive(Debug, Clone, Copy)]
struct Place {
    whole: i64,
    part: f64,
}

impl Place {
    fn since(self, earlier: Self) -> f64 {
        (self.whole - earlier.whole) as f64 + (self.part - earlier.part)
    }
}

impl Scale {
    /// Where a time stands on the scale; `None` beyond the calendar.
    fn place(self, moment: Moment, are_month_ends: bool) -> Option<Place> {
        const DAY_NS: f64 = 86_400e9;
        let of_day = moment.nanosecond as f64 / DAY_NS;
        match self {
            Self::Days => Some(Place {
                whole: moment.day.days_from_epoch().into(),
                part: of_day,
            }),
            Self::Buckets(buckets) => Some(Place {
                whole: buckets.number(moment.day)?,
                part: 0.0,
            }),
            Self::Months => {
                let day = CalendarDay::of(moment.day)?;
                let passed = (day.day() - 1) as f64 + of_day;
                Some(Place {
                    whole: day.month(),
                    part: match are_month_ends {
                        true => 0.0,
                        false => passed / day.month_end().day() as f64,
                    },
                })
            }
        }
    }
}

/// A value with its row and time.
type Known = (usize, Moment, f64);

/// Fills the holes between known values by straight lines. Ends are never extended, and a hole that
/// is longer than `longest` stays.
pub fn interpolate(
    points: &[(Option<Moment>, Option<f64>)],
    scale: Scale,
    longest: Option<Interval>,
) -> Vec<Option<f64>> {
    let mut times = points.iter().filter_map(|(moment, _)| *moment);
    let are_month_ends = times.all(|time| time.day.is_month_end());
    let place = |moment| scale.place(moment, are_month_ends);
    let mut filled: Vec<Option<f64>> = points.iter().map(|(_, value)| *value).collect();
    let known = |(row, (moment, value)): (usize, &(Option<Moment>, Option<f64>))| {
        Some((row, (*moment)?, (*value)?))
    };
    let mut before: Option<Known> = None;
    for after in points.iter().enumerate().filter_map(known) {
        let Some((first, from, low)) = before.replace(after) else {
            continue;
        };
        let (last, to, high) = after;
        let (Some(start), Some(end), true) = (place(from), place(to), within(from, to, longest))
        else {
            continue;
        };
        for row in first + 1..last {
            let share = points[row].0.and_then(place);
            let share = share.map(|at| at.since(start) / end.since(start));
            // So that it never overflows between numbers that are far apart.
            let value = share.map(|share| low * (1.0 - share) + high * share);
            filled[row] = value.filter(|value| value.is_finite());
        }
    }
    filled
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
