//! The engine: a store, its limits, and the threads that run queries.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement;
use didymium_store::{SnapshotTable, Store};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::limits::STACK_BYTES;
use crate::query::{self, QueryRequest, QueryResult};
use crate::session::{CATALOG, SCHEMA, base_state, runtime, with_tables};
use crate::{Error, ErrorKind, Limits, Result};

/// Runs queries over one store.
///
/// Planning and execution happen on threads of the engine's own, so that a busy query never holds up
/// the threads that talk to clients, and on stacks deep enough for any statement within the limits.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    limits: Limits,
    base: SessionState,
    threads: Option<Runtime>,
}

/// A statement's session, and the version of each of its tables.
pub(crate) struct Planning {
    pub(crate) state: SessionState,
    pub(crate) versions: BTreeMap<String, u64>,
}

impl Engine {
    /// An engine over the store.
    ///
    /// # Errors
    /// `Internal` where the threads or the spill folder can't be made.
    pub fn new(store: Arc<Store>, limits: Limits) -> Result<Self> {
        let base = base_state(runtime(&store, &limits)?, &limits)?;
        let threads = Builder::new_multi_thread()
            .worker_threads(limits.threads)
            .thread_name("didymium-query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        Ok(Self {
            store,
            limits,
            base,
            threads: Some(threads),
        })
    }

    /// The store that is queried.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Plans and starts one query. Dropping the result stops it.
    ///
    /// # Errors
    /// See [`ErrorKind`]; a failure after the first rows comes from [`QueryResult::next`].
    pub async fn query(self: &Arc<Self>, request: QueryRequest) -> Result<QueryResult> {
        query::start(self, request).await
    }

    /// Runs a future on the engine's threads; dropping the handle stops it.
    pub(crate) fn spawn<F>(&self, future: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let threads = self
            .threads
            .as_ref()
            .expect("the threads live as long as the engine");
        AbortOnDropHandle::new(threads.spawn(future))
    }

    /// One snapshot of each table that the statement names, in a session of its own.
    pub(crate) async fn prepare(&self, statement: &Statement) -> Result<Planning> {
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        let mut versions = BTreeMap::new();
        let mut bytes = 0;
        for name in self.table_names(statement)? {
            let table = self.store.table(&name)?;
            let snapshot = table.snapshot().await?;
            bytes += snapshot.bytes();
            versions.insert(name.clone(), snapshot.version());
            tables.insert(name, Arc::new(SnapshotTable::new(table, snapshot)));
        }
        let in_order = !tables.is_empty() && bytes < SnapshotTable::ONE_PARTITION_BYTES;
        let partitions = if in_order { 1 } else { self.limits.threads };
        Ok(Planning {
            state: with_tables(&self.base, tables, partitions)?,
            versions,
        })
    }

    /// The store's tables that the statement names; all of them where it asks what there is.
    fn table_names(&self, statement: &Statement) -> Result<Vec<String>> {
        let references = self
            .base
            .resolve_table_references(statement)
            .map_err(|error| Error::while_planning(&error))?;
        let mut names = Vec::new();
        for reference in references {
            if self.is_table_function(&reference) {
                continue;
            }
            let (catalog, schema, table) = match &reference {
                TableReference::Bare { table } => (CATALOG, SCHEMA, table),
                TableReference::Partial { schema, table } => (CATALOG, schema.as_ref(), table),
                TableReference::Full {
                    catalog,
                    schema,
                    table,
                } => (catalog.as_ref(), schema.as_ref(), table),
            };
            let unknown = || {
                Error::new(
                    ErrorKind::NotFound,
                    format!("there is no table {reference}"),
                )
            };
            if catalog != CATALOG {
                return Err(unknown());
            }
            match schema {
                SCHEMA => names.push(table.to_string()),
                // It would show the server's own settings.
                "information_schema" if table.as_ref() == "df_settings" => return Err(unknown()),
                "information_schema" => names.extend(self.store.table_names()?),
                _ => return Err(unknown()),
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether the name is a function's, such as `generate_series`, and no table of the store's.
    fn is_table_function(&self, reference: &TableReference) -> bool {
        let TableReference::Bare { table } = reference else {
            return false;
        };
        self.base.table_functions().contains_key(table.as_ref())
    }
}

impl Drop for Engine {
    /// A runtime must not wait for its threads inside another one.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
