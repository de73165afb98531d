//! The rules by which a period finds its base.

use crate::{
    Base, Interval, InvalidInterval, Lookback, Misplaced, NearestLookback, Period, Unit,
    UnitLookback,
};

/// Which earlier period counts as the base of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Match {
    /// The one that lies exactly one interval earlier.
    #[default]
    Exact,
    /// The one in the calendar unit that lies one interval earlier, wherever in that unit.
    Unit(Unit),
    /// The newest one that is at most so much older than the day one interval earlier.
    Nearest(Interval),
}

/// The recent past of one series, by one of the rules.
#[derive(Debug)]
pub enum Bases {
    /// See [`Match::Exact`].
    Exact(Lookback),
    /// See [`Match::Unit`].
    Unit(UnitLookback),
    /// See [`Match::Nearest`].
    Nearest(NearestLookback),
}

impl Bases {
    /// An empty past. With `explains`, [`Base::LengthDiffers`] is told from [`Base::Missing`].
    ///
    /// # Errors
    /// [`InvalidInterval`] where the interval is no whole number of the units.
    pub fn new(interval: Interval, rule: Match, explains: bool) -> Result<Self, InvalidInterval> {
        Ok(match rule {
            Match::Exact if explains => Self::Exact(Lookback::explaining(interval)),
            Match::Exact => Self::Exact(Lookback::new(interval)),
            Match::Unit(unit) => Self::Unit(UnitLookback::new(interval, unit, explains)?),
            Match::Nearest(tolerance) => Self::Nearest(NearestLookback::new(interval, tolerance)),
        })
    }

    /// Adds the next period of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] unless the period lies after the one added before.
    #[inline]
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        match self {
            Self::Exact(past) => past.next(period, value),
            Self::Unit(past) => past.next(period, value),
            Self::Nearest(past) => past.next(period, value),
        }
    }
}
