//! The only files that a query can reach: the store's.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use didymium_store::OBJECT_STORE_URL;
use object_store::ObjectStore;
use url::Url;

/// A registry of one object store. It knows no `file://`, takes no further stores, and so leaves
/// SQL no way to a file outside.
#[derive(Debug)]
pub(crate) struct StoreOnly(pub(crate) Arc<dyn ObjectStore>);

impl ObjectStoreRegistry for StoreOnly {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str().starts_with(OBJECT_STORE_URL) {
            return Ok(Arc::clone(&self.0));
        }
        Err(DataFusionError::Plan(
            "a query reads tables, not files".to_owned(),
        ))
    }
}
