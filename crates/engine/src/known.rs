//! What only the process around the engine knows. It is asked where a statement reads it, through a view or
//! not, and at no other time.

use std::fmt;

use async_trait::async_trait;

use crate::{ListedJob, Result, RunningQuery};

/// The process around the engine, as one caller may know it.
#[async_trait]
pub trait Known: fmt::Debug + Send + Sync {
    /// The queries for `system.queries`.
    fn queries(&self) -> Vec<RunningQuery>;

    /// The jobs for `system.jobs`.
    ///
    /// # Errors
    /// Where they can't be looked up.
    async fn jobs(&self) -> Result<Vec<ListedJob>>;
}
