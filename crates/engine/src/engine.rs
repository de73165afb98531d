//! The engine: a store, its limits, and the threads that run queries.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::registry::FunctionRegistry as _;
use datafusion::sql::parser::Statement;
use didymium_functions::convert_currency;
use didymium_model::Day;
use didymium_store::{
    Declaration, OfSources, SeriesTable, Snapshot, SnapshotTable, Store, Table, TableKind,
    Unpruned, View,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::limits::STACK_BYTES;
use crate::query::{self, QueryRequest, QueryResult};
use crate::relations::{self, Knowledge, Source};
use crate::session::{CATALOG, Own, SCHEMA, Tables, base_state, runtime, with_tables};
use crate::share::Share;
use crate::system::{self, SYSTEM};
use crate::{
    DescribedView, Error, ErrorKind, Given, Grants, Known, Limits, Parameters, Result, RunsOf,
    asof, exchange, guard, job_tables, options, qualify, whole_numbers,
};

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
pub(crate) struct Pins {
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

/// What a statement shares with the views that it names.
pub(crate) struct Scope {
    pins: Pins,
    pub(crate) grants: Grants,
    versions: BTreeMap<String, u64>,
    time_zone: Option<String>,
    known: Option<Arc<dyn Known>>,
    runs_of: RunsOf,
    given: BTreeMap<String, Given>,
    share: Arc<Share>,
    /// The sources whose rows the caller does not see yet, once they are looked up.
    hidden: Option<Arc<Vec<String>>>,
    /// Whether the caller sees them all.
    sees_all: bool,
    /// Whether the statement's plan is shown.
    is_explained: bool,
    /// The views of a list, once they are described; a list within a list shows none.
    pub(crate) described: Option<Arc<Vec<DescribedView>>>,
    opened: Opened,
    /// The views around the current place, the innermost last.
    pub(crate) within: Vec<String>,
}

impl Pins {
    /// The day up to which a statement knows.
    pub(crate) fn day(&self) -> Day {
        self.knowledge.day
    }
}

impl Scope {
    pub(crate) fn of(engine: &Engine, request: &QueryRequest) -> Result<Self> {
        let pins = engine.pins(request)?;
        let memory = engine.limits.query_memory_bytes;
        let memory = request.memory_bytes.map_or(memory, |own| own.min(memory));
        let pool = Arc::clone(&engine.base.runtime_env().memory_pool);
        Ok(Self {
            share: Share::of(pool, memory),
            pins,
            grants: request.grants.clone(),
            versions: request.versions.clone(),
            time_zone: request.time_zone.clone(),
            known: request.known.clone(),
            runs_of: request.runs_of.clone(),
            given: request.given.clone(),
            hidden: None,
            sees_all: request.may_write,
            is_explained: false,
            described: None,
            opened: Opened::new(),
            within: Vec::new(),
        })
    }
}

/// A statement's session, and the version of each of its tables.
pub(crate) struct Planning {
    pub(crate) state: SessionState,
    pub(crate) versions: BTreeMap<String, u64>,
    /// The files of all of them.
    pub(crate) files: u64,
    /// The memory that it may take.
    pub(crate) share: Arc<Share>,
}

impl Engine {
    /// An engine over the store.
    ///
    /// # Errors
    /// `Internal` where the threads or the spill folder can't be made.
    pub fn new(store: Arc<Store>, limits: Limits, clock: Clock) -> Result<Self> {
        let base = base_state(runtime(&store, &limits)?, &limits)?;
        let in_background = limits.in_background;
        let threads = Builder::new_multi_thread()
            .worker_threads(limits.threads)
            .thread_name("didymium-query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .on_thread_start(move || give_way(in_background))
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

    /// The session that every statement's own begins with.
    pub(crate) fn base(&self) -> &SessionState {
        &self.base
    }

    /// The store that is queried.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Milliseconds since 1970, now.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Bytes of memory that queries have reserved.
    pub fn reserved_bytes(&self) -> usize {
        self.base.runtime_env().memory_pool.reserved()
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
        self.query_holding(request, ()).await
    }

    /// As [`Self::query`]; what is held is let go when the query ends, before its last rows are read.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_holding(
        self: &Arc<Self>,
        request: QueryRequest,
        held: impl Send + 'static,
    ) -> Result<QueryResult> {
        query::start(self, request, held).await
    }

    /// Runs work that is no query on the engine's threads, within a query's time.
    pub(crate) async fn run_on_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.run_within(self.limits.timeout, work).await
    }

    /// The same within a time of its own.
    pub(crate) async fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let work = self.spawn(tokio::time::timeout(limit, work));
        match work.await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Error::new(
                ErrorKind::Deadline,
                format!("it was stopped after {limit:?}"),
            )),
            Err(error) => Err(Error::new(ErrorKind::Internal, error.to_string())),
        }
    }

    /// Runs a future on the engine's threads; dropping the handle stops it.
    pub fn spawn<F>(&self, future: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let threads = self
            .threads
            .as_ref()
            .expect("the threads live as long as the engine");
        AbortOnDropHandle::new(threads.spawn(future.in_current_span()))
    }

    /// Replaces the statement's parameters and relations, opens one snapshot of each table that it
    /// names, and builds the session in which it is planned.
    pub(crate) async fn prepare(
        &self,
        statement: &mut Statement,
        request: &QueryRequest,
    ) -> Result<Planning> {
        let mut scope = Scope::of(self, request)?;
        let state = self
            .session(statement, Some(&request.parameters), &mut scope)
            .await?;
        let hidden = scope.hidden.unwrap_or_default();
        let opened = scope.opened.values();
        let files = opened
            .map(|(_, snapshot)| snapshot.files_without(&hidden).count() as u64)
            .sum();
        let versions = scope.opened.into_iter();
        let versions = versions.map(|(name, (_, snapshot))| (name, snapshot.version()));
        Ok(Planning {
            share: scope.share,
            state,
            files,
            versions: versions.collect(),
        })
    }

    /// The session in which a statement is planned, or the query of a view. Without parameters those
    /// of the statement stay open.
    pub(crate) async fn session(
        &self,
        statement: &mut Statement,
        parameters: Option<&Parameters>,
        scope: &mut Scope,
    ) -> Result<SessionState> {
        scope.is_explained |= matches!(statement, Statement::Explain(_));
        if let Some(query) = guard::query_of(statement)
            && let Some(parameters) = parameters
        {
            parameters.put_into(query)?;
        }
        whole_numbers::keep(statement)?;
        asof::rewrite(statement)?;
        options::gather(statement);
        qualify::complete(statement);
        let sources = relations::expand(statement, &self.base, scope.pins.knowledge)?;
        let mut tables = Tables::new();
        let mut system_tables = Tables::new();
        let Names {
            tables: names,
            listed,
            system,
        } = self.table_names(statement, &scope.grants).await?;
        for name in system {
            let views = match system::TABLES_WITH_VIEWS.contains(&name.as_str()) {
                true => self.views(scope).await?,
                false => Arc::default(),
            };
            let hidden = match system::TABLES_OF_ROWS.contains(&name.as_str()) {
                true => self.hidden(scope).await?,
                false => Arc::default(),
            };
            let table = match name.as_str() {
                system::QUERIES => {
                    let known = scope.known.as_ref();
                    system::queries(&known.map(|it| it.queries()).unwrap_or_default())?
                }
                system::JOBS => {
                    let jobs = match &scope.known {
                        Some(known) => known.jobs().await?,
                        None => Vec::new(),
                    };
                    job_tables::jobs(&jobs)?
                }
                system::JOB_RUNS => job_tables::runs(&self.store, &scope.runs_of).await?,
                _ => system::table(&self.store, &views, &name, &scope.grants, &hidden).await?,
            };
            system_tables.insert(name, table);
        }
        for name in names {
            if let Some(given) = scope.given.get(&name) {
                tables.insert(name, given.provider()?);
                continue;
            }
            let table = match sources.get(&name) {
                Some(source) => self.granted_provider(source, scope).await?,
                None => self.current(&name, scope).await?,
            };
            tables.insert(name, table);
        }
        for name in listed {
            // A damaged table spoils no list.
            match self.current(&name, scope).await {
                Ok(table) => drop(tables.insert(name, table)),
                Err(error) => tracing::warn!(table = name, %error, "left out of a list"),
            }
        }
        let rates = match exchange::is_needed(statement) {
            false => None,
            true => {
                let source = Source::Rows(exchange::TABLE.to_owned());
                let table = self.provider(&source, scope).await?;
                Some(exchange::rates(&self.base, table, &scope.share).await?)
            }
        };
        let opened = scope.opened.values();
        let rows: Option<u64> = opened.map(|(_, snapshot)| snapshot.rows()).sum();
        let is_small = rows.is_some_and(|rows| rows < SnapshotTable::ONE_PARTITION_ROWS);
        let in_order = !tables.is_empty() && is_small;
        let partitions = if in_order { 1 } else { self.limits.threads };
        let own = Own {
            partitions,
            time_zone: scope.time_zone.as_deref(),
            share: Arc::clone(&scope.share),
        };
        let mut state = with_tables(&self.base, tables, system_tables, &own)?;
        if let Some(rates) = rates {
            state.register_udf(Arc::new(convert_currency(Arc::new(rates))))?;
        }
        Ok(state)
    }

    /// The last day up to which anybody can know: tomorrow's date, since somewhere it is tomorrow already.
    pub fn latest_day(&self) -> Day {
        Day::from_epoch(Day::at_ms(self.now_ms()).days_from_epoch() + 1)
    }

    /// What the statement may know: by default all that was public by the latest day.
    pub(crate) fn pins(&self, request: &QueryRequest) -> Result<Pins> {
        let now_ms = self.now_ms();
        let latest = self.latest_day();
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

    /// What a bare name gives: of a series table the rows that count, of another all rows, of a view
    /// those of its query.
    async fn current(&self, name: &str, scope: &mut Scope) -> Result<Arc<dyn TableProvider>> {
        if !scope.grants.allows(name) {
            return Err(self.unknown(name, &scope.grants).await);
        }
        let snapshot = match self.open(name, scope).await {
            Ok((_, snapshot)) => snapshot,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return match self.store.view(name).await? {
                    Some(view) => self.view_table(view, scope).await,
                    None => Err(self.as_seen(error, name, &scope.grants).await),
                };
            }
            Err(error) => return Err(error),
        };
        let source = match series(&snapshot).is_some() {
            true => Source::View(name.to_owned(), View::Current, scope.pins.knowledge.day),
            false => Source::Rows(name.to_owned()),
        };
        self.provider(&source, scope).await
    }

    /// What is said of a table that is not there, or that the caller does not see.
    pub async fn unknown(&self, name: &str, grants: &Grants) -> Error {
        let unknown = self.store.unknown_table(name, |name| grants.allows(name));
        unknown.await.into()
    }

    /// The store's own error, as the caller may be told it: what comes near to a name that is not there may
    /// be what the caller does not see.
    pub(crate) async fn as_seen(&self, error: Error, name: &str, grants: &Grants) -> Error {
        match error.kind() == ErrorKind::NotFound && grants != &Grants::All {
            true => self.unknown(name, grants).await,
            false => error,
        }
    }

    /// A relation over a table, for a caller who sees the table.
    async fn granted_provider(
        &self,
        source: &Source,
        scope: &mut Scope,
    ) -> Result<Arc<dyn TableProvider>> {
        let (Source::Rows(name) | Source::View(name, ..) | Source::Commits(name)) = source;
        if !scope.grants.allows(name) {
            return Err(self.unknown(name, &scope.grants).await);
        }
        match self.open(name, scope).await {
            Ok(_) => self.provider(source, scope).await,
            Err(error) => Err(self.as_seen(error, name, &scope.grants).await),
        }
    }

    async fn provider(&self, source: &Source, scope: &mut Scope) -> Result<Arc<dyn TableProvider>> {
        let (name, view) = match source {
            Source::Rows(name) => (name, None),
            Source::View(name, view, day) => (name, Some((*view, *day))),
            Source::Commits(name) => {
                let (table, snapshot) = self.open(name, scope).await?;
                if series(&snapshot).is_none() {
                    return Err(no_vintages(name));
                }
                let hidden = self.hidden(scope).await?;
                return system::commits(&[(table, snapshot)], &hidden).await;
            }
        };
        let (table, snapshot) = self.open(name, scope).await?;
        let declaration = series(&snapshot).cloned();
        let mut hidden = self.hidden(scope).await?;
        let may_hide = snapshot.may_hold(&hidden);
        if !may_hide {
            hidden = Arc::default();
        }
        let rows = SnapshotTable::new(table, snapshot).hiding(hidden);
        let table: Arc<dyn TableProvider> = match view {
            None => Arc::new(rows),
            Some((view, day)) => {
                let declaration = declaration.ok_or_else(|| no_vintages(name))?;
                let ranks = self.ranks(&declaration, scope).await?;
                Arc::new(SeriesTable::new(rows, declaration, view, day, ranks))
            }
        };
        Ok(match may_hide && scope.is_explained {
            true => Arc::new(Unpruned::new(table)),
            false => table,
        })
    }

    /// The ranks of the sources of a table's rows, where it has any.
    async fn ranks(&self, declaration: &Declaration, scope: &mut Scope) -> Result<OfSources> {
        let rank = declaration.source_rank.as_deref();
        match rank.and_then(|rank| rank.split_once('.')) {
            None => Ok(Arc::default()),
            Some((sources, column)) => {
                let (table, snapshot) = self.open(sources, scope).await?;
                Ok(table.ranks(&snapshot, column).await?)
            }
        }
    }

    /// The sources whose rows the caller does not see yet, in order.
    async fn hidden(&self, scope: &mut Scope) -> Result<Arc<Vec<String>>> {
        if let Some(hidden) = &scope.hidden {
            return Ok(Arc::clone(hidden));
        }
        let hidden = match scope.sees_all {
            true => Arc::default(),
            false => self.held_back().await?,
        };
        scope.hidden = Some(Arc::clone(&hidden));
        Ok(hidden)
    }

    /// The sources that are not released yet, by the newest that is known of them, in order. Who only reads
    /// sees no rows of theirs.
    ///
    /// # Errors
    /// `Precondition` where the releases are no moments, `Corrupt` or `Unavailable` where they can't be read.
    pub async fn held_back(&self) -> Result<Arc<Vec<String>>> {
        let sources = match self.store.table(SOURCES).await {
            Err(error) if error.kind() == didymium_store::Kind::NotFound => {
                return Ok(Arc::default());
            }
            sources => sources?,
        };
        let snapshot = sources.snapshot().await?;
        let now = self.now_ms().saturating_mul(1000);
        let releases = sources.releases(&snapshot).await?;
        let held = releases.iter().filter(|(_, release)| **release > now);
        let mut held: Vec<String> = held.map(|(source, _)| source.clone()).collect();
        held.sort_unstable();
        Ok(Arc::new(held))
    }

    /// The statement's one snapshot of a table.
    async fn open(&self, name: &str, scope: &mut Scope) -> Result<(Arc<Table>, Arc<Snapshot>)> {
        if let Some((table, snapshot)) = scope.opened.get(name) {
            return Ok((Arc::clone(table), Arc::clone(snapshot)));
        }
        let table = self.store.table(name).await?;
        let pinned = scope.versions.get(name);
        let snapshot = match (pinned, scope.pins.committed_by_ms) {
            (Some(version), _) => table.snapshot_at(*version).await?,
            (None, None) => table.snapshot().await?,
            (None, Some(time_ms)) => table.snapshot_committed_by(time_ms).await?,
        };
        let found = (Arc::clone(&table), Arc::clone(&snapshot));
        scope.opened.insert(name.to_owned(), found);
        Ok((table, snapshot))
    }

    /// The store's tables that the statement names; all of them where it asks what there is.
    async fn table_names(&self, statement: &Statement, grants: &Grants) -> Result<Names> {
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
                    listed.extend(self.store.view_names().await?);
                    system.extend(system::TABLES.map(str::to_owned));
                }
                SYSTEM => system.push(table.to_string()),
                _ => return Err(unknown()),
            }
        }
        listed.retain(|name| !names.contains(name) && grants.allows(name));
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

/// Lets others go first: the calling thread has the least right to the processor, where it is to.
fn give_way(in_background: bool) {
    const LAST: i32 = 19;
    if in_background && let Err(error) = rustix::process::setpriority_process(None, LAST) {
        tracing::warn!(%error, "a thread in the background has the priority of all others");
    }
}

/// The table of the sources.
const SOURCES: &str = "sources";

/// The declaration of a series table.
fn series(snapshot: &Snapshot) -> Option<&Declaration> {
    let declaration = snapshot.declaration();
    declaration.filter(|table| table.kind == TableKind::Series)
}

fn no_vintages(table: &str) -> Error {
    Error::invalid(format!(
        "{table} is a plain table: its rows have no vintages, only series tables' do"
    ))
}

impl Drop for Engine {
    /// A runtime must not wait for its threads inside another one.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
