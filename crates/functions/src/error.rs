//! What a caller can get wrong in a function's arguments or rows.

use datafusion_common::DataFusionError;

/// A mistake in a query that shows only when a function plans or runs.
///
/// It travels inside [`DataFusionError::External`]. DataFusion's own `Execution` error holds users'
/// mistakes and the engine's faults alike; this type says which it is, on every stream.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{function}: {message}")]
pub struct Error {
    function: String,
    message: String,
}

/// An [`Error`] on its way through DataFusion.
pub(crate) fn invalid(function: &str, message: impl ToString) -> DataFusionError {
    let error = Error {
        function: function.to_owned(),
        message: message.to_string(),
    };
    DataFusionError::External(Box::new(error))
}
