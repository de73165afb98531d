//! Window functions that set a value against the one of an earlier period.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, IntervalUnit};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, Volatility,
    WindowUDFImpl,
};
use datafusion_functions_window_common::expr::ExpressionArgs;
use datafusion_functions_window_common::field::WindowUDFFieldArgs;
use datafusion_functions_window_common::partition::PartitionEvaluatorArgs;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use didymium_model::{Base, Interval, Lookback};

use crate::error::invalid;
use crate::period_columns::{Periods, period_type};

/// A function of a value and the value one interval earlier: `prior`, `yoy`, `growth` and their kin.
///
/// It streams. The engine hands it the rows of one series in the order of their periods, one at a
/// time, and it keeps one interval of them; see [`Lookback`].
#[derive(Debug)]
pub(crate) struct BaseWindow {
    pub(crate) name: &'static str,
    /// The interval that the name implies; without one the last argument says it.
    pub(crate) interval: Option<Interval>,
    /// The result for a value and a base that is known.
    pub(crate) compare: fn(value: Option<f64>, base: f64) -> Option<f64>,
    pub(crate) documentation: Documentation,
    signature: Signature,
}

impl BaseWindow {
    pub(crate) fn new(
        name: &'static str,
        interval: Option<Interval>,
        compare: fn(Option<f64>, f64) -> Option<f64>,
        documentation: Documentation,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self {
            name,
            interval,
            compare,
            documentation,
            signature,
        }
    }

    /// How many arguments follow the value and the period.
    pub(crate) fn trailing_arguments(&self) -> usize {
        usize::from(self.interval.is_none())
    }

    /// The interval of one call: the function's own, or its last argument.
    fn interval_of(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> Result<Interval> {
        if let Some(interval) = self.interval {
            return Ok(interval);
        }
        let literal = arguments
            .last()
            .and_then(|last| last.downcast_ref::<Literal>());
        let Some(literal) = literal else {
            return Err(invalid(
                self.name,
                "the interval must be a constant, such as INTERVAL '1 year'",
            ));
        };
        match literal.value() {
            ScalarValue::IntervalMonthDayNano(Some(parts)) => {
                Interval::from_parts(parts.months, parts.days, parts.nanoseconds)
                    .map_err(|error| invalid(self.name, error))
            }
            ScalarValue::IntervalMonthDayNano(None) => {
                Err(invalid(self.name, "the interval must not be NULL"))
            }
            other => internal_err!("{}: an interval arrived as {other:?}", self.name),
        }
    }
}

// The name says everything that distinguishes one of these functions from another.
impl PartialEq for BaseWindow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for BaseWindow {}

impl Hash for BaseWindow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for BaseWindow {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let trailing = self.trailing_arguments();
        if !(2 + trailing..=3 + trailing).contains(&given.len()) {
            return Err(invalid(
                self.name,
                format!("expected {}", self.documentation.syntax_example),
            ));
        }
        let (periods, trailing) = given[1..].split_at(given.len() - 1 - trailing);
        let mut coerced = vec![value_type(self.name, &given[0])?];
        for period in periods {
            coerced.push(period_type(self.name, period)?);
        }
        for interval in trailing {
            coerced.push(interval_type(self.name, interval)?);
        }
        Ok(coerced)
    }

    /// The value and the period; the interval is a constant and no column.
    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        let arguments = args.input_exprs();
        arguments[..arguments.len() - self.trailing_arguments()].to_vec()
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let lookback = Lookback::new(self.interval_of(args.input_exprs())?);
        let (name, compare) = (self.name, self.compare);
        Ok(Box::new(BaseEvaluator {
            name,
            compare,
            lookback,
            ahead: None,
        }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Float64, true)))
    }

    /// Rows in descending order would show a period before its base.
    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, _: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn value_type(function: &str, given: &DataType) -> Result<DataType> {
    if given.is_numeric() || given.is_null() {
        return Ok(DataType::Float64);
    }
    Err(invalid(
        function,
        format!("the value must be a number, not {given}"),
    ))
}

fn interval_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Interval(_) | DataType::Null | DataType::Utf8 | DataType::Utf8View => {
            Ok(DataType::Interval(IntervalUnit::MonthDayNano))
        }
        other => Err(invalid(
            function,
            format!(
                "the last argument must be an interval, such as INTERVAL '1 year', not {other}"
            ),
        )),
    }
}

/// The state of one series.
#[derive(Debug)]
struct BaseEvaluator {
    name: &'static str,
    compare: fn(Option<f64>, f64) -> Option<f64>,
    lookback: Lookback,
    ahead: Option<Ahead>,
}

/// Results of rows that the engine will ask for next.
///
/// It asks row by row, with the same columns each time. Reading the columns anew for each row took
/// more time than the arithmetic, so the first call computes all of its batch.
#[derive(Debug)]
struct Ahead {
    /// The batch's values, kept so that no other batch can be taken for it.
    values: ArrayRef,
    first_row: usize,
    results: Vec<Option<f64>>,
}

impl BaseEvaluator {
    /// The results of rows `first_row` and after, which follow the rows given before.
    fn results(&mut self, columns: &[ArrayRef], first_row: usize) -> Result<Vec<Option<f64>>> {
        let values = columns[0].as_primitive::<Float64Type>();
        let periods = Periods::of(&columns[1..])?;
        let mut results = Vec::with_capacity(values.len().saturating_sub(first_row));
        for row in first_row..values.len() {
            let Some(period) = periods.at(row) else {
                results.push(None);
                continue;
            };
            let value = values.is_valid(row).then(|| values.value(row));
            let base = self
                .lookback
                .next(period, value)
                .map_err(|error| invalid(self.name, error))?;
            results.push(match base {
                Base::Value(base) => (self.compare)(value, base),
                Base::Missing | Base::Null => None,
            });
        }
        Ok(results)
    }
}

impl PartitionEvaluator for BaseEvaluator {
    /// A result needs earlier rows only, so rows leave as they come.
    fn is_causal(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }

    fn evaluate(&mut self, columns: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let row = range.start;
        let is_ahead = self
            .ahead
            .as_ref()
            .is_some_and(|ahead| Arc::ptr_eq(&ahead.values, &columns[0]));
        if !is_ahead {
            let results = self.results(columns, row)?;
            self.ahead = Some(Ahead {
                values: Arc::clone(&columns[0]),
                first_row: row,
                results,
            });
        }
        let place = |ahead: &Ahead| row.checked_sub(ahead.first_row);
        let Some((ahead, place)) = self.ahead.as_ref().and_then(|it| Some((it, place(it)?))) else {
            return internal_err!("{}: row {row} was asked for again", self.name);
        };
        let Some(result) = ahead.results.get(place).copied() else {
            return internal_err!("{}: row {row} is not in its batch", self.name);
        };
        // After its last row a batch is not kept any longer.
        if place + 1 == ahead.results.len() {
            self.ahead = None;
        }
        Ok(ScalarValue::Float64(result))
    }

    /// The whole partition at once: the engine's way when another function of the window needs it.
    fn evaluate_all(&mut self, columns: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(self.results(columns, 0)?)))
    }
}
