//! Operators that fail where DataFusion's own would give a wrong number or take all memory.
//!
//! DataFusion's `+ - *` on integers wrap round and its `||` grows without a limit. Each is replaced
//! by [`GuardedOperator`] before types are settled; all other operators stay as they are.

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
use crate::limits::CENTROIDS;
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
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if is_guarded(op, &left, &right, schema) =>
            {
                Ok(Transformed::yes(guarded(op, vec![*left, *right])))
            }
            Expr::Negative(value) => match integer(&value, schema) {
                Some(data_type) => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
                    let negated = guarded(Operator::Minus, vec![zero, *value]);
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
                Ok(match window_lists::guarded(&call.fun) {
                    Some(fun) => {
                        call.fun = fun;
                        Transformed::yes(Expr::WindowFunction(call))
                    }
                    None => Transformed::no(Expr::WindowFunction(call)),
                })
            }
            other => Ok(Transformed::no(other)),
        }
    }
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

fn is_guarded(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    match op {
        Operator::Plus | Operator::Minus | Operator::Multiply => {
            integer(left, schema).is_some() && integer(right, schema).is_some()
        }
        Operator::StringConcat => true,
        _ => false,
    }
}

/// The type of an integer expression.
fn integer(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    let data_type = expr.get_type(schema).ok()?;
    data_type.is_integer().then_some(data_type)
}

fn guarded(op: Operator, operands: Vec<Expr>) -> Expr {
    let operator = GuardedOperator {
        op,
        signature: Signature::user_defined(Volatility::Immutable),
    };
    Arc::new(ScalarUDF::new_from_impl(operator)).call(operands)
}

/// One operator as a function of two arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct GuardedOperator {
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for GuardedOperator {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            _ => "||",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = take_function_args(self.name(), given)?;
        let (left, right) = BinaryTypeCoercer::new(left, &self.op, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        let [left, right] = take_function_args(self.name(), operands)?;
        BinaryTypeCoercer::new(left, &self.op, right).get_result_type()
    }

    /// NULL with anything is NULL.
    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [left, right] = take_function_args(self.name(), &args.args)?;
        match self.op {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            Operator::Multiply => apply(left, right, mul),
            Operator::StringConcat => {
                let joined = |args: &[ColumnarValue], rows| concatenated(args, rows);
                bounded::call("||", Growth::Sum, &args.args, rows, joined)
            }
            other => internal_err!("{other} is not a guarded operator"),
        }
    }

    fn output_ordering(&self, operands: &[ExprProperties]) -> Result<SortProperties> {
        let [left, right] = take_function_args(self.name(), operands)?;
        Ok(match self.op {
            Operator::Plus => left.sort_properties.add(&right.sort_properties),
            Operator::Minus => left.sort_properties.sub(&right.sort_properties),
            _ => SortProperties::Unordered,
        })
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
