//! The SQL functions of official statistics, for any DataFusion program.
//!
//! Each function is one file: its documentation, its types and a call into [`didymium_model`],
//! where its arithmetic stands. [`register`] adds all of them to a session.

mod arguments;
mod asof_join;
mod base_growth;
mod cagr;
mod calendar;
mod cells;
mod change;
mod convert_currency;
mod convert_unit;
mod end_of_period;
mod error;
mod execution_rate;
mod fiscal_year;
mod from_reo;
mod from_ytd;
mod gap_fill;
mod growth;
mod index_to;
mod interpolate;
mod locf;
mod mom;
mod oxide;
mod period_columns;
mod period_length_months;
mod period_window;
mod prior;
mod qoq;
mod quota_execution_rate;
mod scalar;
mod series_ranges;
mod series_windows;
mod sql_time;
mod time_bucket;
mod time_bucket_gapfill;
mod to_reo;
mod window_order;
mod yoy;
mod ytd;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::registry::FunctionRegistry;
use datafusion_expr::{AggregateUDF, ScalarUDF, UserDefinedLogicalNode, WindowUDF};
use datafusion_optimizer::AnalyzerRule;
use datafusion_physical_optimizer::PhysicalOptimizerRule;
use datafusion_physical_plan::ExecutionPlan;

pub use asof_join::CreateExpr;
pub use convert_currency::convert_currency;
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
    vec![
        quota_execution_rate::quota_execution_rate(),
        end_of_period::end_of_period(),
        period_length_months::period_length_months(),
        fiscal_year::fiscal_year(),
        time_bucket::time_bucket(),
        time_bucket_gapfill::time_bucket_gapfill(),
        time_bucket_gapfill::locf(),
        time_bucket_gapfill::interpolate(),
        calendar::calendar_periods(),
        asof_join::asof_match(),
        convert_unit::convert_unit(),
        Arc::new(convert_currency(Arc::default())),
        to_reo::to_reo(),
        from_reo::from_reo(),
    ]
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

/// The rules that bring gap filling and as-of joins into a plan, to run after types are settled.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(gap_fill::GapFillRule),
        Arc::new(asof_join::AsofJoinRule),
    ]
}

/// The rules that replace operators in a finished plan, to run last.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![Arc::new(series_windows::SeriesWindows)]
}

/// The operator for a node that [`analyzer_rules`] put into a plan; `None` for any other node. `create`
/// makes a physical expression over a schema.
///
/// # Errors
/// What `create` says.
pub fn plan_node(
    node: &dyn UserDefinedLogicalNode,
    inputs: &[Arc<dyn ExecutionPlan>],
    create: CreateExpr<'_>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(node) = node.as_any().downcast_ref::<gap_fill::GapFill>()
        && let [input] = inputs
    {
        let operator = gap_fill::GapFillExec::of(node, Arc::clone(input));
        return Ok(Some(Arc::new(operator)));
    }
    if let Some(node) = node.as_any().downcast_ref::<asof_join::AsofJoin>()
        && let [left, right] = inputs
    {
        let inputs = (Arc::clone(left), Arc::clone(right));
        let operator = asof_join::AsofJoinExec::of(node, inputs, create)?;
        return Ok(Some(Arc::new(operator)));
    }
    Ok(None)
}
