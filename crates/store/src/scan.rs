//! A snapshot as the engine reads it: pruned, and in the order that its files keep.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{TimeZone, Utc};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, DataFusionError, Result, SplitPoint};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetRowSelection,
};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr, RangePartitioning,
};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::RowSelection;

use crate::data_file::DataFile;
use crate::embargo::{self, SOURCE};
use crate::file_order::FileOrder;
use crate::in_order::InOrderExec;
use crate::layout::ORDER;
use crate::long_rows;
use crate::parts::{self, Slice};
use crate::standard_columns::SORT;
use crate::store::OBJECT_STORE_URL;
use crate::table::has_checksum;
use crate::{Snapshot, Table};

/// One version of a table, for one statement.
#[derive(Debug)]
pub struct SnapshotTable {
    table: Arc<Table>,
    snapshot: Arc<Snapshot>,
    /// The sources whose rows are not shown.
    hidden: Arc<Vec<String>>,
}

impl SnapshotTable {
    /// Tables with fewer rows are read as one partition: a second thread would gain nothing, and a sum of
    /// doubles does not depend on which part of them comes first.
    pub const ONE_PARTITION_ROWS: u64 = 256 * 1024;

    /// The provider of `snapshot`, which is one of `table`'s.
    pub fn new(table: Arc<Table>, snapshot: Arc<Snapshot>) -> Self {
        Self {
            table,
            snapshot,
            hidden: Arc::default(),
        }
    }

    /// The same without the rows of these sources, where the table names a source for its rows.
    pub fn hiding(self, sources: Arc<Vec<String>>) -> Self {
        let has_sources = self.snapshot.schema.index_of(SOURCE).is_ok();
        match has_sources {
            true => Self {
                hidden: sources,
                ..self
            },
            false => self,
        }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The files that may hold rows for the predicate.
    fn pruned(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<&DataFile>> {
        let files: Vec<&DataFile> = self.snapshot.files.iter().collect();
        let Some(predicate) = predicate else {
            return Ok(files);
        };
        let schema = Arc::clone(&self.snapshot.schema);
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&schema))
            .try_build(Arc::clone(predicate))?;
        let statistics = files
            .iter()
            .map(|file| Arc::clone(&file.statistics))
            .collect();
        let keep = pruning.prune(&PrunableStatistics::new(statistics, schema))?;
        Ok(files
            .into_iter()
            .zip(keep)
            .filter_map(|(file, keep)| keep.then_some(file))
            .collect())
    }

    /// The order that every one of these files keeps, if they all do.
    fn order(&self, files: &[&DataFile]) -> Option<LexOrdering> {
        let columns = self.snapshot.declaration.as_ref()?.sort_columns();
        if files.iter().any(|file| file.order.sorted_by != columns) {
            return None;
        }
        ordering(&columns, &self.snapshot.schema)
    }

    /// The other orders that these files keep as well: by the columns that name a series instead of its
    /// name, and by the ends of periods instead of their starts. The engine merges by any of them and takes
    /// the others to hold then, so they must hold in the table and not only in each file: none where a
    /// series is in two files.
    fn more_orders(&self, files: &[&DataFile], order: &LexOrdering) -> Vec<LexOrdering> {
        let Some(declaration) = &self.snapshot.declaration else {
            return Vec::new();
        };
        if !follow_on(files, Some(first_column(order))) {
            return Vec::new();
        }
        let all = |keeps: fn(&FileOrder) -> bool| files.iter().all(|file| keeps(&file.order));
        let [series, start, end, others @ ..] = SORT;
        let keys = declaration.series_columns();
        let keys: Vec<&str> = keys.filter(|key| !self.is_constant(files, key)).collect();
        let keys_rise = keys
            .first()
            .is_some_and(|key| follow_on(files, self.snapshot.schema.index_of(key).ok()));
        let mut series = vec![vec![series]];
        if keys_rise && all(|order| order.keys_in_order) {
            series.push(keys);
        }
        let mut periods = vec![[start, end]];
        if all(|order| order.ends_in_order) {
            periods.push([end, start]);
        }
        let orders = series.iter().flat_map(|series| {
            periods.iter().map(|period| {
                let columns = series.iter().chain(period).chain(&others);
                ordering(&columns.copied().collect::<Vec<_>>(), &self.snapshot.schema)
            })
        });
        // The first is the table's own.
        orders.skip(1).flatten().collect()
    }

    /// Whether the log says that all rows of the files have one value in a column.
    fn is_constant(&self, files: &[&DataFile], column: &str) -> bool {
        let Ok(place) = self.snapshot.schema.index_of(column) else {
            return false;
        };
        let value = |file: &&DataFile| {
            let statistics = &file.statistics.column_statistics[place];
            let is_exact = statistics.min_value.is_exact() == Some(true);
            let (low, high) = file.bounds(place)?;
            let is_one = is_exact && low == high && statistics.null_count == Precision::Exact(0);
            is_one.then(|| low.clone())
        };
        let mut values = files.iter().map(value);
        match values.next() {
            Some(Some(first)) => values.all(|value| value.as_ref() == Some(&first)),
            _ => false,
        }
    }

    /// The columns of these places and those that the files are sorted by.
    fn with_sort_columns(&self, wanted: &[usize]) -> Vec<usize> {
        let declaration = self.snapshot.declaration.iter();
        let sorted = declaration.flat_map(|table| table.sort_columns());
        let sorted = sorted.filter_map(|name| self.snapshot.schema.index_of(name).ok());
        let mut all: Vec<usize> = wanted.iter().copied().chain(sorted).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn partitioned_file(&self, slice: &Slice<'_>) -> PartitionedFile {
        let file = slice.file;
        let whole = PartitionedFile::new_from_meta(ObjectMeta {
            location: self.table.location(&file.path),
            last_modified: Utc
                .timestamp_millis_opt(file.modified_ms)
                .single()
                .unwrap_or_default(),
            size: file.bytes,
            e_tag: None,
            version: None,
        })
        .with_statistics(slice.statistics());
        if slice.is_whole() {
            return whole;
        }
        let rows = file.rows().unwrap_or_default();
        let rows = RowSelection::from_consecutive_ranges([slice.rows.clone()].into_iter(), rows);
        whole.with_extension(ParquetRowSelection::new(rows))
    }

    /// The files in groups that are read at once, and what the engine may know of how the rows are
    /// spread over them.
    fn groups(
        &self,
        files: &[&DataFile],
        order: Option<&LexOrdering>,
        (threads, is_small): (usize, bool),
    ) -> (Vec<FileGroup>, Option<Partitioning>) {
        let first = order.map(first_column);
        let follow_on = first.is_none() || follow_on(files, first);
        let group = |slices: &[Slice<'_>]| {
            let files = slices.iter().map(|slice| self.partitioned_file(slice));
            FileGroup::new(files.collect())
        };
        if is_small && follow_on {
            let slices: Vec<_> = files.iter().map(|file| Slice::whole(file)).collect();
            return (vec![group(&slices)], None);
        }
        let parts = match (order, first) {
            (Some(order), Some(first)) if follow_on => {
                parts::cut(files, first, threads).map(|parts| (order, parts))
            }
            _ => None,
        };
        let Some((order, parts)) = parts else {
            let groups = files.iter().map(|file| group(&[Slice::whole(file)]));
            return (groups.collect(), None);
        };
        let groups = parts.iter().map(|part| group(&part.slices)).collect();
        let splits = parts.into_iter().filter_map(|part| part.first);
        let splits: Vec<_> = splits.map(|first| SplitPoint::new(vec![first])).collect();
        let range = LexOrdering::new([order.first().clone()])
            .filter(|_| !splits.is_empty())
            .map(|by| Partitioning::Range(RangePartitioning::new(by, splits)));
        (groups, range)
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.snapshot.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Predicates prune files, row groups and pages; the engine filters the rows that are left.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.hidden.is_empty() {
            return self.scan_all(state, projection, filters, limit).await;
        }
        let schema = &self.snapshot.schema;
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..schema.fields().len()).collect(),
        };
        let mut read = wanted.clone();
        read.push(schema.index_of(SOURCE)?);
        read.sort_unstable();
        read.dedup();
        let all = self.scan_all(state, Some(&read), filters, None).await?;
        only(embargo::without(all, &self.hidden)?, schema, &wanted)
    }
}

impl SnapshotTable {
    async fn scan_all(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = &self.snapshot.schema;
        let predicate = conjunction(filters.to_vec())
            .map(|filter| {
                let schema = DFSchema::try_from(Arc::clone(schema))?;
                state.create_physical_expr(filter, &schema)
            })
            .transpose()?;
        let mut files = self.pruned(predicate.as_ref())?;
        for file in &files {
            self.table
                .verify(file)
                .await
                .map_err(|error| DataFusionError::External(error.into()))?;
        }
        let order = self.order(&files);
        let first = order.as_ref().map(first_column);
        files.sort_by(|a, b| {
            let (a, b) = (first.map(|it| a.bounds(it)), first.map(|it| b.bounds(it)));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        });
        let threads = state.config().target_partitions();
        let is_small = is_small(&files);
        let (groups, partitioning) = self.groups(&files, order.as_ref(), (threads, is_small));
        // Files that overlap are merged in the table's order, whichever columns are wanted: else sums of
        // doubles would depend on which file comes first.
        let merge = is_small && groups.len() > 1 && order.is_some();
        let wanted = projection.filter(|_| merge);
        let with_order = wanted.map(|wanted| self.with_sort_columns(wanted));

        let orders = match order {
            None => Vec::new(),
            // A small table is sorted in no time, and its plans stay the same when its files are compacted.
            Some(order) if is_small => vec![order],
            Some(order) => {
                let more = self.more_orders(&files, &order);
                [order].into_iter().chain(more).collect()
            }
        };
        let mut options = state.table_options().parquet.clone();
        if files.iter().any(|file| !has_checksum(file)) {
            // Another program's bounds leave NaN out, in the file as in the log.
            options.global.pruning = false;
            options.global.enable_page_index = false;
        }
        // The engine pushes the predicate into the source itself.
        let source = ParquetSource::new(Arc::clone(schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                state.runtime_env().object_store(store_url()?)?,
                state.runtime_env().cache_manager.get_file_metadata_cache(),
            )));
        let columns = with_order.or_else(|| projection.cloned());
        let long = files.iter().map(|file| &file.long_columns);
        let scan = FileScanConfigBuilder::new(store_url()?, Arc::new(source))
            .with_file_groups(groups)
            .with_batch_size(long_rows::batch_rows(long, schema, columns.as_ref()))
            .with_projection_indices(columns)?
            .with_limit(limit)
            .with_output_partitioning(partitioning)
            .with_output_ordering(orders);
        let plan = DataSourceExec::from_data_source(scan.build());
        let kept = self
            .snapshot
            .declaration
            .as_ref()
            .and_then(|declaration| ordering(&declaration.sort_columns(), &plan.schema()));
        let plan: Arc<dyn ExecutionPlan> = match kept {
            Some(kept) if merge => {
                let merged = Arc::new(SortPreservingMergeExec::new(kept.clone(), plan));
                Arc::new(InOrderExec::new(merged, kept))
            }
            _ => plan,
        };
        match wanted {
            Some(wanted) => only(plan, schema, wanted),
            None => Ok(plan),
        }
    }
}

fn is_small(files: &[&DataFile]) -> bool {
    let rows: Option<usize> = files.iter().map(|file| file.rows()).sum();
    rows.is_some_and(|rows| (rows as u64) < SnapshotTable::ONE_PARTITION_ROWS)
}

/// The columns of these places in the table.
fn only(
    plan: Arc<dyn ExecutionPlan>,
    schema: &SchemaRef,
    wanted: &[usize],
) -> Result<Arc<dyn ExecutionPlan>> {
    let columns = wanted.iter().map(|place| {
        let name = schema.field(*place).name();
        Ok(ProjectionExpr {
            expr: Arc::new(Column::new_with_schema(name, &plan.schema())?),
            alias: name.clone(),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(OBJECT_STORE_URL)
}

/// The order by as many of the leading sort columns as the schema has.
pub(crate) fn ordering(columns: &[&str], schema: &SchemaRef) -> Option<LexOrdering> {
    let options = SortOptions { ..ORDER };
    let sorts = columns.iter().map_while(|name| {
        let column = Column::new(name, schema.index_of(name).ok()?);
        Some(PhysicalSortExpr {
            expr: Arc::new(column),
            options,
        })
    });
    LexOrdering::new(sorts)
}

fn first_column(order: &LexOrdering) -> usize {
    let first = order.first().expr.downcast_ref::<Column>();
    first
        .expect("an ordering of this file is made of columns")
        .index()
}

/// Whether each file comes before the next in a column.
fn follow_on(files: &[&DataFile], column: Option<usize>) -> bool {
    let mut pairs = files.windows(2);
    pairs.all(|pair| precedes(pair[0], pair[1], column))
}

/// Whether every row of one file comes before every row of another. NULL comes last and has no bound.
fn precedes(a: &DataFile, b: &DataFile, column: Option<usize>) -> bool {
    let Some(place) = column else { return false };
    let nulls = &a.statistics.column_statistics[place].null_count;
    match (a.bounds(place), b.bounds(place)) {
        (Some((_, highest)), Some((lowest, _))) => {
            *nulls == Precision::Exact(0) && highest < lowest
        }
        _ => false,
    }
}
