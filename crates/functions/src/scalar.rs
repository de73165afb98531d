//! The common shape of the scalar functions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::preimage::PreimageResult;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::invalid;

/// A function of one row's values.
pub(crate) struct Scalar {
    pub(crate) name: &'static str,
    /// The types that the arguments are read as; `None` for types or numbers that it does not take.
    pub(crate) coerce: fn(&[DataType]) -> Option<Vec<DataType>>,
    /// The type of the result, from the coerced types.
    pub(crate) result: fn(&[DataType]) -> DataType,
    /// The results of a batch; all columns are of one length.
    pub(crate) compute: fn(&[ArrayRef]) -> Result<ArrayRef>,
    /// The argument with which the result never falls while the others stay.
    pub(crate) rises_with: Option<usize>,
    /// Which range of an argument gives a result.
    pub(crate) preimage: Option<Preimage>,
    pub(crate) documentation: Documentation,
}

/// For the arguments and a constant result.
pub(crate) type Preimage = fn(&[Expr], &Expr, &SimplifyContext) -> Result<PreimageResult>;

impl Scalar {
    pub(crate) fn into_udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Function {
            scalar: self,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }
}

struct Function {
    scalar: Scalar,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scalar.name)
    }
}

// The name says everything that distinguishes one of these functions from another.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.scalar.name == other.scalar.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scalar.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.scalar.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let types = (self.scalar.coerce)(given);
        coerced(self.scalar.name, types, given, &self.scalar.documentation)
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok((self.scalar.result)(given))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        results_of(self.scalar.name, &args.args, self.scalar.compute)
    }

    fn output_ordering(&self, arguments: &[ExprProperties]) -> Result<SortProperties> {
        let Some(place) = self.scalar.rises_with else {
            return Ok(SortProperties::default());
        };
        let others_stay = arguments.iter().enumerate().all(|(other, argument)| {
            other == place || argument.sort_properties == SortProperties::Singleton
        });
        Ok(match arguments.get(place) {
            Some(argument) if others_stay => argument.sort_properties,
            _ => SortProperties::default(),
        })
    }

    fn preimage(
        &self,
        args: &[Expr],
        result: &Expr,
        context: &SimplifyContext,
    ) -> Result<PreimageResult> {
        match self.scalar.preimage {
            Some(preimage) => preimage(args, result, context),
            None => Ok(PreimageResult::None),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.scalar.documentation)
    }
}

/// The types that the arguments are read as, or an error that says what the function expects.
pub(crate) fn coerced(
    name: &str,
    types: Option<Vec<DataType>>,
    given: &[DataType],
    documentation: &Documentation,
) -> Result<Vec<DataType>> {
    types.ok_or_else(|| {
        let given = given.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = &documentation.syntax_example;
        invalid(
            name,
            format!("expected {expected}, not ({})", given.join(", ")),
        )
    })
}

/// The results of a batch; one value where all arguments are constants.
pub(crate) fn results_of(
    name: &str,
    args: &[ColumnarValue],
    compute: impl Fn(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_constant = args
        .iter()
        .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let columns = ColumnarValue::values_to_arrays(args)?;
    let results = compute(&columns)?;
    if columns.first().is_some_and(|it| it.len() != results.len()) {
        return internal_err!("{name}: a result is missing");
    }
    Ok(match is_constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?),
        false => ColumnarValue::Array(results),
    })
}

/// Whether a type can be read as a number.
pub(crate) fn is_number(given: &DataType) -> bool {
    given.is_numeric() || given.is_null()
}

/// Whether a type can be read as text.
pub(crate) fn is_text(given: &DataType) -> bool {
    given.is_string() || given.is_null()
}

/// Whether a type can be read as a day.
pub(crate) fn is_day(given: &DataType) -> bool {
    matches!(
        given,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) | DataType::Null
    ) || given.is_string()
}
