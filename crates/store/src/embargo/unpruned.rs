//! A table whose plan does not depend on what is asked of it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

/// A table that is read whole, whatever is asked of it: a plan that is shown must not depend on what its hidden
/// rows hold, as the number of files does that may hold what is asked for.
#[derive(Debug)]
pub struct Unpruned(Arc<dyn TableProvider>);

impl Unpruned {
    /// The same table.
    pub fn new(table: Arc<dyn TableProvider>) -> Self {
        Self(table)
    }
}

#[async_trait]
impl TableProvider for Unpruned {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![
            TableProviderFilterPushDown::Unsupported;
            filters.len()
        ])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, &[], None).await
    }
}
