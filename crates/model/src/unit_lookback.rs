//! A series' past by calendar units: any day of the month will do.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::unit::Ordinals;
use crate::{Base, Interval, InvalidInterval, Misplaced, Period, Unit};

/// One interval's worth of a series, in which a period's base is the one whose start and end lie in the
/// calendar units one interval earlier, wherever in them.
#[derive(Debug)]
pub struct UnitLookback {
    ordinals: Ordinals,
    /// Whether [`Base::LengthDiffers`] is told from [`Base::Missing`].
    explains: bool,
    /// The values by the units of start and end. Periods that start in one unit may end in any order.
    recent: BTreeMap<(i64, i64), Option<f64>>,
}

impl UnitLookback {
    /// An empty past. With `explains`, it tells a base of another length from none.
    ///
    /// # Errors
    /// [`InvalidInterval`] where the interval is no whole number of the units.
    pub fn new(interval: Interval, unit: Unit, explains: bool) -> Result<Self, InvalidInterval> {
        Ok(Self {
            ordinals: Ordinals::new(interval, unit)?,
            explains,
            recent: BTreeMap::new(),
        })
    }

    /// Adds the next period of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] for units that come twice, and for a start before that of the period added before.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        let ordinals = self.ordinals;
        let (Some(start), Some(end)) = (ordinals.of(period.start.day), ordinals.of(period.end.day))
        else {
            return Ok(Base::Missing);
        };
        let last = self.recent.last_key_value();
        if last.is_some_and(|((last, _), _)| *last > start) {
            return Err(Misplaced::OutOfOrder(period));
        }
        let wanted = (ordinals.earlier(start), ordinals.earlier(end));
        let explains = self.explains;
        let is_past = |units: &(i64, i64)| match explains {
            false => units.0 < wanted.0,
            true => units.1 < wanted.0,
        };
        while let Some(oldest) = self.recent.first_entry()
            && is_past(oldest.key())
        {
            oldest.remove();
        }
        let base = match self.recent.get(&wanted) {
            None if explains && self.recent.keys().any(|units| units.1 == wanted.1) => {
                Base::LengthDiffers
            }
            None => Base::Missing,
            Some(None) => Base::Null,
            Some(Some(value)) => Base::Value(*value),
        };
        match self.recent.entry((start, end)) {
            Entry::Occupied(_) => return Err(Misplaced::Duplicate(period)),
            Entry::Vacant(place) => place.insert(value),
        };
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
        let mut past = UnitLookback::new(Interval::YEAR, Unit::Month, false).expect("whole months");
        assert_eq!(past.next(on("2023-01-31"), Some(1.0)), Ok(Base::Missing));
        assert_eq!(past.next(on("2024-01-02"), None), Ok(Base::Value(1.0)));
        assert_eq!(past.next(on("2025-01-15"), Some(3.0)), Ok(Base::Null));
        assert_eq!(
            past.next(on("2025-01-16"), Some(3.0)),
            Err(Misplaced::Duplicate(on("2025-01-16")))
        );
    }
}
