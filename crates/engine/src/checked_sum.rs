//! `sum` of integers and decimals that fails where the total is none of its type.
//!
//! DataFusion's wraps round. Here they are added in a decimal so wide that no number of rows can exceed
//! it, and the total is turned back. All other types are summed by DataFusion's own `sum`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    ReversedUDAF, SetMonotonicity, Signature,
};

use crate::{Error, ErrorKind};

/// What values with this type of total are added in; `None` for types that no sum exceeds.
fn exact_type(total: &DataType) -> Option<DataType> {
    match total {
        total if total.is_integer() => Some(DataType::Decimal128(38, 0)),
        // A narrower one has room for ten thousand million rows.
        DataType::Decimal128(38, scale) => Some(DataType::Decimal256(76, *scale)),
        _ => None,
    }
}

/// The aggregate `sum`.
pub(crate) fn checked_sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(CheckedSum {
        inner: Sum::new(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let return_field = exact_field(&args.return_field);
        self.inner.state_fields(StateFieldsArgs {
            return_field,
            ..args
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.wrapped(args, |sum, args| sum.accumulator(args))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.wrapped(args, |sum, args| match args.is_distinct {
            // DataFusion slides over distinct integers only, and no decimals.
            true => sum.accumulator(args),
            false => sum.create_sliding_accumulator(args),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let total = args.return_field.data_type().clone();
        let Some(exact) = exact_type(&total) else {
            return self.inner.create_groups_accumulator(args);
        };
        let return_field = exact_field(&args.return_field);
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs {
            return_field,
            ..args
        })?;
        Ok(Box::new(ExactSums {
            inner,
            exact,
            total,
        }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl CheckedSum {
    fn wrapped(
        &self,
        args: AccumulatorArgs,
        make: impl Fn(&Sum, AccumulatorArgs) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        let total = args.return_field.data_type().clone();
        let Some(exact) = exact_type(&total) else {
            return make(&self.inner, args);
        };
        let return_field = exact_field(&args.return_field);
        let inner = make(
            &self.inner,
            AccumulatorArgs {
                return_field,
                ..args
            },
        )?;
        Ok(Box::new(ExactSum {
            inner,
            exact,
            total,
        }))
    }
}

/// The field in which values are added; that of the total where it is wide enough.
fn exact_field(total: &FieldRef) -> FieldRef {
    match exact_type(total.data_type()) {
        None => Arc::clone(total),
        Some(exact) => Arc::new(Field::new(total.name(), exact, total.is_nullable())),
    }
}

/// Values as what they are added in.
fn widened(columns: &[ArrayRef], exact: &DataType) -> Result<Vec<ArrayRef>> {
    let columns = columns.iter().map(|column| Ok(cast(column, exact)?));
    columns.collect()
}

fn out_of_range(total: &DataType) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(
        ErrorKind::OutOfRange,
        match total.is_integer() {
            true => format!("a sum is no {total}: sum the values as DOUBLE or DECIMAL(38,0)"),
            false => format!("a sum is no {total}: sum the values as DOUBLE"),
        },
    )))
}

#[derive(Debug)]
struct ExactSum {
    inner: Box<dyn Accumulator>,
    exact: DataType,
    total: DataType,
}

impl Accumulator for ExactSum {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&widened(columns, &self.exact)?)
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&widened(columns, &self.exact)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner
            .evaluate()?
            .cast_to(&self.total)
            .map_err(|_| out_of_range(&self.total))
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }
}

struct ExactSums {
    inner: Box<dyn GroupsAccumulator>,
    exact: DataType,
    total: DataType,
}

impl GroupsAccumulator for ExactSums {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(
            &widened(columns, &self.exact)?,
            groups,
            filter,
            total_groups,
        )
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        total_groups: usize,
    ) -> Result<()> {
        self.inner.merge_batch(states, groups, total_groups)
    }

    fn evaluate(&mut self, groups: EmitTo) -> Result<ArrayRef> {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let sums = self.inner.evaluate(groups)?;
        cast_with_options(&sums, &self.total, &strict).map_err(|_| out_of_range(&self.total))
    }

    fn state(&mut self, groups: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(groups)
    }

    fn convert_to_state(
        &self,
        columns: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner
            .convert_to_state(&widened(columns, &self.exact)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }
}
