//! The SQL functions of official statistics, for any DataFusion program.
//!
//! Each function is one file: its documentation, its types and a call into [`didymium_model`],
//! where its arithmetic stands. [`register`] adds all of them to a session.

mod base_window;
mod error;
mod growth;
mod period_columns;
mod prior;
mod quota_execution_rate;
mod window_order;
mod yoy;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::registry::FunctionRegistry;
use datafusion_expr::{ScalarUDF, WindowUDF};

pub use error::Error;

/// The window functions, in the order of their documentation.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    vec![prior::prior(), yoy::yoy(), growth::growth()]
}

/// The scalar functions, in the order of their documentation.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![quota_execution_rate::quota_execution_rate()]
}

/// Adds every function, and the planner that orders their windows by period.
///
/// # Errors
/// None of its own; what the registry says when it takes no functions.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in window_functions() {
        registry.register_udwf(function)?;
    }
    for function in scalar_functions() {
        registry.register_udf(function)?;
    }
    registry.register_expr_planner(Arc::new(window_order::WindowOrder))
}
