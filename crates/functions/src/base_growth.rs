//! Functions of a value and the one an interval earlier: `growth` and its kin.

use datafusion_common::Result;
use datafusion_expr::Documentation;
use didymium_model::{Base, Bases, Interval, Period, growth, no_growth, signed_growth};

use crate::arguments::{Arguments, Call, Constant, Periods};
use crate::cells::{Cell, CellType};
use crate::error::invalid;
use crate::period_window::{Behaviour, PeriodWindow, RowState};

/// What is made of a value and its base.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Comparison {
    /// The base itself.
    Prior,
    /// The difference.
    Change,
    /// The growth, as a fraction.
    Growth,
    /// Why there is no growth.
    Reason,
}

/// The options that say which period is a base.
pub(crate) const MATCHING: &[&str] = &["match", "tolerance"];

/// The options of growth.
pub(crate) const MATCHING_AND_SIGN: &[&str] = &["match", "tolerance", "signed"];

/// A function over an interval that the call says; `result` is what `comparison` gives.
pub(crate) fn over_interval(
    name: &'static str,
    (comparison, result): (Behaviour, CellType),
    options: &'static [&'static str],
    documentation: Documentation,
) -> PeriodWindow {
    let arguments = Arguments {
        periods: Periods::DateOrPair,
        constant: Constant::Interval,
        options,
    };
    PeriodWindow::new(name, arguments, result, comparison, documentation)
}

/// A function over an interval that its name says; `result` is what `comparison` gives.
pub(crate) fn over_named(
    name: &'static str,
    (comparison, result): (Behaviour, CellType),
    documentation: Documentation,
) -> PeriodWindow {
    let arguments = Arguments {
        periods: Periods::DateOrPair,
        constant: Constant::Nothing,
        options: MATCHING_AND_SIGN,
    };
    PeriodWindow::new(name, arguments, result, comparison, documentation)
}

/// The state at the start of a series. Without an interval of the function's own the call says it.
pub(crate) fn start(
    call: &Call<'_>,
    interval: Option<Interval>,
    comparison: Comparison,
) -> Result<Box<dyn RowState>> {
    let interval = match interval {
        Some(interval) => interval,
        None => call
            .interval()?
            .ok_or_else(|| call.invalid("the interval is missing"))?,
    };
    let explains = matches!(comparison, Comparison::Reason);
    let bases = Bases::new(interval, call.matching()?, explains)
        .map_err(|error| invalid(call.function, error))?;
    Ok(Box::new(Compare {
        function: call.function,
        bases,
        comparison,
        signed: call.flag("signed")?,
    }))
}

#[derive(Debug)]
struct Compare {
    function: &'static str,
    bases: Bases,
    comparison: Comparison,
    signed: bool,
}

impl RowState for Compare {
    #[inline]
    fn next(&mut self, period: Option<Period>, value: Option<f64>) -> Result<Cell> {
        let base = match period {
            None => Base::Missing,
            Some(period) => self
                .bases
                .next(period, value)
                .map_err(|error| invalid(self.function, error))?,
        };
        if let Comparison::Reason = self.comparison {
            let reason = no_growth(value, base, self.signed);
            return Ok(Cell::Word(reason.map(|reason| reason.word())));
        }
        let Base::Value(base) = base else {
            return Ok(Cell::Number(None));
        };
        Ok(Cell::Number(match self.comparison {
            Comparison::Prior => Some(base),
            Comparison::Change => value
                .map(|value| value - base)
                .filter(|change| change.is_finite()),
            Comparison::Growth if self.signed => value.and_then(|it| signed_growth(it, base)),
            Comparison::Growth | Comparison::Reason => value.and_then(|it| growth(it, base)),
        }))
    }
}
