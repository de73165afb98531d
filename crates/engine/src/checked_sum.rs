//! `sum` of integers that fails where the total is no integer of its type.
//!
//! DataFusion's wraps round. Here integers are added as DECIMAL(38,0), which no number of rows can
//! exceed, and the total is turned back. All other types are summed by DataFusion's own `sum`.

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

/// What integers are added in.
const EXACT: DataType = DataType::Decimal128(38, 0);

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
        if !total.is_integer() {
            return self.inner.create_groups_accumulator(args);
        }
        let return_field = exact_field(&args.return_field);
        let inner = self.inner.create_groups_accumulator(AccumulatorArgs {
            return_field,
            ..args
        })?;
        Ok(Box::new(IntegerSums { inner, total }))
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
        if !total.is_integer() {
            return make(&self.inner, args);
        }
        let return_field = exact_field(&args.return_field);
        let inner = make(
            &self.inner,
            AccumulatorArgs {
                return_field,
                ..args
            },
        )?;
        Ok(Box::new(IntegerSum { inner, total }))
    }
}

/// The field in which integers are added; another type's own.
fn exact_field(total: &FieldRef) -> FieldRef {
    if !total.data_type().is_integer() {
        return Arc::clone(total);
    }
    Arc::new(Field::new(total.name(), EXACT, total.is_nullable()))
}

/// Integers as what they are added in. What comes from another accumulator's state is so already.
fn exact(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    columns
        .iter()
        .map(|column| match column.data_type().is_integer() {
            true => Ok(cast(column, &EXACT)?),
            false => Ok(Arc::clone(column)),
        })
        .collect()
}

fn out_of_range(total: &DataType) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(
        ErrorKind::OutOfRange,
        format!("a sum is no {total}: sum the values as DOUBLE or DECIMAL(38,0)"),
    )))
}

#[derive(Debug)]
struct IntegerSum {
    inner: Box<dyn Accumulator>,
    total: DataType,
}

impl Accumulator for IntegerSum {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&exact(columns)?)
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&exact(columns)?)
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

struct IntegerSums {
    inner: Box<dyn GroupsAccumulator>,
    total: DataType,
}

impl GroupsAccumulator for IntegerSums {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.inner
            .update_batch(&exact(columns)?, groups, filter, total_groups)
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
        self.inner.convert_to_state(&exact(columns)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }
}
