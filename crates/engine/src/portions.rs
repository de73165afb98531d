//! Batches of few rows where rows are long: what an operator makes of one batch is held to a size.
//!
//! An operator works on whole batches, of 8,192 rows, and the memory pool counts what some of them keep,
//! not what they make of a batch. `repeat` over a batch, a literal in each of its rows, a long list that is
//! unnested beside a long text, a long text that is joined to a batch: each is a short statement, and GiBs at
//! once. So a rule puts passages around such operators. One below those that call functions hands them as
//! few rows as make about 1 MiB (`slices.rs`, with the account of `meter.rs`), one below UNNEST as few as it
//! makes little of (`lists.rs`), and those below joins and windows, which copy whole values into each row of
//! what they make, reserve the memory for it (`copies.rs`). Rows that wait for a client are few then, too.

mod account;
mod copies;
mod lists;
mod load;
pub(crate) mod meter;
mod slices;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;

use crate::passage::{Passage, PassageExec, over};
use crate::portions::load::Load;

/// Bytes that one step should make of the rows that it is handed.
const PORTION_BYTES: usize = 1024 * 1024;

/// Rows of a portion, however short they are.
const MOST_ROWS: usize = 8192;

/// What the passages that cut batches are called in plans.
const PORTIONS: &str = "PortionsExec";

/// The rows of a batch of a plan: few where long literals may stand in each.
pub(crate) fn batch_rows(plan: &Arc<dyn ExecutionPlan>, rows: usize) -> Result<usize> {
    let mut fewest = rows;
    plan.apply(|plan| {
        if let Some(input) = plan.children().first() {
            let load = Load::of_expressions(plan, &input.schema())?;
            fewest = fewest.min(load.most_rows());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(fewest)
}

/// The passage that cuts what an operator is handed, where it needs one.
fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    input: &Arc<dyn ExecutionPlan>,
) -> Result<Option<Arc<dyn Passage>>> {
    if input.name() == PORTIONS {
        return Ok(None);
    }
    match plan.downcast_ref::<UnnestExec>() {
        Some(unnest) => Ok(Some(lists::below(unnest))),
        None => slices::below(plan, input),
    }
}

/// Puts a passage below each projection that needs one, before a scan takes the projection over: what a scan
/// computes of its rows, nobody could hold to a size.
#[derive(Debug)]
pub(crate) struct Projections;

impl PhysicalOptimizerRule for Projections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(projection) = plan.downcast_ref::<ProjectionExec>() else {
                return Ok(Transformed::no(plan));
            };
            let input = Arc::clone(projection.input());
            match cut(&plan, &input)? {
                Some(cut) => over(&plan, vec![PassageExec::of(input, cut)]).map(Transformed::yes),
                None => Ok(Transformed::no(plan)),
            }
        })
        .map(|changed| changed.data)
    }

    fn name(&self) -> &str {
        "portions of projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Puts passages around the operators that need them.
#[derive(Debug)]
pub(crate) struct Portions;

impl PhysicalOptimizerRule for Portions {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = batch_rows(&plan, config.execution.batch_size.get())?;
        plan.transform_up(|plan| {
            let plan = match plan.downcast_ref::<FilterExec>() {
                // It would go on with what it was planned with.
                Some(filter) if filter.batch_size() > rows => {
                    Arc::new(filter.with_batch_size(rows)?)
                }
                _ => plan,
            };
            let cut = match plan.children()[..] {
                [input] => cut(&plan, input)?,
                _ => None,
            };
            if let Some(held) = copies::held(&plan, cut.as_ref())? {
                return Ok(Transformed::yes(held));
            }
            match (cut, plan.children()[..].first()) {
                (Some(cut), Some(input)) => {
                    let input = PassageExec::of(Arc::clone(input), cut);
                    over(&plan, vec![input]).map(Transformed::yes)
                }
                _ => Ok(Transformed::no(plan)),
            }
        })
        .map(|changed| changed.data)
    }

    fn name(&self) -> &str {
        "portions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
