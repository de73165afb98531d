//! Functions of a value and the one an interval earlier: `growth` and its kin.

use datafusion_common::Result;
use datafusion_expr::window_doc_sections::DOC_SECTION_ANALYTICAL;
use datafusion_expr::{Documentation, DocumentationBuilder};
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

/// The arguments that these functions share, in the words of their documentation.
pub(crate) trait BaseDocumentation {
    /// The period of a value.
    fn with_period(self) -> Self;

    /// The options of [`MATCHING`].
    fn with_matching(self) -> Self;

    /// What [`MATCHING_AND_SIGN`] has beside them.
    fn with_sign(self) -> Self;
}

impl BaseDocumentation for DocumentationBuilder {
    fn with_period(self) -> Self {
        self.with_argument(
            "period_start, period_end",
            "The days, both included, that the value covers; taken from the window's ORDER BY where \
             left out. See prior for how a base is found.",
        )
    }

    fn with_matching(self) -> Self {
        self.with_argument(
            "match => 'M'",
            "Compare by calendar unit instead: the base is the row whose ends lie in the units one \
             interval earlier, on whatever day of them. D, W (ISO weeks), M, Q or A.",
        )
        .with_argument(
            "tolerance => INTERVAL '5 days'",
            "For single dates with holes, such as trading days: the base is the newest date that is at \
             most so much older than the date one interval earlier.",
        )
    }

    fn with_sign(self) -> Self {
        self.with_argument(
            "signed => true",
            "Growth relative to the base's size, so that a negative base has one too.",
        )
    }
}

/// The documentation of the companion that says why `growth` is NULL.
pub(crate) fn why_not(growth: &str, arguments: &str, syntax: &str, example: &str) -> Documentation {
    Documentation::builder(
        DOC_SECTION_ANALYTICAL,
        format!(
            "Why {growth} is NULL: value_missing, base_missing, period_length_differs (a period ends \
             where the base would and starts elsewhere), base_null, base_zero (or so small that no \
             number holds the growth), base_negative. NULL where there is a growth."
        ),
        syntax,
    )
    .with_argument(
        arguments,
        format!("As {growth} takes them, with the same options."),
    )
    .with_sql_example(example)
    .with_related_udf(growth)
    .build()
}

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
