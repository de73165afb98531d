//! Functions that a caller could harm the server with, held to a size and to the caller's account.
//!
//! `repeat('x', 2000000000)` is a short statement that ends the process: the memory pool counts what
//! operators hold, not what a function makes. So the size of a result is foretold from the arguments
//! and refused before it is made.

mod growth;

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use crate::limits::{CONSTANT_BYTES, CONSTANTS_BYTES, FUNCTION_BATCH_BYTES, VALUE_BYTES};
use crate::portions::meter;
use crate::sizes::row_bytes;
use crate::{Error, ErrorKind};

pub(crate) use growth::Growth;

/// The function with a limit, where it needs one and has none yet.
pub(crate) fn guarded(function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    if is_guarded(function) {
        return None;
    }
    let growth = Growth::of(function.name())?;
    Some(Arc::new(ScalarUDF::new_from_impl(Bounded {
        inner: Arc::clone(function),
        growth,
    })))
}

/// Whether a function has its limit, and says what it makes.
pub(crate) fn is_guarded(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Bounded>().is_some()
}

/// A function that refuses to make a value or a batch that is too large.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// All as the function itself has it but for the call. Not its simplification: that would put the
/// function in its own place again.
impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let given = args.args.clone();
        call(
            self.name(),
            self.growth,
            &given,
            args.number_rows,
            |values, rows| {
                self.inner.invoke_with_args(ScalarFunctionArgs {
                    args: values.to_vec(),
                    number_rows: rows,
                    ..args.clone()
                })
            },
        )
    }
}

/// Calls `compute` where no value and no batch of its result will be larger than allowed.
pub(crate) fn call(
    function: &str,
    growth: Growth,
    args: &[ColumnarValue],
    rows: usize,
    compute: impl Fn(&[ColumnarValue], usize) -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    let constant = args
        .iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    // A constant stands in every row of a batch.
    let (foretold_rows, limit) = match constant {
        true => (1, Limit::of_constants(function)),
        false => (rows, Limit::of_batch(function)),
    };
    let foretold = growth.sizes(args, foretold_rows)?;
    let total = limit.check(&foretold)?;
    let compute = |args: &[ColumnarValue], rows| faultless(function, || compute(args, rows));
    let room = match growth.is_size() {
        true => meter::room(),
        false => FUNCTION_BATCH_BYTES,
    };
    if total <= room {
        let result = compute(args, rows)?;
        meter::add(limit.check_batch(&result)?);
        return Ok(result);
    }
    if growth.is_exact() {
        return Err(limit.exceeded_by_batch(total));
    }
    in_parts(&limit, &foretold, args, compute)
}

/// An argument that a function can't take is its caller's mistake, even where the function panics.
fn faultless(
    function: &str,
    compute: impl FnOnce() -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    let refused = |why: &str| {
        let message = format!("{function} can't take these arguments: {why}");
        DataFusionError::External(Box::new(Error::invalid(message)))
    };
    match catch_unwind(AssertUnwindSafe(compute)) {
        Err(_) => Err(refused("they are beyond what it can count")),
        Ok(Err(DataFusionError::External(cause))) if !cause.is::<Error>() => {
            Err(refused(&cause.to_string()))
        }
        Ok(Err(DataFusionError::Internal(cause))) => {
            Err(refused(cause.lines().next().unwrap_or_default()))
        }
        Ok(result) => result,
    }
}

/// Where only an upper bound is known: so few rows at a time that they can't exceed the limit.
fn in_parts(
    limit: &Limit<'_>,
    foretold: &[u64],
    args: &[ColumnarValue],
    compute: impl Fn(&[ColumnarValue], usize) -> Result<ColumnarValue>,
) -> Result<ColumnarValue> {
    let mut parts: Vec<ArrayRef> = Vec::new();
    let limit_bytes = meter::room();
    let mut made = 0_u64;
    let mut first = 0;
    while first < foretold.len() {
        let mut room = FUNCTION_BATCH_BYTES;
        let rows = foretold[first..]
            .iter()
            .take_while(|size| match room.checked_sub(**size) {
                Some(rest) => {
                    room = rest;
                    true
                }
                None => false,
            })
            .count();
        let slice = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(first, rows)),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
        };
        let part = compute(&args.iter().map(slice).collect::<Vec<_>>(), rows)?;
        made += limit.check_batch(&part)?;
        if made > limit_bytes {
            return Err(limit.exceeded_by_batch(made));
        }
        parts.push(part.into_array(rows)?);
        first += rows;
    }
    meter::add(made);
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(ColumnarValue::Array(concat(&parts)?))
}

/// How large a function's values may be.
struct Limit<'a> {
    function: &'a str,
    value_limit: u64,
    /// What all of them together may make.
    all: u64,
    of: &'static str,
}

impl<'a> Limit<'a> {
    fn of_constants(function: &'a str) -> Self {
        Self {
            function,
            value_limit: CONSTANT_BYTES,
            all: CONSTANTS_BYTES,
            of: "constants of a statement",
        }
    }

    fn of_batch(function: &'a str) -> Self {
        Self {
            function,
            value_limit: VALUE_BYTES,
            all: FUNCTION_BATCH_BYTES,
            of: "functions of a batch",
        }
    }

    /// The bytes of all values together.
    fn check(&self, sizes: &[u64]) -> Result<u64> {
        let Self {
            function,
            value_limit,
            ..
        } = self;
        match sizes.iter().find(|size| *size > value_limit) {
            Some(size) => Err(too_large(format!(
                "{function} would make a value of {size} bytes, {value_limit} are allowed"
            ))),
            None => Ok(sizes.iter().fold(0, |sum, size| sum.saturating_add(*size))),
        }
    }

    fn check_batch(&self, made: &ColumnarValue) -> Result<u64> {
        match made {
            ColumnarValue::Scalar(value) => self.check(&row_bytes(&value.to_array()?)),
            ColumnarValue::Array(array) => self.check(&row_bytes(array)),
        }
    }

    fn exceeded_by_batch(&self, bytes: u64) -> DataFusionError {
        too_large(format!(
            "{} would make {bytes} bytes more, {} are allowed to all {}: make shorter values",
            self.function, self.all, self.of
        ))
    }
}

fn too_large(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(ErrorKind::OverLimit, message)))
}
