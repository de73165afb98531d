//! A series' past by calendar units: any day of the month will do.

use std::collections::VecDeque;

use crate::unit::Ordinals;
use crate::{Base, Interval, InvalidInterval, Misplaced, Period, Unit};

/// One interval's worth of a series, in which a period's base is the one whose start and end lie in the
/// calendar units one interval earlier, wherever in them.
#[derive(Debug)]
pub struct UnitLookback {
    ordinals: Ordinals,
    /// The units of start and end, and the value, in their order.
    recent: VecDeque<((i64, i64), Option<f64>)>,
}

impl UnitLookback {
    /// An empty past.
    ///
    /// # Errors
    /// [`InvalidInterval`] where the interval is no whole number of the units.
    pub fn new(interval: Interval, unit: Unit) -> Result<Self, InvalidInterval> {
        Ok(Self {
            ordinals: Ordinals::new(interval, unit)?,
            recent: VecDeque::new(),
        })
    }

    /// Adds the next period of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] unless the period lies in later units than the one added before.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        let ordinals = self.ordinals;
        let (Some(start), Some(end)) = (ordinals.of(period.start.day), ordinals.of(period.end.day))
        else {
            return Ok(Base::Missing);
        };
        let units = (start, end);
        match self.recent.back() {
            Some((last, _)) if *last == units => return Err(Misplaced::Duplicate(period)),
            Some((last, _)) if *last > units => return Err(Misplaced::OutOfOrder(period)),
            _ => {}
        }
        let wanted = (ordinals.earlier(start), ordinals.earlier(end));
        while self
            .recent
            .front()
            .is_some_and(|((oldest, _), _)| *oldest < wanted.0)
        {
            self.recent.pop_front();
        }
        let found = self
            .recent
            .binary_search_by(|(units, _)| units.cmp(&wanted))
            .ok();
        let base = match found.map(|place| self.recent[place].1) {
            None => Base::Missing,
            Some(None) => Base::Null,
            Some(Some(value)) => Base::Value(value),
        };
        self.recent.push_back((units, value));
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Day;

    fn on(text: &str) -> Period {
        let day = Day::parse(text).expect("a test names real days");
        Period::of_days(day, day)
    }

    #[test]
    fn any_day_of_the_month_meets_any_day_of_the_base_month() {
        let mut past = UnitLookback::new(Interval::YEAR, Unit::Month).expect("whole months");
        assert_eq!(past.next(on("2023-01-31"), Some(1.0)), Ok(Base::Missing));
        assert_eq!(past.next(on("2024-01-02"), None), Ok(Base::Value(1.0)));
        assert_eq!(past.next(on("2025-01-15"), Some(3.0)), Ok(Base::Null));
        assert_eq!(
            past.next(on("2025-01-16"), Some(3.0)),
            Err(Misplaced::Duplicate(on("2025-01-16")))
        );
    }
}
