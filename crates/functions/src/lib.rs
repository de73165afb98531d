//! The SQL functions of official statistics, for any DataFusion program.
//!
//! Each function is one file: its documentation, its types and a call into [`didymium_model`],
//! where its arithmetic stands. [`register`] adds all of them to a session.

mod arguments;
mod base_growth;
mod cagr;
mod cells;
mod change;
mod error;
mod execution_rate;
mod from_ytd;
mod growth;
mod index_to;
mod interpolate;
mod locf;
mod mom;
mod period_columns;
mod period_window;
mod prior;
mod qoq;
mod quota_execution_rate;
mod window_order;
mod yoy;
mod ytd;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::registry::FunctionRegistry;
use datafusion_expr::{AggregateUDF, ScalarUDF, WindowUDF};

pub use error::Error;

/// The window functions, in the order of their documentation.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    vec![
        prior::prior(),
        yoy::yoy(),
        yoy::yoy_reason(),
        qoq::qoq(),
        qoq::qoq_reason(),
        mom::mom(),
        mom::mom_reason(),
        growth::growth(),
        growth::growth_reason(),
        change::change(),
        index_to::index_to(),
        ytd::ytd(),
        from_ytd::from_ytd(),
        from_ytd::from_ytd_value(),
        locf::locf(),
        interpolate::interpolate(),
    ]
}

/// The aggregates, in the order of their documentation.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![cagr::cagr(), execution_rate::execution_rate()]
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
    for function in aggregate_functions() {
        registry.register_udaf(function)?;
    }
    for function in scalar_functions() {
        registry.register_udf(function)?;
    }
    registry.register_expr_planner(Arc::new(window_order::WindowOrder))
}
