//! The regular spans of time that days fall into.

use crate::{CalendarDay, Day, Interval};

/// Spans of one interval each, counted from a day with which one of them starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    interval: Interval,
    origin: Day,
}

/// 2000-01-01, and the first Monday after it.
const ORIGIN: Day = Day::from_epoch(10_957);
const MONDAY: Day = Day::from_epoch(10_959);

impl Buckets {
    /// Spans from an origin; where it is left out, from 2000-01-01, or for whole weeks from the Monday
    /// after it.
    pub fn new(interval: Interval, origin: Option<Day>) -> Self {
        let usual = match interval {
            Interval::Days(days) if days % 7 == 0 => MONDAY,
            _ => ORIGIN,
        };
        Self {
            interval,
            origin: origin.unwrap_or(usual),
        }
    }

    /// The first day of the span that a day falls into; `None` beyond the calendar.
    pub fn start(self, day: Day) -> Option<Day> {
        self.span(day).map(|(_, first)| first)
    }

    /// The first day of the next span; `None` beyond the calendar.
    pub fn next(self, day: Day) -> Option<Day> {
        let number = self.number(day)?;
        self.first_day(number.checked_add(1)?)
    }

    /// How many spans lie between the origin and the one that a day falls into.
    pub fn number(self, day: Day) -> Option<i64> {
        self.span(day).map(|(number, _)| number)
    }

    /// The number and the first day of the span that a day falls into.
    fn span(self, day: Day) -> Option<(i64, Day)> {
        let number = match self.interval {
            Interval::Days(days) => {
                let distance =
                    i64::from(day.days_from_epoch()) - i64::from(self.origin.days_from_epoch());
                distance.div_euclid(days.into())
            }
            Interval::Months(months) => {
                let (origin, place) = (CalendarDay::of(self.origin)?, CalendarDay::of(day)?);
                (place.month() - origin.month()).div_euclid(months.into())
            }
        };
        let first = self.first_day(number)?;
        // A span that starts late in its month may not have started by this day.
        match first <= day {
            true => Some((number, first)),
            false => Some((number - 1, self.first_day(number - 1)?)),
        }
    }

    /// The first day of a span.
    fn first_day(self, number: i64) -> Option<Day> {
        match self.interval {
            Interval::Days(days) => {
                let distance = number.checked_mul(days.into())?;
                let day = i64::from(self.origin.days_from_epoch()).checked_add(distance)?;
                i32::try_from(day).ok().map(Day::from_epoch)
            }
            Interval::Months(months) => {
                let distance = number.checked_mul(months.into())?;
                let span = Interval::Months(u32::try_from(distance.unsigned_abs()).ok()?);
                match distance {
                    ..0 => self.origin.earlier(span),
                    _ => self.origin.later(span, 1),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_from_their_origin() {
        let day = |text| Day::parse(text).expect("a test names real days");
        for (interval, origin, of, start, next) in [
            (
                Interval::MONTH,
                None,
                "2024-03-31",
                "2024-03-01",
                "2024-04-01",
            ),
            (
                Interval::QUARTER,
                None,
                "1999-12-31",
                "1999-10-01",
                "2000-01-01",
            ),
            (
                Interval::YEAR,
                Some("2000-04-01"),
                "2024-03-31",
                "2023-04-01",
                "2024-04-01",
            ),
            (
                Interval::MONTH,
                Some("2000-01-31"),
                "2024-02-29",
                "2024-02-29",
                "2024-03-31",
            ),
            (
                Interval::MONTH,
                Some("2000-01-31"),
                "2024-02-28",
                "2024-01-31",
                "2024-02-29",
            ),
            (
                Interval::Days(7),
                None,
                "2024-03-17",
                "2024-03-11",
                "2024-03-18",
            ),
            (
                Interval::Days(1),
                None,
                "1970-01-01",
                "1970-01-01",
                "1970-01-02",
            ),
        ] {
            let buckets = Buckets::new(interval, origin.map(day));
            assert_eq!(buckets.start(day(of)), Some(day(start)), "{of}");
            assert_eq!(buckets.next(day(of)), Some(day(next)), "{of}");
        }
        assert_eq!(
            Buckets::new(Interval::MONTH, None).start(Day::from_epoch(i32::MIN)),
            None
        );
    }
}
