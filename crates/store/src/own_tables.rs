//! The store's own tables: no statement names them, and no load goes into them from outside.

use std::sync::Arc;

use crate::{Declaration, Error, Result, Store, Table};

/// The history of jobs.
pub const JOB_RUNS: &str = "_job_runs";

/// Whether a table of this name is the store's own. No declaration can have such a name.
pub fn is_own_table(name: &str) -> bool {
    name.starts_with('_')
}

/// The declaration of [`JOB_RUNS`].
///
/// # Errors
/// [`Error::Internal`], which is a bug.
pub fn job_runs() -> Result<Declaration> {
    toml::from_str(include_str!("job_runs.toml"))
        .map_err(|error| Error::Internal(format!("job_runs.toml: {error}")))
}

impl Store {
    /// One of the store's own tables, made where it is not there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn own_table(&self, declaration: &Declaration, now_ms: i64) -> Result<Arc<Table>> {
        let name = &declaration.name;
        if self.has_table(name).await? {
            return self.table(name).await;
        }
        match self.create_table(declaration, now_ms).await {
            // Another server was faster.
            Err(Error::AlreadyExists(_)) => self.table(name).await,
            made => made,
        }
    }
}
