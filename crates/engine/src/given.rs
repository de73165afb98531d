//! A table that one statement has beside the store's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, TableProvider};

use crate::Result;

/// Rows that a statement may read by a name of their own. They stand before a table of that name.
#[derive(Debug, Clone)]
pub struct Given {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: Arc<Vec<RecordBatch>>,
}

impl Given {
    pub(crate) fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        let rows = vec![self.rows.as_ref().clone()];
        Ok(Arc::new(MemTable::try_new(Arc::clone(&self.schema), rows)?))
    }
}
