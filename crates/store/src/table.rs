//! One table of the store: its newest version, and its files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::TableReference as _;
use deltalake_core::kernel::{
    Action, EagerSnapshot, MetadataExt as _, Protocol, StructField, StructType, new_metadata,
};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

use crate::data_file::DataFile;
use crate::embargo::SOURCE;
use crate::layout::internal;
use crate::location::read_if_there;
use crate::snapshot::DECLARATION_PROPERTY;
use crate::write::checksum;
use crate::{Declaration, Error, Result, Snapshot, commit, load};

/// A number for each source.
pub type OfSources = Arc<HashMap<String, i64>>;

/// What columns say of sources, by column, with the version that was read last.
type ReadOfSources = BTreeMap<String, (u64, OfSources)>;

/// A table. Snapshots of it are cheap: the log is read on from the version that is known.
#[derive(Debug)]
pub struct Table {
    name: String,
    objects: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    newest: tokio::sync::Mutex<Option<Newest>>,
    /// The data files whose bytes have been checked against their names.
    verified: Mutex<HashSet<String>>,
    of_sources: Mutex<ReadOfSources>,
}

#[derive(Debug)]
struct Newest {
    delta: DeltaTable,
    snapshot: Arc<Snapshot>,
}

/// A century: history is what this store is for.
const RETENTION: &str = "interval 5200 weeks";

impl Table {
    pub(crate) fn new(name: String, objects: Arc<dyn ObjectStore>, log: LogStoreRef) -> Self {
        Self {
            name,
            objects,
            log,
            newest: tokio::sync::Mutex::default(),
            verified: Mutex::default(),
            of_sources: Mutex::default(),
        }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest version.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a table with features that would be misread,
    /// [`Error::Corrupt`] or [`Error::Unavailable`] where the log can't be read.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        self.refreshed().await.map(|(snapshot, _)| snapshot)
    }

    /// The newest version, for readers and for the log.
    pub(crate) async fn refreshed(&self) -> Result<(Arc<Snapshot>, EagerSnapshot)> {
        let from_delta = |error| Error::from_delta(&self.name, error);
        let mut newest = self.newest.lock().await;
        let (delta, unchecked) = match newest.take() {
            None => {
                let mut delta = DeltaTable::new(Arc::clone(&self.log));
                delta.load().await.map_err(|error| self.unreadable(error))?;
                (delta, self.first_after_checkpoint().await)
            }
            Some(mut known) => {
                known
                    .delta
                    .update_state()
                    .await
                    .map_err(|error| self.unreadable(error))?;
                if known.delta.version() == Some(known.snapshot.version) {
                    let eager = known
                        .delta
                        .snapshot()
                        .map_err(from_delta)?
                        .eager_snapshot()
                        .clone();
                    let snapshot = Arc::clone(&known.snapshot);
                    *newest = Some(known);
                    return Ok((snapshot, eager));
                }
                (known.delta, known.snapshot.version + 1)
            }
        };
        let eager = delta
            .snapshot()
            .map_err(from_delta)?
            .eager_snapshot()
            .clone();
        let snapshot = Arc::new(Snapshot::read(&self.name, &eager)?);
        self.check_entries(unchecked..=eager.version()).await?;
        *newest = Some(Newest {
            delta,
            snapshot: Arc::clone(&snapshot),
        });
        Ok((snapshot, eager))
    }

    /// Refuses entries of the log that are missing, cut or not what was written.
    pub(crate) async fn check_entries(&self, versions: RangeInclusive<u64>) -> Result<()> {
        for version in versions {
            let entry = self.entry(version).await?;
            if entry.is_none_or(|entry| !commit::is_whole(&entry)) {
                return Err(Error::Corrupt(format!(
                    "table {}: entry {version} of its log is damaged",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// The first version whose entry is read where a checkpoint stands for those before.
    async fn first_after_checkpoint(&self) -> u64 {
        let hint = Path::from_iter([self.name.as_str(), "_delta_log", "_last_checkpoint"]);
        let hint = read_if_there(self.objects.as_ref(), &hint).await;
        let hint = hint.ok().flatten().unwrap_or_default();
        let hint: serde_json::Value = serde_json::from_slice(&hint).unwrap_or_default();
        hint["version"].as_u64().map_or(0, |version| version + 1)
    }

    /// The version that was the newest at a time, in milliseconds since 1970, by the commits' own
    /// times, which never go back along the log.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the table did not exist yet.
    pub async fn snapshot_committed_by(&self, time_ms: i64) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot().await?;
        // What later versions took away for good.
        let mut purged = HashSet::new();
        for version in (0..=newest.version()).rev() {
            let entry = self.entry(version).await?;
            let committed = entry
                .as_deref()
                .and_then(commit::timestamp)
                .ok_or_else(|| {
                    Error::Corrupt(format!(
                        "table {}: version {version} has no time",
                        self.name
                    ))
                })?;
            if committed > time_ms {
                purged.extend(commit::purged(entry.as_deref().unwrap_or_default()));
                continue;
            }
            if version == newest.version() {
                return Ok(newest);
            }
            return self.older(version, &newest, &purged).await;
        }
        Err(Error::Precondition(format!(
            "table {} did not exist yet at that time",
            self.name
        )))
    }

    /// A version by its number.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the table has no such version, or not its files any more.
    pub async fn snapshot_at(&self, version: u64) -> Result<Arc<Snapshot>> {
        let newest = self.snapshot().await?;
        if version == newest.version() {
            return Ok(newest);
        }
        if version > newest.version() {
            return Err(Error::Precondition(format!(
                "table {}: there is no version {version}; the newest is {}",
                self.name,
                newest.version()
            )));
        }
        let mut purged = HashSet::new();
        for later in version + 1..=newest.version() {
            let entry = self.entry(later).await?;
            purged.extend(commit::purged(entry.as_deref().unwrap_or_default()));
        }
        self.older(version, &newest, &purged).await
    }

    /// A version before the newest one, if none of its files was taken away since.
    async fn older(
        &self,
        version: u64,
        newest: &Snapshot,
        purged: &HashSet<String>,
    ) -> Result<Arc<Snapshot>> {
        let delta = EagerSnapshot::try_new(self.log.as_ref(), Some(version)).await;
        let delta = delta.map_err(|error| Error::from_delta(&self.name, error))?;
        let snapshot = Snapshot::read(&self.name, &delta)?;
        if !snapshot
            .files
            .iter()
            .any(|file| purged.contains(&file.path))
        {
            return Ok(Arc::new(snapshot));
        }
        Err(Error::Precondition(format!(
            "table {}: version {version} can't be read any more: a purge or the end of its history took files of it away; every version from {} on can",
            self.name,
            self.oldest_whole(newest.version()).await?
        )))
    }

    /// The version from which on none needs a file that was taken away.
    async fn oldest_whole(&self, newest: u64) -> Result<u64> {
        let mut gone = BTreeSet::new();
        for version in 0..=newest {
            let entry = self.entry(version).await?;
            gone.extend(commit::purged(entry.as_deref().unwrap_or_default()));
        }
        let needing = self.versions_that_need(&gone, newest).await?;
        Ok(needing.map_or(0, |(_, last)| last + 1))
    }

    /// The ranks of the sources in a snapshot of this table, whose rows are sources.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the table has no such columns.
    pub async fn ranks(&self, snapshot: &Snapshot, column: &str) -> Result<OfSources> {
        if snapshot.schema.index_of(column).is_err() {
            return Err(Error::Precondition(format!(
                "table {} ranks no sources",
                self.name
            )));
        }
        self.of_sources(snapshot, column, DataType::Int64).await
    }

    /// What a column of this table, whose rows are sources, says of each, as the number that its type
    /// holds. Each version is read once.
    pub(crate) async fn of_sources(
        &self,
        snapshot: &Snapshot,
        column: &str,
        data_type: DataType,
    ) -> Result<OfSources> {
        let known = self.lock_of_sources().get(column).cloned();
        if let Some((version, numbers)) = known
            && version == snapshot.version
        {
            return Ok(numbers);
        }
        let wanted = Arc::new(Schema::new(vec![
            Field::new(SOURCE, DataType::Utf8, true),
            Field::new(column, data_type, true),
        ]));
        let mut numbers = HashMap::new();
        for file in &snapshot.files {
            for batch in self.columns_of(file, &wanted).await? {
                let values = cast(batch.column(1), &DataType::Int64).map_err(internal)?;
                let sources = batch.column(0).as_string::<i32>();
                let pairs = sources.iter().zip(values.as_primitive::<Int64Type>());
                numbers.extend(
                    pairs.filter_map(|(source, number)| Some((source?.to_owned(), number?))),
                );
            }
        }
        let numbers = Arc::new(numbers);
        let known = (snapshot.version, Arc::clone(&numbers));
        self.lock_of_sources().insert(column.to_owned(), known);
        Ok(numbers)
    }

    fn lock_of_sources(&self) -> MutexGuard<'_, ReadOfSources> {
        self.of_sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// A data file's place in the store.
    pub(crate) fn location(&self, file: &str) -> Path {
        Path::from_iter([self.name.as_str(), file])
    }

    /// Writes a data file; it belongs to the table only once a commit names it.
    pub(crate) async fn put(&self, file: &str, bytes: Bytes) -> Result<()> {
        let put = self.objects.put(&self.location(file), bytes.into()).await;
        put.map(|_| ()).map_err(|error| {
            Error::from_storage(&format!("table {}: writing {file}", self.name), &error)
        })
    }

    /// Removes data files that no commit names, after a load that failed for certain.
    pub(crate) async fn discard(&self, files: impl Iterator<Item = &str>) {
        for file in files {
            if let Err(error) = self.objects.delete(&self.location(file)).await {
                tracing::warn!(table = self.name, file, %error, "an unused file stays behind");
            }
        }
    }

    /// A data file's bytes, checked.
    pub(crate) async fn get(&self, file: &DataFile) -> Result<Bytes> {
        let bytes = self.get_if_there(&file.path).await?.ok_or_else(|| {
            Error::Corrupt(format!(
                "table {}: the log names {} but the file is missing",
                self.name, file.path
            ))
        })?;
        if !is_intact(file, &bytes) {
            return Err(Error::Corrupt(format!(
                "table {}: {} is damaged: its content does not match its checksum",
                self.name, file.path
            )));
        }
        self.verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(file.path.clone());
        Ok(bytes)
    }

    /// A data file's bytes, unchecked; `None` where it is gone.
    pub(crate) async fn get_if_there(&self, path: &str) -> Result<Option<Bytes>> {
        let read = read_if_there(self.objects.as_ref(), &self.location(path)).await;
        read.map_err(|error| {
            Error::Unavailable(format!("table {}: reading {path}: {error}", self.name))
        })
    }

    /// Some columns of a data file in their declared types, in the order asked for.
    pub(crate) async fn columns_of(
        &self,
        file: &DataFile,
        wanted: &SchemaRef,
    ) -> Result<Vec<RecordBatch>> {
        load::read_columns(self.get(file).await?, wanted)
            .map_err(|error| Error::Corrupt(format!("table {}: {}: {error}", self.name, file.path)))
    }

    /// All rows of a data file, with all columns of the table.
    pub(crate) async fn rows_of(
        &self,
        file: &DataFile,
        snapshot: &Snapshot,
    ) -> Result<RecordBatch> {
        let batches = self.columns_of(file, &snapshot.schema).await?;
        concat_batches(&snapshot.schema, &batches).map_err(internal)
    }

    /// The log's entry of a version.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Bytes>> {
        let entry = self.log.read_commit_entry(version).await;
        entry.map_err(|error| Error::from_delta(&self.name, error))
    }

    /// What to tell when other writers were faster.
    pub(crate) fn lost(&self, winner: u64, attempts: usize) -> Error {
        Error::Conflict {
            table: self.name.clone(),
            winner,
            attempts,
        }
    }

    /// The files of the store.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// Checks a file that has not been read yet. Parquet itself would give wrong numbers from
    /// damaged pages: nothing in it is checksummed.
    pub(crate) async fn verify(&self, file: &DataFile) -> Result<()> {
        let known = self
            .verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&file.path);
        if known {
            return Ok(());
        }
        self.get(file).await.map(|_| ())
    }

    /// A log that is not there or does not answer may come back; one that answers and makes no sense is
    /// damaged. The details name files of this machine and are for the log of the program.
    fn unreadable(&self, error: DeltaTableError) -> Error {
        tracing::error!(table = self.name, %error, "the table's log can't be read");
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<object_store::Error>() || error.is::<std::io::Error>() {
                return Error::Unavailable(format!(
                    "table {}: its log can't be read now",
                    self.name
                ));
            }
            cause = error.source();
        }
        Error::Corrupt(format!("table {}: its log is damaged", self.name))
    }
}

/// Whether the bytes are what the log and the file's name say. A file that another program appended
/// has no checksum in its name; then its size must do.
fn is_intact(file: &DataFile, bytes: &[u8]) -> bool {
    match has_checksum(file) {
        true => is_named_after(&file.path, bytes) == Some(true),
        false => bytes.len() as u64 == file.bytes,
    }
}

/// Whether our writer made the file, which puts a checksum in the name.
pub(crate) fn has_checksum(file: &DataFile) -> bool {
    !file.order.sorted_by.is_empty()
}

/// Whether a file's bytes are those that its name has the checksum of; `None` for a name without one.
pub(crate) fn is_named_after(path: &str, bytes: &[u8]) -> Option<bool> {
    let stem = path.strip_suffix(".parquet")?;
    let (_, expected) = stem.rsplit_once('-')?;
    let is_checksum = expected.len() == 16 && expected.bytes().all(|it| it.is_ascii_hexdigit());
    is_checksum.then(|| checksum(bytes) == expected)
}

/// A table's schema as the log writes it.
pub(crate) fn kernel_schema(declaration: &Declaration) -> Result<StructType> {
    let schema = declaration.schema();
    let schema = schema.as_ref().try_into_kernel();
    schema.map_err(|error| Error::Internal(format!("table {}: {error}", declaration.name)))
}

/// Some fields of that schema.
pub(crate) fn kernel_fields(
    declaration: &Declaration,
    names: &[String],
) -> Result<Vec<StructField>> {
    let schema = kernel_schema(declaration)?;
    let fields = names.iter().filter_map(|name| schema.field(name).cloned());
    Ok(fields.collect())
}

/// The log's first lines of a new table.
pub(crate) fn create_actions(
    declaration: &Declaration,
    log: &LogStoreRef,
) -> Result<(Vec<Action>, DeltaOperation)> {
    let internal = |error: String| Error::Internal(format!("table {}: {error}", declaration.name));
    let schema = kernel_schema(declaration)?;
    let json = serde_json::to_string(declaration).map_err(|error| internal(error.to_string()))?;
    let properties = [
        (DECLARATION_PROPERTY, json.as_str()),
        // A reader reads as many entries one by one.
        ("delta.checkpointInterval", "10"),
        ("delta.enableExpiredLogCleanup", "false"),
        ("delta.logRetentionDuration", RETENTION),
        ("delta.deletedFileRetentionDuration", RETENTION),
    ];
    let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let metadata = new_metadata(&schema, Vec::<String>::new(), properties)
        .and_then(|metadata| metadata.with_name(declaration.name.clone()))
        .and_then(|metadata| metadata.with_description(declaration.description.clone()))
        .map_err(|error| internal(error.to_string()))?;
    // The oldest protocol that holds what we use: every Delta reader knows it.
    let protocol: Protocol =
        serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
            .map_err(|error| internal(error.to_string()))?;
    let operation = DeltaOperation::Create {
        mode: SaveMode::ErrorIfExists,
        location: log.root_url().clone(),
        protocol: protocol.clone(),
        metadata: metadata.clone(),
    };
    Ok((
        vec![Action::Protocol(protocol), Action::Metadata(metadata)],
        operation,
    ))
}
