//! A series' past with a tolerance: trading days have holes.

use std::collections::VecDeque;

use crate::{Base, Interval, Misplaced, Moment, Period};

/// One interval's worth of a series of single dates, in which a date's base is the newest one that is
/// not after the wanted date and not further back than a tolerance.
#[derive(Debug)]
pub struct NearestLookback {
    interval: Interval,
    tolerance: Interval,
    recent: VecDeque<(Moment, Option<f64>)>,
}

impl NearestLookback {
    /// An empty past.
    pub fn new(interval: Interval, tolerance: Interval) -> Self {
        Self {
            interval,
            tolerance,
            recent: VecDeque::new(),
        }
    }

    /// Adds the next date of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] unless the date lies after the one added before.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        let moment = period.start;
        match self.recent.back() {
            Some((last, _)) if *last == moment => return Err(Misplaced::Duplicate(period)),
            Some((last, _)) if *last > moment => return Err(Misplaced::OutOfOrder(period)),
            _ => {}
        }
        let Some(wanted) = moment.earlier(self.interval) else {
            return Ok(Base::Missing);
        };
        let oldest = wanted.earlier(self.tolerance);
        while oldest.is_some_and(|oldest| self.recent.front().is_some_and(|(at, _)| *at < oldest)) {
            self.recent.pop_front();
        }
        let after = self.recent.partition_point(|(at, _)| *at <= wanted);
        let base = match after.checked_sub(1).map(|place| self.recent[place].1) {
            None => Base::Missing,
            Some(None) => Base::Null,
            Some(Some(value)) => Base::Value(value),
        };
        self.recent.push_back((moment, value));
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Day;

    #[test]
    fn the_newest_date_within_the_tolerance_is_the_base() {
        let mut past = NearestLookback::new(Interval::YEAR, Interval::Days(5));
        let mut next = |text: &str, value| {
            let day = Day::parse(text).expect("a test names real days");
            past.next(Period::of_days(day, day), value)
        };
        assert_eq!(next("2023-02-22", Some(1.0)), Ok(Base::Missing));
        assert_eq!(next("2023-02-27", Some(2.0)), Ok(Base::Missing));
        assert_eq!(next("2024-02-26", Some(3.0)), Ok(Base::Value(1.0)));
        assert_eq!(next("2024-02-28", None), Ok(Base::Value(2.0)));
        assert_eq!(next("2024-03-04", Some(4.0)), Ok(Base::Value(2.0)));
        assert_eq!(next("2024-03-05", Some(4.0)), Ok(Base::Missing));
        assert_eq!(next("2025-03-01", Some(4.0)), Ok(Base::Null));
    }
}
