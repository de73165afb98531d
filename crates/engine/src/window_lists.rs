//! Lists over windows, held to a size.
//!
//! `array_agg(x) OVER (ORDER BY x)` gives every row the list of all rows before it: a list that grows by a
//! row each time takes memory that grows by their square, and no operator counts it. So the values of one
//! window's list are counted as they come, and refused where a batch of such lists would be too large.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, Signature,
    WindowFunctionDefinition,
};

use crate::limits::WINDOW_LIST_BYTES;
use crate::{Error, ErrorKind};

/// Whether an aggregate collects its values.
pub(crate) fn makes_lists(function: &str) -> bool {
    ["array_agg", "string_agg"].contains(&function)
}

/// Refuses a list that stays short while its rows go on: a whole partition's are made at once.
pub(crate) fn check(call: &WindowFunction) -> Result<()> {
    let function = call.fun.name();
    if call.params.filter.is_some() && makes_lists(function) {
        return not_impl_err!(
            "{function} with FILTER and OVER: collect CASE WHEN … THEN … END, or by GROUP BY"
        );
    }
    Ok(())
}

/// The function with a limit, where it makes lists and has none yet.
pub(crate) fn guarded(function: &WindowFunctionDefinition) -> Option<WindowFunctionDefinition> {
    let WindowFunctionDefinition::AggregateUDF(inner) = function else {
        return None;
    };
    if !makes_lists(inner.name()) || inner.inner().downcast_ref::<WindowList>().is_some() {
        return None;
    }
    let limited = AggregateUDF::new_from_impl(WindowList {
        inner: Arc::clone(inner),
    });
    Some(WindowFunctionDefinition::AggregateUDF(Arc::new(limited)))
}

/// An aggregate that refuses to collect too much.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowList {
    inner: Arc<AggregateUDF>,
}

/// All as the function itself has it but for the accumulators.
impl AggregateUDFImpl for WindowList {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(given)
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn return_field(&self, args: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(args)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.limited(self.inner.accumulator(args)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.limited(self.inner.create_sliding_accumulator(args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl WindowList {
    fn limited(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Limited {
            function: self.inner.name().to_owned(),
            inner,
            held: 0,
        })
    }
}

#[derive(Debug)]
struct Limited {
    function: String,
    inner: Box<dyn Accumulator>,
    /// Bytes of the values that the list holds.
    held: usize,
}

/// The bytes that some values take in a list: each no less than eight, since a list of few bytes in every
/// one of very many rows is large as well.
fn bytes(values: &[ArrayRef]) -> Result<usize> {
    const LEAST: usize = 8;
    let Some(values) = values.first() else {
        return Ok(0);
    };
    let bytes = values.to_data().get_slice_memory_size()?;
    Ok(bytes.max(values.len() * LEAST))
}

impl Accumulator for Limited {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.held = self.held.saturating_add(bytes(values)?);
        if self.held > WINDOW_LIST_BYTES {
            return Err(DataFusionError::External(Box::new(Error::new(
                ErrorKind::OverLimit,
                format!(
                    "{} would give each row a list of more than {WINDOW_LIST_BYTES} bytes: bound its window, for example by ROWS BETWEEN 100 PRECEDING AND CURRENT ROW, or collect by GROUP BY",
                    self.function
                ),
            ))));
        }
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.held = self.held.saturating_sub(bytes(values)?);
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of::<Self>()
    }
}
