//! Window functions over the periods of a series.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, Volatility,
    WindowUDFImpl,
};
use datafusion_functions_window_common::expr::ExpressionArgs;
use datafusion_functions_window_common::field::WindowUDFFieldArgs;
use datafusion_functions_window_common::partition::PartitionEvaluatorArgs;
use datafusion_physical_expr::PhysicalExpr;
use didymium_model::Period;

use crate::arguments::{Arguments, Call};
use crate::cells::{Cell, CellColumn, CellType};
use crate::error::invalid;
use crate::period_columns::Periods;

/// A function of the values and periods of one series.
///
/// The engine hands over the rows of one partition in the order of their periods, whatever order the
/// query writes; see [`crate::window_order::WindowOrder`].
#[derive(Debug)]
pub(crate) struct PeriodWindow {
    pub(crate) name: &'static str,
    pub(crate) arguments: Arguments,
    pub(crate) result: CellType,
    pub(crate) behaviour: Behaviour,
    pub(crate) documentation: Documentation,
    signature: Signature,
}

/// How a result comes from the rows of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    /// From its own row and earlier ones: it streams.
    Rows(fn(&Call<'_>) -> Result<Box<dyn RowState>>),
    /// From all rows of its series, which are held together.
    Series(fn(&Call<'_>) -> Result<Box<dyn SeriesFunction>>),
}

/// What is known of one series so far.
pub(crate) trait RowState: Debug + Send {
    /// The result of the next row. A period that is `None` is NULL.
    ///
    /// # Errors
    /// What the series breaks, such as a period that comes twice.
    fn next(&mut self, period: Option<Period>, value: Option<f64>) -> Result<Cell>;
}

/// A function of one whole series.
pub(crate) trait SeriesFunction: Debug + Send {
    /// The results of all rows.
    ///
    /// # Errors
    /// What the series breaks, such as a period that comes twice.
    fn all(&self, rows: &[(Option<Period>, Option<f64>)]) -> Result<Vec<Cell>>;
}

impl PeriodWindow {
    pub(crate) fn new(
        name: &'static str,
        arguments: Arguments,
        result: CellType,
        behaviour: Behaviour,
        documentation: Documentation,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self {
            name,
            arguments,
            result,
            behaviour,
            documentation,
            signature,
        }
    }
}

// The name says everything that distinguishes one of these functions from another.
impl PartialEq for PeriodWindow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PeriodWindow {}

impl Hash for PeriodWindow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl WindowUDFImpl for PeriodWindow {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match self.arguments.places(given) {
            Some(places) => self.arguments.coerced(self.name, given, places),
            None => Err(invalid(
                self.name,
                format!("expected {}", self.documentation.syntax_example),
            )),
        }
    }

    /// The value and the period; what else is given is constant and no column.
    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        let types: Vec<DataType> = types(args.input_fields());
        let columns = match self.arguments.places(&types) {
            Some(places) => 1 + places.periods,
            None => types.len(),
        };
        args.input_exprs()[..columns].to_vec()
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let Some(places) = self.arguments.places(&types(args.input_fields())) else {
            return internal_err!("{}: its arguments were not checked", self.name);
        };
        let call = Call::new(self.name, &self.arguments, places, args.input_exprs())?;
        let series = match self.behaviour {
            Behaviour::Rows(start) => Series::Rows(start(&call)?),
            Behaviour::Series(start) => Series::Whole(start(&call)?),
        };
        Ok(Box::new(PeriodEvaluator {
            name: self.name,
            result: self.result,
            series,
            ahead: None,
        }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let data_type = self.result.data_type();
        Ok(Arc::new(Field::new(args.name(), data_type, true)))
    }

    /// Rows in descending order would show a period before its base.
    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn limit_effect(&self, _: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        match self.behaviour {
            Behaviour::Rows(_) => LimitEffect::None,
            Behaviour::Series(_) => LimitEffect::Unknown,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn types(fields: &[FieldRef]) -> Vec<DataType> {
    fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect()
}

/// The evaluator of one partition.
#[derive(Debug)]
struct PeriodEvaluator {
    name: &'static str,
    result: CellType,
    series: Series,
    ahead: Option<Ahead>,
}

#[derive(Debug)]
enum Series {
    Rows(Box<dyn RowState>),
    Whole(Box<dyn SeriesFunction>),
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
    results: Vec<Cell>,
}

impl PeriodEvaluator {
    /// Hands on the results of rows `first_row` and after, which follow the rows given before.
    fn each(
        &mut self,
        columns: &[ArrayRef],
        first_row: usize,
        mut take: impl FnMut(Cell) -> Result<()>,
    ) -> Result<()> {
        let values = columns[0].as_primitive::<Float64Type>();
        let periods = Periods::of(&columns[1..])?;
        let row = |row| {
            let value = values.is_valid(row).then(|| values.value(row));
            (periods.at(row), value)
        };
        let mut rows = (first_row..values.len()).map(row);
        match &mut self.series {
            Series::Rows(state) => {
                rows.try_for_each(|(period, value)| take(state.next(period, value)?))
            }
            Series::Whole(function) => {
                let results = function.all(&rows.collect::<Vec<_>>())?;
                results.into_iter().try_for_each(take)
            }
        }
    }

    fn results(&mut self, columns: &[ArrayRef], first_row: usize) -> Result<Vec<Cell>> {
        let mut results = Vec::with_capacity(columns[0].len().saturating_sub(first_row));
        self.each(columns, first_row, |cell| {
            results.push(cell);
            Ok(())
        })?;
        Ok(results)
    }
}

impl PartitionEvaluator for PeriodEvaluator {
    /// Where a result needs earlier rows only, rows leave as they come.
    fn is_causal(&self) -> bool {
        matches!(self.series, Series::Rows(_))
    }

    fn supports_bounded_execution(&self) -> bool {
        matches!(self.series, Series::Rows(_))
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
        result.to_scalar()
    }

    /// The rows that follow those given before, all at once.
    fn evaluate_all(&mut self, columns: &[ArrayRef], _: usize) -> Result<ArrayRef> {
        let mut column = CellColumn::with_capacity(self.result, columns[0].len());
        self.each(columns, 0, |cell| column.push(cell))?;
        column.finish()
    }
}
