//! How far a query has come, by what its plan counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// What a plan reads, and has read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The steps that read.
    leaves: Vec<Arc<dyn ExecutionPlan>>,
    files: u64,
    files_total: u64,
    /// Where every step knows its own.
    rows_to_read: Option<u64>,
}

/// What a query has read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Rows of tables.
    pub rows: u64,
    /// Rows that will have been read in the end, as far as the plan can tell.
    pub rows_to_read: Option<u64>,
    /// Bytes of the tables' files.
    pub bytes: u64,
    /// Files that are read, once those are left out that hold nothing of what is asked for.
    pub files: u64,
    /// Files of the tables' versions.
    pub files_total: u64,
}

impl Reading {
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>, files_total: u64) -> Self {
        let mut leaves = Vec::new();
        let mut files = BTreeSet::new();
        // Walking a plan fails only where its visitor does.
        let _ = plan.apply(|step| {
            if step.children().is_empty() {
                leaves.push(Arc::clone(step));
            }
            if let Some(source) = step.downcast_ref::<DataSourceExec>()
                && let Some(scan) = source.data_source().downcast_ref::<FileScanConfig>()
            {
                let groups = scan.file_groups.iter().flat_map(|group| group.files());
                files.extend(groups.map(|file| file.object_meta.location.clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        let rows = leaves.iter().map(|leaf| {
            let known = StatisticsContext::new();
            let known = known.compute(leaf.as_ref(), &StatisticsArgs::new()).ok()?;
            known.num_rows.get_value().map(|rows| *rows as u64)
        });
        Self {
            rows_to_read: rows.sum(),
            leaves,
            files: files.len() as u64,
            files_total,
        }
    }

    /// What has been read so far.
    pub fn read(&self) -> Read {
        let mut read = Read {
            rows_to_read: self.rows_to_read,
            files: self.files,
            files_total: self.files_total,
            ..Read::default()
        };
        for metrics in self.leaves.iter().filter_map(|leaf| leaf.metrics()) {
            read.rows += metrics.output_rows().unwrap_or_default() as u64;
            let bytes = metrics.sum_by_name("bytes_scanned");
            read.bytes += bytes.map_or(0, |bytes| bytes.as_usize() as u64);
        }
        read
    }
}
