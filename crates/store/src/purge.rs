//! Removal for legal reasons: the rows of one source or one load, out of every version.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake_core::kernel::Action;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::protocol::DeltaOperation;

use crate::commit::{ATTEMPTS, Commit, Outcome, actions, wait_before};
use crate::layout::internal;
use crate::load::read_columns;
use crate::write::encode;
use crate::{Error, Result, Snapshot, Table};

/// Which rows are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Those of a source.
    Source(String),
    /// Those that a load brought.
    Load(String),
}

/// What a purge took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The newest version.
    pub version: u64,
    /// The rows that were taken out of it.
    pub rows: u64,
    /// The files that were deleted: those of older versions with such rows too.
    pub files: u64,
    /// The versions that can't be read any more, from the first to the last.
    pub lost_versions: Option<(u64, u64)>,
}

impl Purge {
    fn column(&self) -> &'static str {
        match self {
            Self::Source(_) => "source_id",
            Self::Load(_) => "load_id",
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Source(value) | Self::Load(value) => value,
        }
    }
}

impl Table {
    /// Takes rows out of the newest version, and deletes every file that ever held one. Versions that
    /// need such a file can't be read afterwards.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a table without the column, [`Error::Conflict`] after lost races, when
    /// nothing has changed.
    pub async fn purge(
        &self,
        purge: &Purge,
        reason: &str,
        author: &str,
        now_ms: i64,
    ) -> Result<Purged> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (snapshot, delta) = self.refreshed().await?;
            let declaration = snapshot.declaration().cloned();
            let has_column = snapshot.schema().index_of(purge.column()).is_ok();
            let Some(declaration) = declaration.filter(|_| has_column) else {
                let (table, column) = (self.name(), purge.column());
                return Err(Error::Invalid(format!(
                    "table {table} has no column {column}"
                )));
            };
            let ever = self.files_that_hold(purge, &snapshot).await?;
            if ever.is_empty() {
                return Ok(Purged {
                    version: snapshot.version(),
                    rows: 0,
                    files: 0,
                    lost_versions: None,
                });
            }
            let mut written = Vec::new();
            let mut rows = 0;
            let mut changes = Vec::new();
            for file in snapshot
                .files
                .iter()
                .filter(|file| ever.contains(&file.path))
            {
                changes.push(Action::Remove(file.remove(now_ms, true)));
                let all = self.rows_of(file, &snapshot).await?;
                let kept = without(&all, purge)?;
                rows += (all.num_rows() - kept.num_rows()) as u64;
                if kept.num_rows() > 0 {
                    let file = encode(&declaration, &kept)?;
                    self.put(&file.path, file.bytes.clone()).await?;
                    changes.push(Action::Add(file.add(now_ms, true)?));
                    written.push(file);
                }
            }
            let commit = Commit {
                message: Some(format!("purge {} {}", purge.column(), purge.value())),
                reason: Some(reason.to_owned()),
                purged: ever.iter().cloned().collect(),
                ..Commit::new(
                    self.name(),
                    author,
                    now_ms,
                    DeltaOperation::Delete { predicate: None },
                )
            };
            let read: &dyn TableReference = &delta;
            match commit.run(self.log(), Some(read), changes).await? {
                Outcome::Lost => {
                    self.discard(written.iter().map(|file| file.path.as_str()))
                        .await;
                }
                Outcome::Committed(version) => {
                    // Only now: before, the rows were still part of the table.
                    self.discard(ever.iter().map(String::as_str)).await;
                    return Ok(Purged {
                        version,
                        rows,
                        files: ever.len() as u64,
                        lost_versions: self.versions_that_need(&ever, version).await?,
                    });
                }
            }
        }
        Err(self.lost(self.snapshot().await?.version(), ATTEMPTS))
    }

    /// Every file, of any version, with a row that is to go.
    async fn files_that_hold(
        &self,
        purge: &Purge,
        snapshot: &Snapshot,
    ) -> Result<BTreeSet<String>> {
        let mut holding = BTreeSet::new();
        for path in self.files_ever_named(snapshot.version()).await? {
            let Some(bytes) = self.get_if_there(&path).await? else {
                continue;
            };
            let wanted = Field::new(purge.column(), DataType::Utf8, true);
            let wanted = Arc::new(Schema::new(vec![wanted]));
            let batches = read_columns(bytes, &wanted).map_err(|error| {
                Error::Corrupt(format!("table {}: {path}: {error}", self.name()))
            })?;
            if batches
                .iter()
                .any(|batch| matches(batch, purge).true_count() > 0)
            {
                holding.insert(path);
            }
        }
        Ok(holding)
    }

    /// Every data file that an entry of the log names.
    pub(crate) async fn files_ever_named(&self, newest: u64) -> Result<BTreeSet<String>> {
        let mut named = BTreeSet::new();
        for version in 0..=newest {
            let entry = self.entry(version).await?;
            for action in actions(entry.as_deref().unwrap_or_default()) {
                named.extend(action["add"]["path"].as_str().map(str::to_owned));
            }
        }
        Ok(named)
    }

    /// The first and last version before `newest` that some of the files were part of.
    pub(crate) async fn versions_that_need(
        &self,
        files: &BTreeSet<String>,
        newest: u64,
    ) -> Result<Option<(u64, u64)>> {
        let mut live = 0;
        let mut needed: Option<(u64, u64)> = None;
        for version in 0..newest {
            let entry = self.entry(version).await?;
            for action in actions(entry.as_deref().unwrap_or_default()) {
                let is_one = |kind: &str| {
                    action[kind]["path"]
                        .as_str()
                        .is_some_and(|path| files.contains(path))
                };
                live += i64::from(is_one("add")) - i64::from(is_one("remove"));
            }
            if live > 0 {
                needed = Some((needed.map_or(version, |(first, _)| first), version));
            }
        }
        Ok(needed)
    }
}

/// Which rows are to go; NULL stays.
fn matches(rows: &RecordBatch, purge: &Purge) -> BooleanArray {
    let column = rows.column_by_name(purge.column());
    let Some(texts) = column.and_then(|column| column.as_string_opt::<i32>()) else {
        return BooleanArray::from(vec![false; rows.num_rows()]);
    };
    let texts = texts.iter().map(|text| Some(text == Some(purge.value())));
    BooleanArray::from_iter(texts)
}

fn without(rows: &RecordBatch, purge: &Purge) -> Result<RecordBatch> {
    let kept = not(&matches(rows, purge)).map_err(internal)?;
    filter_record_batch(rows, &kept).map_err(internal)
}
