//! The recent past of one series, in which each new period finds its base.

use std::collections::VecDeque;

use crate::{Interval, Period};

/// What lies one interval before a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// Nothing was observed for the base period.
    Missing,
    /// The base period was observed without a value.
    Null,
    /// The value of the base period.
    Value(f64),
}

/// Why a period can't follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// The series already has a value for this period.
    #[error("two rows for one period, {0}: partition by series, or pick a vintage")]
    Duplicate(Period),
    /// The period lies before the one that came last.
    #[error("the period {0} came after a later one")]
    OutOfOrder(Period),
}

/// One interval's worth of a series, read in the order of its periods.
///
/// Each period is looked up by its calendar, never by counting rows, so a gap gives no base and
/// never a wrong one. Memory is bounded by the rows of one interval; a look-up is a binary search.
#[derive(Debug)]
pub struct Lookback {
    interval: Interval,
    /// In the order of the periods; nothing older than any base still to come.
    recent: VecDeque<(Period, Option<f64>)>,
}

impl Lookback {
    /// An empty past, for bases that lie `interval` back.
    pub fn new(interval: Interval) -> Self {
        Self {
            interval,
            recent: VecDeque::new(),
        }
    }

    /// Adds the next period of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] unless the period lies after the one added before.
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        match self.recent.back() {
            Some((last, _)) if *last == period => return Err(Misplaced::Duplicate(period)),
            Some((last, _)) if *last > period => return Err(Misplaced::OutOfOrder(period)),
            _ => {}
        }
        let bases = period.bases(self.interval);
        self.forget_before(&bases);
        let base = bases.iter().flatten().find_map(|base| self.at(*base));
        self.recent.push_back((period, value));
        Ok(match base {
            None => Base::Missing,
            Some(None) => Base::Null,
            Some(Some(value)) => Base::Value(value),
        })
    }

    fn at(&self, period: Period) -> Option<Option<f64>> {
        // The base is nearly always the oldest row kept.
        match self.recent.front() {
            Some((oldest, value)) if *oldest == period => return Some(*value),
            _ => {}
        }
        let found = self
            .recent
            .binary_search_by(|(other, _)| other.cmp(&period))
            .ok()?;
        Some(self.recent[found].1)
    }

    /// Drops what no later period can have as its base.
    ///
    /// Starts never go back, and a later start's base starts no earlier than the same day of the
    /// base month: the first candidate. Without one (a day that the base month lacks) nothing is
    /// dropped; the next period does it.
    fn forget_before(&mut self, bases: &[Option<Period>; 2]) {
        let Some(earliest) = bases[0] else { return };
        while self
            .recent
            .front()
            .is_some_and(|(oldest, _)| oldest.start < earliest.start)
        {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
