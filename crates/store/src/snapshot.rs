//! One version of one table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::EagerSnapshot;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow as _;

use crate::data_file::{DataFile, FileStatistics};
use crate::file_order::FileOrder;
use crate::long_rows;
use crate::{Declaration, Error, Result};

/// What a statement reads: the files of one version, which never change.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) table: String,
    pub(crate) version: u64,
    pub(crate) declaration: Option<Declaration>,
    pub(crate) schema: SchemaRef,
    pub(crate) files: Vec<DataFile>,
}

/// One data file, for people.
#[derive(Debug, Clone, Copy)]
pub struct FileSummary<'a> {
    /// From the table's folder.
    pub path: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Its rows, where the log knows them.
    pub rows: Option<u64>,
    /// The columns that it is sorted by; empty for a file of another program.
    pub sorted_by: &'a [String],
}

/// The property of a table that carries its declaration.
pub(crate) const DECLARATION_PROPERTY: &str = "didymium.declaration";

impl Snapshot {
    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The version, counted from 0.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The table's declaration; `None` for a table that another program made.
    pub fn declaration(&self) -> Option<&Declaration> {
        self.declaration.as_ref()
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of all files, where the log knows them.
    pub fn rows(&self) -> Option<u64> {
        let rows = self
            .files
            .iter()
            .map(|file| file.statistics.num_rows.get_value());
        rows.map(|rows| rows.map(|rows| *rows as u64)).sum()
    }

    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The data files.
    pub fn files(&self) -> impl Iterator<Item = FileSummary<'_>> {
        self.files.iter().map(|file| FileSummary {
            path: &file.path,
            bytes: file.bytes,
            rows: file
                .statistics
                .num_rows
                .get_value()
                .map(|rows| *rows as u64),
            sorted_by: &file.order.sorted_by,
        })
    }

    pub(crate) fn read(table: &str, delta: &EagerSnapshot) -> Result<Self> {
        refuse_unsupported(table, delta)?;
        let from_delta = |error| Error::from_delta(table, error);
        let schema: SchemaRef = Arc::new(
            delta
                .schema()
                .as_ref()
                .try_into_arrow()
                .map_err(|error| Error::Corrupt(format!("table {table}: {error}")))?,
        );
        let declaration = declaration(table, delta)?;
        let log = delta.try_log_data().map_err(from_delta)?;
        let mut files = Vec::with_capacity(log.num_files());
        for file in log.iter() {
            #[expect(deprecated, reason = "the only public way to a file's tags")]
            let add = file.add_action();
            let statistics = add
                .stats
                .as_deref()
                .map(serde_json::from_str::<FileStatistics>);
            let statistics = statistics.transpose().map_err(|error| {
                Error::Corrupt(format!(
                    "table {table}: statistics of {}: {error}",
                    add.path
                ))
            })?;
            let type_of = |name: &str| {
                let field = schema.field_with_name(name).ok()?;
                Some(field.data_type().clone())
            };
            let tags = add.tags.unwrap_or_default();
            let long_columns = long_rows::of_tags(&tags);
            let order = FileOrder::of_tags(tags, type_of);
            let statistics = statistics
                .unwrap_or_default()
                .in_schema(&schema, !order.sorted_by.is_empty());
            files.push(DataFile {
                path: add.path,
                bytes: add.size as u64,
                modified_ms: add.modification_time,
                statistics: Arc::new(statistics),
                order,
                long_columns,
            });
        }
        Ok(Self {
            table: table.to_owned(),
            version: delta.version(),
            declaration,
            schema,
            files,
        })
    }
}

fn declaration(table: &str, delta: &EagerSnapshot) -> Result<Option<Declaration>> {
    let Some(json) = delta.metadata().configuration().get(DECLARATION_PROPERTY) else {
        return Ok(None);
    };
    serde_json::from_str(json).map(Some).map_err(|error| {
        Error::Corrupt(format!(
            "table {table}: its declaration is damaged: {error}"
        ))
    })
}

/// Refuses what would be misread: features that change which rows a file holds or what its columns
/// are called.
fn refuse_unsupported(table: &str, delta: &EagerSnapshot) -> Result<()> {
    const READABLE: [&str; 2] = ["timestampNtz", "v2Checkpoint"];
    let features = delta.protocol().reader_features().unwrap_or_default();
    let unknown = features
        .iter()
        .map(ToString::to_string)
        .find(|name| !READABLE.contains(&name.as_str()));
    let column_mapping = delta
        .metadata()
        .configuration()
        .get("delta.columnMapping.mode")
        .filter(|mode| mode.as_str() != "none")
        .map(|_| "columnMapping".to_owned());
    let partitioned = delta
        .metadata()
        .partition_columns()
        .first()
        .map(|_| "partitioning".to_owned());
    match unknown.or(column_mapping).or(partitioned) {
        None => Ok(()),
        Some(feature) => Err(Error::Precondition(format!(
            "table {table} uses Delta's {feature}, which is not supported; rewrite it without that feature"
        ))),
    }
}
