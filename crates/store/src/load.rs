//! Loading files into a table: all of them, or nothing.

mod check;
mod csv;
mod parquet;
mod prepare;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::row::Rows;
use bytes::Bytes;
use deltalake_core::kernel::Action;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use sha2::{Digest, Sha256};

use crate::commit::{Commit, Outcome, application};
use crate::data_file::DataFile;
use crate::layout::{Layout, cut, find};
use crate::write::{NewFile, encode};
use crate::{Declaration, Error, Fault, Faults, Result, Snapshot, Table};
pub(crate) use parquet::columns as read_columns;
use prepare::{Prepared, prepare};

/// One file to load.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name, for messages.
    pub name: String,
    /// Its form.
    pub format: InputFormat,
    /// Its content.
    pub bytes: Bytes,
}

/// The forms that a load reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// RFC 4180, UTF-8, with a header row; an empty cell is NULL.
    Csv,
    /// Parquet.
    Parquet,
}

/// One load: its files land together.
#[derive(Debug, Clone)]
pub struct LoadRequest {
    /// The files.
    pub inputs: Vec<Input>,
    /// Who loads.
    pub author: String,
    /// Why, for the table's history.
    pub message: Option<String>,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The version of the table that holds the rows.
    pub version: u64,
    /// The rows of the load.
    pub rows: u64,
    /// Whether an earlier load of the same bytes had brought them, and this one changed nothing.
    pub repeated: bool,
}

/// How often a load that lost a race is checked and committed anew.
const ATTEMPTS: usize = 15;

/// About how many rows a data file holds.
const FILE_ROWS: usize = 4 * 1024 * 1024;

impl Table {
    /// Parses, checks, sorts, writes and commits. Loading the same bytes again changes nothing.
    ///
    /// # Errors
    /// [`Error::Faulty`] with every fault of the files; [`Error::Conflict`] after
    /// many lost races; [`Error::Unavailable`] where the storage fails. Nothing is loaded then.
    pub async fn load(&self, request: LoadRequest) -> Result<Loaded> {
        let (snapshot, _) = self.refreshed().await?;
        let declaration = snapshot.declaration().cloned().ok_or_else(|| {
            Error::Precondition(format!(
                "table {} was not made by Didymium and has no declaration: load into it with the program that made it",
                self.name()
            ))
        })?;
        let load_id = sha256(request.inputs.iter().map(|input| &input.bytes));
        let LoadRequest {
            inputs,
            author,
            message,
            now_ms,
        } = request;
        let rows_of = declaration.clone();
        let prepared =
            tokio::task::spawn_blocking(move || prepare(&rows_of, &inputs, now_ms)).await;
        let prepared = prepared.map_err(|error| Error::Internal(error.to_string()))??;

        let files = encode_all(&declaration, &prepared)?;
        for file in &files {
            self.put(&file.path, file.bytes.clone()).await?;
        }
        let commit = Commit {
            table: self.name().to_owned(),
            author,
            message,
            input_sha256: Some(load_id.clone()),
            load_id: Some(load_id),
            now_ms,
            operation: DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
        };
        let landed = self.land(&declaration, &prepared, &files, &commit).await;
        if matches!(
            &landed,
            Ok(Loaded { repeated: true, .. }) | Err(Error::Faulty(_) | Error::Conflict { .. })
        ) {
            self.discard(files.iter().map(|file| file.path.as_str()))
                .await;
        }
        landed
    }

    /// Commits the files as the next version, against whatever the newest one is by then.
    async fn land(
        &self,
        declaration: &Declaration,
        prepared: &Prepared,
        files: &[NewFile],
        commit: &Commit,
    ) -> Result<Loaded> {
        let rows = files.iter().map(|file| file.rows() as u64).sum();
        let load_id = commit.load_id.as_deref().unwrap_or_default();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(pause(attempt)).await;
            }
            let (snapshot, delta) = self.refreshed().await?;
            let landed = delta
                .transaction_version(self.log().as_ref(), application(load_id))
                .await;
            if let Some(version) = landed.map_err(|error| Error::from_delta(self.name(), error))? {
                return Ok(Loaded {
                    version: version as u64,
                    rows,
                    repeated: true,
                });
            }
            if files.is_empty() {
                return Ok(Loaded {
                    version: snapshot.version(),
                    rows,
                    repeated: false,
                });
            }
            self.refuse_present(declaration, prepared, &snapshot)
                .await?;
            let adds = files
                .iter()
                .map(|file| file.add(declaration, commit.now_ms).map(Action::Add));
            let adds = adds.collect::<Result<Vec<_>>>()?;
            let read: &dyn TableReference = &delta;
            if let Outcome::Committed(version) = commit.run(self.log(), Some(read), adds).await? {
                return Ok(Loaded {
                    version,
                    rows,
                    repeated: false,
                });
            }
        }
        let winner = self.snapshot().await?.version();
        Err(Error::Conflict {
            table: self.name().to_owned(),
            winner,
            attempts: ATTEMPTS,
        })
    }

    /// Refuses rows whose key the table holds already.
    async fn refuse_present(
        &self,
        declaration: &Declaration,
        prepared: &Prepared,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let layout = Layout::of(declaration)?;
        let new = layout.keys(&prepared.rows)?;
        let order: arrow::array::UInt32Array =
            (0..new.num_rows() as u32).collect::<Vec<_>>().into();
        let mut faults = Faults::default();
        for file in &snapshot.files {
            for keys in self.keys_of(declaration, &layout, file).await? {
                for row in keys.iter().filter_map(|key| find(&new, &order, key)) {
                    let (file, row) = prepared.origin(row as usize);
                    faults.add(Fault {
                        file: file.to_owned(),
                        row,
                        column: String::new(),
                        rule: format!(
                            "the table holds a row with the same {} already",
                            declaration.sort_columns().join(", ")
                        ),
                        value: None,
                    });
                }
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Error::Faulty(faults))
        }
    }

    /// The sort columns of a file's rows.
    async fn keys_of(
        &self,
        declaration: &Declaration,
        layout: &Layout,
        file: &DataFile,
    ) -> Result<Vec<Rows>> {
        let bytes = self.get(file).await?;
        let columns = declaration.sort_columns();
        let batches = read_columns(bytes, &columns).map_err(|error| {
            Error::Corrupt(format!("table {}: {}: {error}", self.name(), file.path))
        })?;
        batches
            .iter()
            .map(|batch| layout.keys_of(batch.columns()))
            .collect()
    }
}

/// How long a load waits after a lost race: any time within a span that doubles, so that rivals part
/// however long their commits take.
fn pause(attempt: usize) -> Duration {
    let span_ms = 10_u128 << attempt.min(7);
    let wait_ms = uuid::Uuid::new_v4().as_u128() % span_ms;
    Duration::from_millis(wait_ms as u64)
}

/// Encodes the sorted rows into files that never part a series.
fn encode_all(declaration: &Declaration, prepared: &Prepared) -> Result<Vec<NewFile>> {
    let rows: &RecordBatch = &prepared.rows;
    let first = declaration.sort_columns()[0];
    let first = Arc::clone(rows.column_by_name(first).ok_or_else(|| {
        Error::Internal(format!("table {}: no column {first}", declaration.name))
    })?);
    let same_group =
        |a: usize, b: usize| first.slice(a, 1).to_data() == first.slice(b, 1).to_data();
    let runs = cut(rows.num_rows(), FILE_ROWS, same_group);
    runs.into_iter()
        .map(|run| encode(declaration, &rows.slice(run.start, run.len())))
        .collect()
}

fn sha256<'a>(inputs: impl Iterator<Item = &'a Bytes>) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        // The length keeps two files apart from the same bytes in one.
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
