//! Compaction: many small files become few large ones with the same rows.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{SortExpr, ident};
use datafusion::prelude::SessionConfig;
use deltalake_core::kernel::Action;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::protocol::DeltaOperation;
use futures::TryStreamExt;
use url::Url;

use crate::commit::{ATTEMPTS, Commit, Outcome, wait_before};
use crate::data_file::DataFile;
use crate::scan::SnapshotTable;
use crate::store::OBJECT_STORE_URL;
use crate::write::{FileWriter, NewFile};
use crate::{Declaration, Error, Result, Snapshot, Table};

/// How large a compacted file gets.
const FILE_BYTES: usize = 128 * 1024 * 1024;

/// What sorting may hold in memory; files in order need almost none.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The newest version.
    pub version: u64,
    /// The files that were merged; 0 where there was nothing to do.
    pub merged: usize,
    /// The files that took their place.
    pub into: usize,
}

impl Table {
    /// Merges the files that are small or overlap. No result changes: readers of older versions go on
    /// with the old files, which stay.
    ///
    /// # Errors
    /// [`Error::Conflict`] where other writers replaced the files meanwhile, and as
    /// [`Table::snapshot`]. Nothing has changed then.
    pub async fn compact(self: &Arc<Self>, author: &str, now_ms: i64) -> Result<Compacted> {
        let (snapshot, _) = self.refreshed().await?;
        let files = mergeable(&snapshot);
        let nothing = Compacted {
            version: snapshot.version(),
            merged: 0,
            into: 0,
        };
        let Some(declaration) = snapshot.declaration().cloned() else {
            return Ok(nothing);
        };
        if files.is_empty() {
            return Ok(nothing);
        }
        let mut written = Vec::new();
        let landed = match self
            .merge(&snapshot, &declaration, &files, &mut written)
            .await
        {
            Ok(()) => self.replace(&files, &written, author, now_ms).await,
            Err(error) => Err(error),
        };
        // Files of a commit whose outcome is not known must stay.
        if !matches!(landed, Ok(_) | Err(Error::Unavailable(_))) {
            self.discard(written.iter().map(|file| file.path.as_str()))
                .await;
        }
        Ok(Compacted {
            version: landed?,
            merged: files.len(),
            into: written.len(),
        })
    }

    /// How many more files the table has than its size needs. A large one may have some more: each
    /// compaction writes much of it anew.
    ///
    /// # Errors
    /// As [`Table::snapshot`].
    pub async fn loose_files(&self) -> Result<u64> {
        let snapshot = self.snapshot().await?;
        let needed = snapshot.bytes().div_ceil(FILE_BYTES as u64).max(1);
        let loose = snapshot.files.len() as u64;
        Ok(loose.saturating_sub(4 * needed))
    }

    /// Writes the files' rows anew, in order, and never parts a series.
    async fn merge(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        declaration: &Declaration,
        files: &[DataFile],
        written: &mut Vec<NewFile>,
    ) -> Result<()> {
        let failed = |error: DataFusionError| self.unmerged(&error);
        let only = Snapshot {
            table: snapshot.table.clone(),
            version: snapshot.version,
            declaration: snapshot.declaration.clone(),
            schema: Arc::clone(&snapshot.schema),
            files: files.to_vec(),
        };
        let expected = only.rows();
        let provider = SnapshotTable::new(Arc::clone(self), Arc::new(only));
        let order = declaration.sort_columns().into_iter();
        let order: Vec<SortExpr> = order.map(|name| ident(name).sort(true, false)).collect();
        let mut rows = self
            .session()
            .map_err(failed)?
            .read_table(Arc::new(provider))
            .and_then(|table| table.sort(order))
            .map_err(failed)?
            .execute_stream()
            .await
            .map_err(failed)?;
        let mut count = 0;
        let mut writer = FileWriter::new(declaration, &snapshot.schema)?;
        let mut last: Option<RecordBatch> = None;
        let group = declaration.sort_columns()[0];
        while let Some(batch) = rows.try_next().await.map_err(failed)? {
            count += batch.num_rows() as u64;
            let cut = match &last {
                Some(last) if writer.bytes() >= FILE_BYTES => next_group(group, last, &batch),
                _ => None,
            };
            match cut {
                None => writer.write(&batch)?,
                Some(cut) => {
                    writer.write(&batch.slice(0, cut))?;
                    let full = std::mem::replace(
                        &mut writer,
                        FileWriter::new(declaration, &snapshot.schema)?,
                    );
                    self.finish(full, written).await?;
                    writer.write(&batch.slice(cut, batch.num_rows() - cut))?;
                }
            }
            last = (batch.num_rows() > 0).then_some(batch).or(last);
        }
        if count > 0 {
            self.finish(writer, written).await?;
        }
        match expected {
            Some(expected) if expected != count => Err(Error::Corrupt(format!(
                "table {}: its files hold {count} rows where the log says {expected}",
                self.name()
            ))),
            _ => Ok(()),
        }
    }

    async fn finish(&self, writer: FileWriter, written: &mut Vec<NewFile>) -> Result<()> {
        let file = writer.finish()?;
        self.put(&file.path, file.bytes.clone()).await?;
        // The bytes are in the store; the path and the statistics are what the commit needs.
        written.push(file.without_bytes());
        Ok(())
    }

    /// Commits the new files in the place of the old ones, as long as all of those are live.
    async fn replace(
        &self,
        files: &[DataFile],
        written: &[NewFile],
        author: &str,
        now_ms: i64,
    ) -> Result<u64> {
        let commit = Commit {
            message: Some(format!(
                "compact {} files into {}",
                files.len(),
                written.len()
            )),
            ..Commit::new(
                self.name(),
                author,
                now_ms,
                DeltaOperation::Optimize {
                    predicate: None,
                    target_size: FILE_BYTES as i64,
                },
            )
        };
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (snapshot, delta) = self.refreshed().await?;
            let is_live = |file: &DataFile| snapshot.files.iter().any(|it| it.path == file.path);
            if !files.iter().all(is_live) {
                return Err(self.lost(snapshot.version(), attempt + 1));
            }
            let removed = files
                .iter()
                .map(|file| Ok(Action::Remove(file.remove(now_ms, false))));
            let added = written
                .iter()
                .map(|file| file.add(now_ms, false).map(Action::Add));
            let actions = removed.chain(added).collect::<Result<Vec<_>>>()?;
            let read: &dyn TableReference = &delta;
            if let Outcome::Committed(version) = commit.run(self.log(), Some(read), actions).await?
            {
                return Ok(version);
            }
        }
        Err(self.lost(self.snapshot().await?.version(), ATTEMPTS))
    }

    fn session(&self) -> datafusion::error::Result<SessionContext> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config
            .options_mut()
            .execution
            .parquet
            .schema_force_view_types = false;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()?;
        let url = Url::parse(OBJECT_STORE_URL)
            .map_err(|error| DataFusionError::External(error.into()))?;
        runtime.register_object_store(&url, self.objects());
        Ok(SessionContext::new_with_config_rt(config, runtime))
    }

    fn unmerged(&self, error: &DataFusionError) -> Error {
        if let DataFusionError::External(cause) = error
            && let Some(Error::Corrupt(message)) = cause.downcast_ref::<Error>()
        {
            return Error::Corrupt(message.clone());
        }
        Error::Unavailable(format!("table {}: compacting: {error}", self.name()))
    }
}

/// The files that compaction merges: none where they are as few and as disjoint as they can be.
fn mergeable(snapshot: &Snapshot) -> Vec<DataFile> {
    let Some(declaration) = &snapshot.declaration else {
        return Vec::new();
    };
    let files = &snapshot.files;
    let Ok(place) = snapshot.schema.index_of(declaration.sort_columns()[0]) else {
        return Vec::new();
    };
    let bounds = |file: &DataFile| {
        let statistics = &file.statistics.column_statistics[place];
        let low = statistics.min_value.get_value()?.clone();
        let high = statistics.max_value.get_value()?.clone();
        (statistics.null_count.get_value() == Some(&0)).then_some((low, high))
    };
    let all_bounds: Vec<_> = files.iter().map(bounds).collect();
    let overlaps = |index: usize| {
        let Some((low, high)) = &all_bounds[index] else {
            return true;
        };
        all_bounds.iter().enumerate().any(|(other, theirs)| {
            other != index && theirs.as_ref().is_none_or(|(l, h)| !(h < low || l > high))
        })
    };
    let is_foreign = |file: &DataFile| file.order.sorted_by != declaration.sort_columns();
    let chosen: Vec<usize> = (0..files.len())
        .filter(|index| {
            let file = &files[*index];
            is_foreign(file) || file.bytes < FILE_BYTES as u64 || overlaps(*index)
        })
        .collect();
    // One file in order beside large ones is the end that every table has.
    if let [one] = chosen.as_slice()
        && !is_foreign(&files[*one])
    {
        return Vec::new();
    }
    chosen
        .into_iter()
        .map(|index| files[index].clone())
        .collect()
}

/// The first row of a batch that belongs to another group than the row before it.
fn next_group(column: &str, last: &RecordBatch, batch: &RecordBatch) -> Option<usize> {
    let (before, values) = (last.column_by_name(column)?, batch.column_by_name(column)?);
    let mut previous = before.slice(before.len() - 1, 1).to_data();
    for row in 0..values.len() {
        let value = values.slice(row, 1).to_data();
        if value != previous {
            return Some(row);
        }
        previous = value;
    }
    None
}
