//! Windows of period functions, a batch at a time.
//!
//! DataFusion asks a window function for one row after another, and buffers its whole input where a
//! function needs later rows. [`SeriesWindows`] replaces its operator, where all functions of a window are
//! this crate's and rows come sorted by series, with [`SeriesWindowExec`].

mod exec;

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_physical_expr::window::{
    StandardWindowExpr, StandardWindowFunctionExpr, WindowExpr,
};
use datafusion_physical_optimizer::PhysicalOptimizerRule;
use datafusion_physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion_physical_plan::{ExecutionPlan, InputOrderMode};

use crate::period_window::{Behaviour, PeriodWindow};
use exec::SeriesWindowExec;

/// Replaces the operators of windows that hold period functions alone.
#[derive(Debug)]
pub(crate) struct SeriesWindows;

impl PhysicalOptimizerRule for SeriesWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match replacement(&plan) {
                Some(windows) => Transformed::yes(Arc::new(windows)),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "series_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn replacement(plan: &Arc<dyn ExecutionPlan>) -> Option<SeriesWindowExec> {
    let windows = if let Some(windows) = plan.downcast_ref::<BoundedWindowAggExec>() {
        (windows.input_order_mode == InputOrderMode::Sorted).then(|| windows.window_expr())?
    } else {
        plan.downcast_ref::<WindowAggExec>()?.window_expr()
    };
    let functions: Option<Vec<_>> = windows.iter().map(period_function).collect();
    let functions = functions?;
    let needs_series = windows
        .iter()
        .any(|window| behaviour(window).is_some_and(|it| matches!(it, Behaviour::Series(_))));
    let series = windows.first()?.partition_by().to_vec();
    Some(SeriesWindowExec::new(
        Arc::clone(plan),
        functions,
        series,
        needs_series,
    ))
}

fn udf(
    window: &Arc<dyn WindowExpr>,
) -> Option<(&Arc<dyn StandardWindowFunctionExpr>, &WindowUDFExpr)> {
    let window = window.as_any().downcast_ref::<StandardWindowExpr>()?;
    let function = window.get_standard_func_expr();
    Some((function, function.as_any().downcast_ref::<WindowUDFExpr>()?))
}

fn behaviour(window: &Arc<dyn WindowExpr>) -> Option<Behaviour> {
    let (_, udf) = udf(window)?;
    let function = udf.fun().inner().downcast_ref::<PeriodWindow>()?;
    Some(function.behaviour)
}

/// The function of a window, if it is one of this crate's.
fn period_function(window: &Arc<dyn WindowExpr>) -> Option<Arc<dyn StandardWindowFunctionExpr>> {
    behaviour(window)?;
    udf(window).map(|(function, _)| Arc::clone(function))
}
