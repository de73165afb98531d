//! The schema `system`: what a server holds, in SQL.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, TableProvider};
use didymium_store::{Snapshot, Store, Table, TableKind};

use crate::{DescribedView, Error, ErrorKind, Grants, Result, functions, job_tables};

/// The schema's name.
pub(crate) const SYSTEM: &str = "system";

/// The tables of the schema.
pub(crate) const TABLES: [&str; 8] = [
    "columns",
    "commits",
    "files",
    "functions",
    JOB_RUNS,
    JOBS,
    QUERIES,
    "tables",
];

/// Those that tell of every table of the store.
const TABLES_OF_TABLES: [&str; 4] = ["columns", "commits", "files", "tables"];

/// Those of them that tell of its rows, as far as they are no secret.
pub(crate) const TABLES_OF_ROWS: [&str; 3] = ["commits", "files", "tables"];

/// The one that tells of the server rather than of the store.
pub(crate) const QUERIES: &str = "queries";

/// Those that tell of jobs.
pub(crate) const JOBS: &str = "jobs";
pub(crate) const JOB_RUNS: &str = "job_runs";

/// A query that runs or waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningQuery {
    /// Its id.
    pub query_id: String,
    /// Whose token it came with.
    pub caller: String,
    /// Its text.
    pub sql: String,
    /// `queued` or `running`.
    pub phase: &'static str,
    /// When it arrived, in milliseconds since 1970.
    pub arrived_ms: i64,
    /// Its rows that have been sent.
    pub rows: u64,
}

/// The queries that the caller may know of.
pub(crate) fn queries(running: &[RunningQuery]) -> Result<Arc<dyn TableProvider>> {
    let text = |text: fn(&RunningQuery) -> &str| texts(running.iter().map(|it| Some(text(it))));
    let arrived = running.iter().map(|it| Some(it.arrived_ms));
    in_memory(rows([
        ("query_id", text(|it| &it.query_id)),
        ("caller", text(|it| &it.caller)),
        ("phase", text(|it| it.phase)),
        (
            "arrived_at",
            Arc::new(TimestampMillisecondArray::from_iter(arrived)),
        ),
        ("rows", numbers(running.iter().map(|it| Some(it.rows)))),
        ("sql", text(|it| &it.sql)),
    ]))
}

/// Those that tell of views as well.
pub(crate) const TABLES_WITH_VIEWS: [&str; 2] = ["columns", "tables"];

/// One of [`TABLES`] as it is now, for a caller from whom the rows of some sources are hidden.
pub(crate) async fn table(
    store: &Store,
    views: &[DescribedView],
    name: &str,
    grants: &Grants,
    hidden: &[String],
) -> Result<Arc<dyn TableProvider>> {
    let opened = match TABLES_OF_TABLES.contains(&name) {
        true => opened(store, grants).await?,
        false => Vec::new(),
    };
    over(name, &opened, views, hidden).await
}

/// The columns of one of [`TABLES`], for which nothing need be read.
pub(crate) async fn schema(name: &str) -> Result<SchemaRef> {
    Ok(over(name, &[], &[], &[]).await?.schema())
}

/// One of [`TABLES`] over some tables and views.
async fn over(
    name: &str,
    opened: &Opened,
    views: &[DescribedView],
    hidden: &[String],
) -> Result<Arc<dyn TableProvider>> {
    let rows = match name {
        "functions" => functions_table(),
        "tables" => tables_table(opened, views, hidden),
        "columns" => columns_table(opened, views),
        "files" => files_table(opened, hidden),
        QUERIES => return queries(&[]),
        JOBS => return job_tables::jobs(&[]),
        JOB_RUNS => return job_tables::no_runs(),
        "commits" => commits_table(opened, hidden).await?,
        _ => {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no table system.{name}"),
            ));
        }
    };
    in_memory(rows)
}

/// The commits of some tables, up to the snapshots' versions.
pub(crate) async fn commits(
    tables: &[(Arc<Table>, Arc<Snapshot>)],
    hidden: &[String],
) -> Result<Arc<dyn TableProvider>> {
    in_memory(commits_table(tables, hidden).await?)
}

pub(crate) fn in_memory(rows: Rows) -> Result<Arc<dyn TableProvider>> {
    let table = rows.and_then(|rows| MemTable::try_new(rows.schema(), vec![vec![rows]]));
    Ok(Arc::new(table?))
}

type Opened = [(Arc<Table>, Arc<Snapshot>)];

pub(crate) type Rows = datafusion::common::Result<RecordBatch>;

/// The tables that a caller sees; a damaged one is left out.
pub(crate) async fn opened(
    store: &Store,
    grants: &Grants,
) -> Result<Vec<(Arc<Table>, Arc<Snapshot>)>> {
    let mut opened = Vec::new();
    let names = store.table_names().await?.into_iter();
    for name in names.filter(|name| grants.allows(name)) {
        let table = store.table(&name).await?;
        match table.snapshot().await {
            Ok(snapshot) => opened.push((table, snapshot)),
            Err(error) => tracing::warn!(table = name, %error, "left out of a list"),
        }
    }
    Ok(opened)
}

pub(crate) fn rows<const N: usize>(columns: [(&str, ArrayRef); N]) -> Rows {
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(Into::into)
}

pub(crate) fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(texts))
}

fn numbers(numbers: impl IntoIterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter(numbers))
}

fn functions_table() -> Rows {
    let functions = functions();
    let arguments = functions.iter().map(|function| {
        let arguments = function
            .arguments
            .iter()
            .map(|(name, text)| format!("{name}: {text}"));
        Some(arguments.collect::<Vec<_>>().join("\n"))
    });
    rows([
        (
            "function_name",
            texts(functions.iter().map(|f| Some(&f.name))),
        ),
        ("kind", texts(functions.iter().map(|f| Some(f.kind)))),
        ("syntax", texts(functions.iter().map(|f| Some(&f.syntax)))),
        (
            "description",
            texts(functions.iter().map(|f| Some(&f.description))),
        ),
        ("arguments", texts(arguments)),
        ("example", texts(functions.iter().map(|f| Some(&f.example)))),
    ])
}

/// A table or view in a list; of a view there is less to say.
#[derive(Default)]
struct Listed {
    name: String,
    kind: Option<&'static str>,
    key: Option<String>,
    version: Option<u64>,
    rows: Option<u64>,
    bytes: Option<u64>,
    description: Option<String>,
}

impl Listed {
    fn table(snapshot: &Snapshot, hidden: &[String]) -> Self {
        let declaration = snapshot.declaration();
        let may_hide = snapshot.may_hold(hidden);
        Self {
            name: snapshot.table().to_owned(),
            kind: declaration.map(|table| match table.kind {
                TableKind::Series => "series",
                TableKind::Plain => "plain",
            }),
            key: declaration.map(|table| table.key.join(", ")),
            version: Some(snapshot.version()),
            rows: snapshot.rows_without(hidden),
            bytes: (!may_hide).then(|| snapshot.bytes()),
            description: declaration.map(|table| table.description.clone()),
        }
    }

    fn view(view: &DescribedView) -> Self {
        Self {
            name: view.definition.name.clone(),
            kind: Some("view"),
            description: Some(view.definition.description.clone()),
            ..Self::default()
        }
    }
}

fn tables_table(opened: &Opened, views: &[DescribedView], hidden: &[String]) -> Rows {
    let tables = opened.iter();
    let tables = tables.map(|(_, snapshot)| Listed::table(snapshot, hidden));
    let mut listed: Vec<_> = tables.chain(views.iter().map(Listed::view)).collect();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let listed = &listed;
    rows([
        ("table_name", texts(listed.iter().map(|it| Some(&it.name)))),
        ("kind", texts(listed.iter().map(|it| it.kind))),
        ("key", texts(listed.iter().map(|it| it.key.as_ref()))),
        ("version", numbers(listed.iter().map(|it| it.version))),
        ("rows", numbers(listed.iter().map(|it| it.rows))),
        ("bytes", numbers(listed.iter().map(|it| it.bytes))),
        (
            "description",
            texts(listed.iter().map(|it| it.description.as_ref())),
        ),
    ])
}

fn columns_table(opened: &Opened, views: &[DescribedView]) -> Rows {
    let mut names = Vec::new();
    for (table, snapshot) in opened {
        let declared = snapshot
            .declaration()
            .map(|d| d.all_columns())
            .unwrap_or_default();
        for (position, field) in (1..).zip(snapshot.schema().fields()) {
            let description = declared.iter().find(|column| column.name == *field.name());
            let description = description.map(|column| column.description.clone());
            names.push((table.name(), position, Arc::clone(field), description));
        }
    }
    for view in views {
        let fields = view.schema.iter().flat_map(|schema| schema.fields());
        for (position, field) in (1..).zip(fields) {
            names.push((&view.definition.name, position, Arc::clone(field), None));
        }
    }
    let nullable = names
        .iter()
        .map(|(_, _, field, _)| Some(field.is_nullable()));
    rows([
        (
            "table_name",
            texts(names.iter().map(|(table, ..)| Some(*table))),
        ),
        (
            "column_name",
            texts(names.iter().map(|(_, _, field, _)| Some(field.name()))),
        ),
        (
            "position",
            numbers(names.iter().map(|(_, position, ..)| Some(*position))),
        ),
        (
            "data_type",
            texts(
                names
                    .iter()
                    .map(|(_, _, f, _)| Some(f.data_type().to_string())),
            ),
        ),
        ("is_nullable", Arc::new(BooleanArray::from_iter(nullable))),
        (
            "description",
            texts(names.iter().map(|(.., description)| description.as_deref())),
        ),
    ])
}

fn files_table(opened: &Opened, hidden: &[String]) -> Rows {
    let mut files = Vec::new();
    for (table, snapshot) in opened {
        let told = snapshot.files_without(hidden);
        files.extend(told.map(|file| (table.name(), file)));
    }
    rows([
        (
            "table_name",
            texts(files.iter().map(|(table, _)| Some(*table))),
        ),
        ("path", texts(files.iter().map(|(_, file)| Some(file.path)))),
        (
            "bytes",
            numbers(files.iter().map(|(_, file)| Some(file.bytes))),
        ),
        ("rows", numbers(files.iter().map(|(_, file)| file.rows))),
        (
            "sorted_by",
            texts(
                files
                    .iter()
                    .map(|(_, file)| Some(file.sorted_by.join(", "))),
            ),
        ),
    ])
}

async fn commits_table(opened: &Opened, hidden: &[String]) -> Result<Rows> {
    let (mut commits, mut rows_added) = (Vec::new(), Vec::new());
    for (table, snapshot) in opened {
        let hidden: &[String] = match snapshot.names_sources() {
            true => hidden,
            false => &[],
        };
        let told = table.history(snapshot).await?.into_iter();
        for commit in told.filter(|commit| !commit.is_hidden(hidden)) {
            rows_added.push(commit.rows_without(hidden));
            commits.push((table.name().to_owned(), commit));
        }
    }
    let times = commits.iter().map(|(_, commit)| commit.committed_ms);
    Ok(rows([
        (
            "table_name",
            texts(commits.iter().map(|(table, _)| Some(table))),
        ),
        (
            "version",
            numbers(commits.iter().map(|(_, commit)| Some(commit.version))),
        ),
        (
            "committed_at",
            Arc::new(TimestampMillisecondArray::from_iter(times)),
        ),
        (
            "operation",
            texts(commits.iter().map(|(_, commit)| commit.operation.as_ref())),
        ),
        (
            "author",
            texts(commits.iter().map(|(_, commit)| commit.author.as_ref())),
        ),
        (
            "message",
            texts(commits.iter().map(|(_, commit)| commit.message.as_ref())),
        ),
        (
            "load_id",
            texts(commits.iter().map(|(_, commit)| commit.load_id.as_ref())),
        ),
        (
            "inputs",
            texts(
                commits.iter().map(|(_, commit)| {
                    (!commit.inputs.is_empty()).then(|| commit.inputs.join(", "))
                }),
            ),
        ),
        (
            "input_sha256",
            texts(commits.iter().map(|(_, c)| c.input_sha256.as_ref())),
        ),
        (
            "reason",
            texts(commits.iter().map(|(_, commit)| commit.reason.as_ref())),
        ),
        ("rows_added", numbers(rows_added)),
    ]))
}
