//! A subquery's value, which is NULL where the subquery gives no row.
//!
//! DataFusion takes `(SELECT id FROM t WHERE …)` for as little NULL as `id` is, and then fails, or leaves the
//! other values of a COALESCE out. So the value goes through a function that may give NULL. It also refuses a text that is too long to stand in
//! every row of a batch.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, DataFusionError, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::limits::SUBQUERY_BYTES;
use crate::sizes::is_long;
use crate::{Error, ErrorKind};

/// The subquery's value as one that may be NULL, where its plan does not say so, and that is not too long.
pub(crate) fn optional(subquery: Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    if subquery.nullable(schema)? && !is_long(&subquery.get_type(schema)?) {
        return Ok(None);
    }
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Optional { signature });
    Ok(Some(function.call(vec![subquery])))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Optional {
    signature: Signature,
}

impl ScalarUDFImpl for Optional {
    fn name(&self) -> &str {
        "optional"
    }

    /// The column is called as the subquery is.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [subquery] = take_function_args(self.name(), args)?;
        Ok(subquery.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("its type is that of its argument's field")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [subquery] = take_function_args(self.name(), args.arg_fields)?;
        Ok(Field::clone(subquery).with_nullable(true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [subquery] = take_function_args(self.name(), args.args)?;
        if let ColumnarValue::Scalar(value) = &subquery
            && value.size() > SUBQUERY_BYTES
        {
            let bytes = value.size();
            return Err(DataFusionError::External(Box::new(Error::new(
                ErrorKind::OverLimit,
                format!(
                    "a subquery gives a value of {bytes} bytes, {SUBQUERY_BYTES} are allowed, since it may stand in every row: join its rows instead"
                ),
            ))));
        }
        Ok(subquery)
    }
}
