//! Operators that fail where DataFusion's own would give a wrong number or take all memory.
//!
//! DataFusion's `+ - *` on integers wrap round and its `||` grows without a limit. Each is replaced
//! by a function before types are settled ([`Chain`], [`Concatenation`]); all other operators stay as they
//! are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err, not_impl_err, plan_err};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column};
use datafusion::physical_expr_common::datum::apply;

use crate::bounded::{self, Growth};
use crate::limits::{CENTROIDS, DELIMITER_BYTES, VALUE_BYTES};
use crate::optional::optional;
use crate::window_lists;

/// Puts guarded operators and functions where a statement has unguarded ones.
#[derive(Debug)]
pub(crate) struct Guard;

impl FunctionRewrite for Guard {
    fn name(&self) -> &str {
        "guard"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        check_size(&expr, schema)?;
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::StringConcat,
                right,
            }) => Ok(Transformed::yes(call(Concatenation::new(), *left, *right))),
            Expr::BinaryExpr(binary) => Ok(match integers(&binary, schema) {
                Some((left, right)) => {
                    let BinaryExpr {
                        left: first,
                        op,
                        right: second,
                    } = binary;
                    Transformed::yes(chained(*first, &left, op, *second, &right))
                }
                None => Transformed::no(Expr::BinaryExpr(binary)),
            }),
            Expr::Negative(value) => match integer(&value, schema) {
                Some(data_type) => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
                    let negated = call(Chain::of(vec![Operator::Minus]), zero, *value);
                    Ok(Transformed::yes(negated))
                }
                None => Ok(Transformed::no(Expr::Negative(value))),
            },
            // The planner takes some functions, such as the one of `[1, 2]`, past the registry.
            Expr::ScalarFunction(ScalarFunction { func, args }) => {
                let replaced = bounded::guarded(&func);
                Ok(match replaced {
                    Some(func) => {
                        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
                    }
                    None => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
                })
            }
            Expr::AggregateFunction(ref call) => {
                check_aggregate(call.func.name(), &call.params.args, schema)?;
                Ok(Transformed::no(expr))
            }
            Expr::WindowFunction(mut call) => {
                check_aggregate(call.fun.name(), &call.params.args, schema)?;
                window_lists::check(&call)?;
                Ok(match window_lists::guarded(&call.fun) {
                    Some(fun) => {
                        call.fun = fun;
                        Transformed::yes(Expr::WindowFunction(call))
                    }
                    None => Transformed::no(Expr::WindowFunction(call)),
                })
            }
            Expr::ScalarSubquery(_) => Ok(match optional(expr.clone(), schema)? {
                Some(optional) => Transformed::yes(optional),
                None => Transformed::no(expr),
            }),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Whether a function stands for `||`, which says what it makes as others with a limit do.
pub(crate) fn is_concatenation(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Concatenation>().is_some()
}

/// Refuses aggregates that take memory without asking, wrap round, or call an argument a bug.
fn check_aggregate(function: &str, args: &[Expr], schema: &DFSchema) -> Result<()> {
    let sizes = match function {
        "approx_percentile_cont" => args.get(2..),
        "approx_percentile_cont_with_weight" => args.get(3..),
        _ => None,
    };
    let is_allowed = |size: &Expr| match size {
        Expr::Literal(size, _) => match size.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(size))) => size <= CENTROIDS,
            _ => true,
        },
        _ => false,
    };
    if !sizes.unwrap_or_default().iter().all(is_allowed) {
        return plan_err!(
            "{function}: the number of centroids must be a constant of at most {CENTROIDS}"
        );
    }
    if function == "string_agg" && !args.get(1).is_none_or(is_short_constant) {
        return plan_err!(
            "{function}: the delimiter must be a constant of at most {DELIMITER_BYTES} bytes"
        );
    }
    if function == "nth_value"
        && let Some(Expr::Literal(place, _)) = args.get(1)
        && matches!(
            place.cast_to(&DataType::Int64),
            Ok(ScalarValue::Int64(Some(0)))
        )
    {
        return plan_err!("nth_value counts from 1, or from -1 at the end: there is no place 0");
    }
    let averages_durations = ["avg", "mean"].contains(&function)
        && args
            .iter()
            .any(|arg| matches!(arg.get_type(schema), Ok(DataType::Duration(_))));
    if averages_durations {
        return not_impl_err!(
            "{function} of durations: average CAST(duration AS BIGINT), its number of units"
        );
    }
    Ok(())
}

/// Whether a text is short, and is known to be.
fn is_short_constant(text: &Expr) -> bool {
    match text {
        Expr::Literal(text, _) => text.size() <= DELIMITER_BYTES,
        // A character by its number.
        Expr::ScalarFunction(call) => call.func.name() == "chr",
        Expr::Cast(cast) => is_short_constant(&cast.expr),
        _ => false,
    }
}

/// Refuses a cast to values of a size that is large whatever they hold.
fn check_size(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let is_cast = match expr {
        Expr::ScalarFunction(call) => ["arrow_cast", "arrow_try_cast"].contains(&call.func.name()),
        _ => false,
    };
    match is_cast.then(|| expr.get_type(schema)) {
        Some(Ok(DataType::FixedSizeBinary(bytes))) if i64::from(bytes) > VALUE_BYTES as i64 => {
            plan_err!(
                "a value of {bytes} bytes is longer than the {VALUE_BYTES} that a value may have"
            )
        }
        _ => Ok(()),
    }
}

/// The types of two integers that are added, subtracted or multiplied.
fn integers(binary: &BinaryExpr, schema: &DFSchema) -> Option<(DataType, DataType)> {
    let is_guarded = [Operator::Plus, Operator::Minus, Operator::Multiply].contains(&binary.op);
    if !is_guarded {
        return None;
    }
    Some((
        integer(&binary.left, schema)?,
        integer(&binary.right, schema)?,
    ))
}

/// The type of an integer expression.
fn integer(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = expr.get_type(schema).ok()?;
    data_type.is_integer().then_some(data_type)
}

fn call(function: impl ScalarUDFImpl + 'static, left: Expr, right: Expr) -> Expr {
    Arc::new(ScalarUDF::new_from_impl(function)).call(vec![left, right])
}

/// `first op second`, as one more link where `first` is a chain already: DataFusion takes time that grows
/// with the cube of how deep functions are nested.
fn chained(
    first: Expr,
    first_type: &DataType,
    op: Operator,
    second: Expr,
    second_type: &DataType,
) -> Expr {
    let chain = match &first {
        Expr::ScalarFunction(called) => called.func.inner().downcast_ref::<Chain>(),
        _ => None,
    };
    // With another type the sum so far would have to hold what its own type does not.
    let Some(chain) = chain.filter(|_| first_type == second_type) else {
        return call(Chain::of(vec![op]), first, second);
    };
    let longer = Chain::of(chain.ops.iter().copied().chain([op]).collect());
    let Expr::ScalarFunction(ScalarFunction { mut args, .. }) = first else {
        return call(longer, first, second);
    };
    args.push(second);
    Arc::new(ScalarUDF::new_from_impl(longer)).call(args)
}

/// `a + b - c`: integers from left to right, as one function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chain {
    /// The signs between the operands. Two chains that differ in them must not be called the same.
    name: String,
    ops: Vec<Operator>,
    signature: Signature,
}

impl Chain {
    fn of(ops: Vec<Operator>) -> Self {
        Self {
            name: ops.iter().map(ToString::to_string).collect(),
            ops,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// The type after each operator, and those in which it takes its operands.
    fn types(&self, given: &[DataType]) -> Result<Vec<(DataType, DataType, DataType)>> {
        let Some((first, others)) = given.split_first() else {
            return internal_err!("a chain of no operands");
        };
        let mut so_far = first.clone();
        let mut types = Vec::with_capacity(others.len());
        // The coercer is slow, and a chain takes few kinds of steps.
        let mut known: HashMap<_, (DataType, DataType, DataType)> = HashMap::new();
        for (op, operand) in self.ops.iter().zip(others) {
            let step = (so_far.clone(), op, operand);
            let taken = match known.get(&step) {
                Some(taken) => taken.clone(),
                None => {
                    let coercer = BinaryTypeCoercer::new(&so_far, op, operand);
                    let (left, right) = coercer.get_input_types()?;
                    let taken = (left, right, coercer.get_result_type()?);
                    known.insert(step, taken.clone());
                    taken
                }
            };
            so_far = taken.2.clone();
            types.push(taken);
        }
        Ok(types)
    }
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let types = self.types(given)?;
        let first = types.first().map(|(left, ..)| left.clone());
        let others = types.into_iter().map(|(_, right, _)| right);
        Ok(first.into_iter().chain(others).collect())
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        match self.types(operands)?.pop() {
            Some((.., result)) => Ok(result),
            None => internal_err!("a chain of one operand"),
        }
    }

    /// NULL with anything is NULL.
    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut operands = args.args.into_iter();
        let Some(mut so_far) = operands.next() else {
            return internal_err!("a chain of no operands");
        };
        for (op, operand) in self.ops.iter().zip(operands) {
            so_far = match op {
                Operator::Plus => apply(&so_far, &operand, add),
                Operator::Minus => apply(&so_far, &operand, sub),
                Operator::Multiply => apply(&so_far, &operand, mul),
                other => internal_err!("{other} is not a guarded operator"),
            }?;
        }
        Ok(so_far)
    }

    fn output_ordering(&self, operands: &[ExprProperties]) -> Result<SortProperties> {
        let Some((first, others)) = operands.split_first() else {
            return Ok(SortProperties::Unordered);
        };
        let mut so_far = first.sort_properties;
        for (op, operand) in self.ops.iter().zip(others) {
            so_far = match op {
                Operator::Plus => so_far.add(&operand.sort_properties),
                Operator::Minus => so_far.sub(&operand.sort_properties),
                _ => SortProperties::Unordered,
            };
        }
        Ok(so_far)
    }
}

/// `||` as a function of two arguments whose result is held to a size.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concatenation {
    signature: Signature,
}

impl Concatenation {
    fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = take_function_args(self.name(), given)?;
        let coercer = BinaryTypeCoercer::new(left, &Operator::StringConcat, right);
        let (left, right) = coercer.get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        let [left, right] = take_function_args(self.name(), operands)?;
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    /// NULL with anything is NULL.
    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let joined = |args: &[ColumnarValue], rows| concatenated(args, rows);
        bounded::call(
            self.name(),
            Growth::Sum,
            &args.args,
            args.number_rows,
            joined,
        )
    }
}

/// `||` as DataFusion computes it.
fn concatenated(operands: &[ColumnarValue], rows: usize) -> Result<ColumnarValue> {
    let columns = ColumnarValue::values_to_arrays(operands)?;
    let fields: Vec<Field> = columns
        .iter()
        .zip(["left", "right"])
        .map(|(column, name)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let column =
        |index| Arc::new(Column::new(["left", "right"][index], index)) as Arc<dyn PhysicalExpr>;
    let joined =
        PhysicalBinary::new(column(0), Operator::StringConcat, column(1)).evaluate(&batch)?;
    let constant = operands
        .iter()
        .all(|operand| matches!(operand, ColumnarValue::Scalar(_)));
    match (constant, joined) {
        (true, ColumnarValue::Array(joined)) if rows > 0 => Ok(ColumnarValue::Scalar(
            ScalarValue::try_from_array(&joined, 0)?,
        )),
        (_, joined) => Ok(joined),
    }
}
