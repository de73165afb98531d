//! The engine: a store, its limits, and the threads that run queries.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::registry::FunctionRegistry as _;
use datafusion::sql::parser::Statement;
use didymium_functions::convert_currency;
use didymium_model::Day;
use didymium_store::{SeriesTable, Snapshot, SnapshotTable, Store, Table, TableKind, View};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::limits::STACK_BYTES;
use crate::query::{self, QueryRequest, QueryResult};
use crate::relations::{self, Knowledge, Source};
use crate::session::{CATALOG, SCHEMA, base_state, runtime, with_tables};
use crate::system::{self, SYSTEM};
use crate::{Error, ErrorKind, Limits, Result, asof, exchange, guard, options, qualify};

/// Runs queries over one store.
///
/// Planning and execution happen on threads of the engine's own, so that a busy query never holds up
/// the threads that talk to clients, and on stacks deep enough for any statement within the limits.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    limits: Limits,
    clock: Clock,
    base: SessionState,
    threads: Option<Runtime>,
}

/// Milliseconds since 1970, now.
pub type Clock = fn() -> i64;

/// The clocks that a statement is bound to.
#[derive(Debug, Clone, Copy)]
struct Pins {
    knowledge: Knowledge,
    committed_by_ms: Option<i64>,
}

/// The tables that a statement names.
struct Names {
    tables: Vec<String>,
    /// Those that it does not name but asks about.
    listed: Vec<String>,
    /// Those of the schema `system`.
    system: Vec<String>,
}

/// A statement's tables, each in one version.
type Opened = BTreeMap<String, (Arc<Table>, Arc<Snapshot>)>;

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
    pub fn new(store: Arc<Store>, limits: Limits, clock: Clock) -> Result<Self> {
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
            clock,
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

    /// Replaces the statement's parameters and relations, opens one snapshot of each table that it
    /// names, and builds the session in which it is planned.
    pub(crate) async fn prepare(
        &self,
        statement: &mut Statement,
        request: &QueryRequest,
    ) -> Result<Planning> {
        let pins = self.pins(request)?;
        if let Some(query) = guard::query_of(statement) {
            request.parameters.put_into(query)?;
        }
        asof::rewrite(statement)?;
        options::gather(statement);
        qualify::complete(statement);
        let sources = relations::expand(statement, &self.base, pins.knowledge)?;
        let mut opened = Opened::default();
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        let mut system_tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        let Names {
            tables: names,
            listed,
            system,
        } = self.table_names(statement).await?;
        for name in system {
            let table = system::table(&self.store, &name).await?;
            system_tables.insert(name, table);
        }
        for name in names {
            let table = match sources.get(&name) {
                Some(source) => self.provider(source, pins, &mut opened).await?,
                None => self.current(&name, pins, &mut opened).await?,
            };
            tables.insert(name, table);
        }
        for name in listed {
            // A damaged table spoils no list.
            match self.current(&name, pins, &mut opened).await {
                Ok(table) => drop(tables.insert(name, table)),
                Err(error) => tracing::warn!(table = name, %error, "left out of a list"),
            }
        }
        let rates = match exchange::is_needed(statement) {
            false => None,
            true => {
                let source = Source::Rows(exchange::TABLE.to_owned());
                let table = self.provider(&source, pins, &mut opened).await?;
                Some(exchange::rates(&self.base, table).await?)
            }
        };
        let bytes: u64 = opened.values().map(|(_, snapshot)| snapshot.bytes()).sum();
        let in_order = !tables.is_empty() && bytes < SnapshotTable::ONE_PARTITION_BYTES;
        let partitions = if in_order { 1 } else { self.limits.threads };
        let versions = opened
            .into_iter()
            .map(|(name, (_, snapshot))| (name, snapshot.version()));
        let mut state = with_tables(&self.base, tables, system_tables, partitions)?;
        if let Some(rates) = rates {
            state.register_udf(Arc::new(convert_currency(Arc::new(rates))))?;
        }
        Ok(Planning {
            state,
            versions: versions.collect(),
        })
    }

    /// What the statement may know: by default all that was public by tomorrow's date, since
    /// somewhere it is tomorrow already.
    fn pins(&self, request: &QueryRequest) -> Result<Pins> {
        let now_ms = (self.clock)();
        let latest = Day::from_epoch(Day::at_ms(now_ms).days_from_epoch() + 1);
        let knowledge = Knowledge {
            day: latest,
            latest,
        };
        let day = request
            .published_as_of
            .map_or(Ok(latest), |day| knowledge.check(day))?;
        if request.committed_as_of_ms.is_some_and(|time| time > now_ms) {
            return Err(Error::invalid("committed_as_of lies in the future"));
        }
        let committed_by_ms = request.committed_as_of_ms;
        Ok(Pins {
            knowledge: Knowledge { day, latest },
            committed_by_ms,
        })
    }

    /// What a bare name gives: of a series table the rows that count, of another all rows.
    async fn current(
        &self,
        name: &str,
        pins: Pins,
        opened: &mut Opened,
    ) -> Result<Arc<dyn TableProvider>> {
        let (_, snapshot) = self.open(name, pins, opened).await?;
        let is_series = snapshot
            .declaration()
            .is_some_and(|table| table.kind == TableKind::Series);
        let source = match is_series {
            true => Source::View(name.to_owned(), View::Current, pins.knowledge.day),
            false => Source::Rows(name.to_owned()),
        };
        self.provider(&source, pins, opened).await
    }

    async fn provider(
        &self,
        source: &Source,
        pins: Pins,
        opened: &mut Opened,
    ) -> Result<Arc<dyn TableProvider>> {
        let (name, view) = match source {
            Source::Rows(name) => (name, None),
            Source::View(name, view, day) => (name, Some((*view, *day))),
        };
        let (table, snapshot) = self.open(name, pins, opened).await?;
        let declaration = snapshot.declaration().cloned();
        let rows = SnapshotTable::new(table, snapshot);
        let Some((view, day)) = view else {
            return Ok(Arc::new(rows));
        };
        let series = declaration.filter(|table| table.kind == TableKind::Series);
        let Some(declaration) = series else {
            return Err(Error::invalid(format!(
                "{name} is a plain table: its rows have no vintages, only series tables' do"
            )));
        };
        let ranks = match declaration
            .source_rank
            .as_deref()
            .and_then(|rank| rank.split_once('.'))
        {
            None => Arc::default(),
            Some((sources, column)) => {
                let (table, snapshot) = self.open(sources, pins, opened).await?;
                table.ranks(&snapshot, column).await?
            }
        };
        Ok(Arc::new(SeriesTable::new(
            rows,
            declaration,
            view,
            day,
            ranks,
        )))
    }

    /// The statement's one snapshot of a table.
    async fn open(
        &self,
        name: &str,
        pins: Pins,
        opened: &mut Opened,
    ) -> Result<(Arc<Table>, Arc<Snapshot>)> {
        if let Some((table, snapshot)) = opened.get(name) {
            return Ok((Arc::clone(table), Arc::clone(snapshot)));
        }
        let table = self.store.table(name).await?;
        let snapshot = match pins.committed_by_ms {
            None => table.snapshot().await?,
            Some(time_ms) => table.snapshot_committed_by(time_ms).await?,
        };
        opened.insert(name.to_owned(), (Arc::clone(&table), Arc::clone(&snapshot)));
        Ok((table, snapshot))
    }

    /// The store's tables that the statement names; all of them where it asks what there is.
    async fn table_names(&self, statement: &Statement) -> Result<Names> {
        let references = self
            .base
            .resolve_table_references(statement)
            .map_err(|error| Error::while_planning(&error))?;
        let (mut names, mut listed, mut system) = (Vec::new(), Vec::new(), Vec::new());
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
                "information_schema" if table.eq_ignore_ascii_case("df_settings") => {
                    return Err(unknown());
                }
                "information_schema" => {
                    listed.extend(self.store.table_names().await?);
                    system.extend(system::TABLES.map(str::to_owned));
                }
                SYSTEM => system.push(table.to_string()),
                _ => return Err(unknown()),
            }
        }
        listed.retain(|name| !names.contains(name));
        for names in [&mut names, &mut listed, &mut system] {
            names.sort();
            names.dedup();
        }
        Ok(Names {
            tables: names,
            listed,
            system,
        })
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
