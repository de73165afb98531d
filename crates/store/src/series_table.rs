//! A series table as SQL sees it: one row per series and period, or what changed, or what conflicts.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use didymium_model::{Day, Status};

use crate::data_file::DataFile;
use crate::standard_columns::SORT;
use crate::vintages::{DECIDING, VintagesExec, revisions_schema};
use crate::{Declaration, OfSources, Snapshot, SnapshotTable, View};

/// One [`View`] of one version of a series table, as of a day's knowledge.
#[derive(Debug)]
pub struct SeriesTable {
    rows: SnapshotTable,
    declaration: Declaration,
    view: View,
    day: Day,
    ranks: OfSources,
    schema: SchemaRef,
    /// Whether there is nothing to choose: the view is every row.
    is_plain: bool,
}

impl SeriesTable {
    /// The view of the rows of one snapshot; `declaration` is that snapshot's.
    pub fn new(
        rows: SnapshotTable,
        declaration: Declaration,
        view: View,
        day: Day,
        ranks: OfSources,
    ) -> Self {
        let schema = match view {
            View::Current | View::Latest | View::Conflicts => rows.schema(),
            View::Revisions => revisions_schema(&declaration),
        };
        let is_plain = view == View::Current && every_row_counts(rows.snapshot(), day);
        Self {
            rows,
            declaration,
            view,
            day,
            ranks,
            schema,
            is_plain,
        }
    }

    /// Whether a predicate speaks only of what all rows that are chosen among share: a series and
    /// period, or for the newest row a series. Any other one, put below the choice, would bring an old
    /// value back.
    fn is_about_shared(&self, filter: &Expr) -> bool {
        let shared = |name: &str| {
            let of_period = ["period_start", "period_end", "frequency"];
            ["series", "measure"].contains(&name)
                || (self.view != View::Latest && of_period.contains(&name))
                || self.declaration.key.iter().any(|key| key == name)
        };
        !filter.is_volatile()
            && filter
                .column_refs()
                .iter()
                .all(|column| shared(&column.name))
    }
}

#[async_trait]
impl TableProvider for SeriesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        if self.is_plain {
            return self.rows.supports_filters_pushdown(filters);
        }
        let below = |filter: &&Expr| match self.is_about_shared(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(below).collect())
    }

    /// A LIMIT stays above: the first rows of the files are not the first that count.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_plain {
            return self.rows.scan(state, projection, filters, limit).await;
        }
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let names: Vec<&str> = wanted
            .iter()
            .map(|i| self.schema.field(*i).name().as_str())
            .collect();
        let needed = names.iter().copied().chain(SORT).chain(DECIDING);
        let all = self.rows.schema();
        let mut needed: Vec<usize> = match self.view {
            // Its own columns are made of these.
            View::Revisions => (0..all.fields().len()).collect(),
            View::Current | View::Latest | View::Conflicts => {
                needed.filter_map(|name| all.index_of(name).ok()).collect()
            }
        };
        needed.sort_unstable();
        needed.dedup();
        let rows = self.rows.scan(state, Some(&needed), filters, None).await?;
        let told = VintagesExec::of(
            rows,
            self.view,
            self.day,
            Arc::clone(&self.ranks),
            (&self.schema, &names),
        )?;
        Ok(Arc::new(told))
    }
}

/// Whether the log proves that each row of the snapshot counts on a day: no series has a period twice, and
/// all are public by then and none is set aside.
fn every_row_counts(snapshot: &Snapshot, day: Day) -> bool {
    let files = &snapshot.files;
    let place = |name: &str| snapshot.schema.index_of(name).ok();
    let (Some(published), Some(status)) = (place("published_on"), place("status")) else {
        return false;
    };
    let is_public = |file: &DataFile| match file.bounds(published) {
        Some((_, ScalarValue::Date32(Some(last)))) => *last <= day.days_from_epoch(),
        _ => false,
    };
    let none_set_aside = |file: &DataFile| {
        let Some((ScalarValue::Utf8(Some(low)), ScalarValue::Utf8(Some(high)))) =
            file.bounds(status)
        else {
            return false;
        };
        let set_aside = Status::ALL.into_iter().filter(|it| it.is_set_aside());
        set_aside
            .map(Status::word)
            .all(|word| word < low.as_str() || word > high.as_str())
    };
    let counts =
        |file: &DataFile| file.order.unique_periods && is_public(file) && none_set_aside(file);
    files.iter().all(counts)
        && ["period_start", "series"]
            .into_iter()
            .filter_map(place)
            .any(|column| are_disjoint(files, column))
}

/// Whether no value of a column lies within the bounds of two files.
fn are_disjoint(files: &[DataFile], column: usize) -> bool {
    let bounds: Option<Vec<_>> = files.iter().map(|file| file.bounds(column)).collect();
    let Some(mut bounds) = bounds else {
        return false;
    };
    bounds.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    bounds.windows(2).all(|pair| pair[0].1 < pair[1].0)
}
