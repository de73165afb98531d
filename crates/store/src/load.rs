//! Loading files into a table: all of them, or nothing.

mod cells;
mod check;
mod columnar;
mod complete;
mod csv;
mod infer;
mod mapping;
mod ndjson;
mod prepare;
mod present;
mod progress;
mod raw;
mod room;
mod sorted;
mod supersede;
mod text;
mod totals;
mod units;
mod unpacked;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::kernel::{Action, EagerSnapshot};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use didymium_model::Day;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::commit::{ATTEMPTS, Commit, Outcome, application, wait_before};
use crate::layout::cut;
use crate::write::{FileWriter, NewFile, hex, sha256};
use crate::{CommitRecord, Declaration, Error, Result, Store, Table, TableKind, is_own_table};
pub(crate) use columnar::columns as read_columns;
use infer::infer;
pub use mapping::{Factor, Made, MappedRow, Mapping, Origin};
use prepare::prepare;
use present::Verdict;
pub use progress::{Progress, Stage};
use sorted::Sorted;

/// One file to load.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name, for messages.
    pub name: String,
    /// Its form.
    pub format: InputFormat,
    /// A text's encoding by its name on the web; `None` finds it out.
    pub encoding: Option<String>,
    /// Its content.
    pub bytes: Bytes,
}

/// The forms that a load reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// RFC 4180 with a header row; the separator is found out, an empty cell is NULL.
    Csv,
    /// One JSON object per line.
    NdJson,
    /// Parquet.
    Parquet,
    /// An Arrow IPC file or stream.
    Arrow,
}

impl InputFormat {
    /// Whether it holds lines of text.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::NdJson)
    }

    /// The form of a file by its name's ending.
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        Some(match ending.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Self::Csv,
            "ndjson" | "jsonl" => Self::NdJson,
            "parquet" => Self::Parquet,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }
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
    /// How.
    pub options: LoadOptions,
    /// Tells how far it has come.
    pub progress: Progress,
}

/// How a load is done.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// How the files' columns become the table's; `None` where they are the table's.
    pub mapping: Option<Mapping>,
    /// The source of every row, where the files have no column for it.
    pub source_id: Option<String>,
    /// The vintage of every row, where the files have no column for it.
    pub published_on: Option<Day>,
    /// A name for the load: another load of this name changes nothing. `None` names it by its content.
    pub load_id: Option<String>,
    /// Why rows that the table holds with other values are corrected; `None` refuses them.
    pub supersede: Option<String>,
    /// Puts the rows in the place of all that a plain table holds, in the same commit.
    pub replace: bool,
    /// The version that must be the newest, or nothing is loaded: what the rows were made from.
    pub over_version: Option<u64>,
    /// What made the rows, for the table's history.
    pub made_by: Option<String>,
    /// What its Arrow and Parquet files may unpack to together, in bytes; `None` for as much as there is memory.
    pub unpacked_bytes: Option<u64>,
    /// Checks everything and writes nothing.
    pub dry_run: bool,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The version of the table that holds the rows.
    pub version: u64,
    /// The load's name.
    pub load_id: String,
    /// The rows that it added; on a dry run, would add.
    pub rows: u64,
    /// The rows that the table held already.
    pub unchanged: u64,
    /// The table's rows that it corrected.
    pub superseded: u64,
    /// Whether an earlier load of this name had brought the rows, and this one changed nothing.
    pub repeated: bool,
}

/// About how many rows a data file holds.
const FILE_ROWS: usize = 2 * 1024 * 1024;

impl Table {
    /// Parses, checks, sorts, writes and commits. Loading the same bytes again changes nothing.
    ///
    /// # Errors
    /// [`Error::Faulty`] with every fault of the files; [`Error::AlreadyExists`] where the load's name
    /// stands for another load; [`Error::TooLarge`] where files unpack to more than they may;
    /// [`Error::Conflict`] after many lost races; [`Error::Unavailable`] where the storage fails. Nothing is
    /// loaded then.
    pub async fn load(&self, request: LoadRequest) -> Result<Loaded> {
        let (snapshot, delta) = self.refreshed().await?;
        let declaration = snapshot.declaration().cloned().ok_or_else(|| {
            Error::Precondition(format!(
                "table {} was not made by Didymium and has no declaration: load into it with the program that made it",
                self.name()
            ))
        })?;
        if request.options.replace && declaration.kind == TableKind::Series {
            return Err(Error::Precondition(format!(
                "table {} keeps every vintage and is never replaced: load what is new, or correct figures with a reason (supersede)",
                self.name()
            )));
        }
        let load = Load::of(self.name(), &request).await?;
        if let Some(landed) = self.landed(&delta, &load).await? {
            return Ok(landed);
        }
        let prepared = prepared(&declaration, request, &load).await?;
        self.land(&declaration, &prepared, &load).await
    }

    /// The commit of the load of this name, if there was one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unavailable`] where the log can't be read.
    pub async fn commit_of(&self, load_id: &str) -> Result<Option<CommitRecord>> {
        let (_, delta) = self.refreshed().await?;
        match self.version_of(&delta, load_id).await? {
            Some(version) => self.record(version).await.map(Some),
            None => Ok(None),
        }
    }

    async fn version_of(&self, delta: &EagerSnapshot, load_id: &str) -> Result<Option<u64>> {
        let version = delta
            .transaction_version(self.log().as_ref(), application(load_id))
            .await
            .map_err(|error| Error::from_delta(self.name(), error))?;
        Ok(version.map(|version| version as u64))
    }

    /// What an earlier load of this name did, if there was one.
    async fn landed(&self, delta: &EagerSnapshot, load: &Load) -> Result<Option<Loaded>> {
        let Some(version) = self.version_of(delta, load.id()).await? else {
            return Ok(None);
        };
        let record = self.record(version).await?;
        if record.load_digest.is_some() && record.load_digest != load.commit.load_digest {
            return Err(Error::AlreadyExists(format!(
                "table {}: the load {} was made before, as version {version}, of other files or with other options: choose another load id",
                self.name(),
                load.id()
            )));
        }
        Ok(Some(Loaded {
            version,
            load_id: load.id().to_owned(),
            rows: record.rows_added,
            unchanged: 0,
            superseded: 0,
            repeated: true,
        }))
    }

    /// Commits the rows as the next version, against whatever the newest one is by then.
    async fn land(
        &self,
        declaration: &Declaration,
        prepared: &Arc<Sorted>,
        load: &Load,
    ) -> Result<Loaded> {
        let mut written = Written::default();
        let landed = self
            .try_to_land(declaration, prepared, load, &mut written)
            .await;
        // Files of a commit whose outcome is not known must stay.
        let is_unknown = matches!(&landed, Err(Error::Unavailable(_)));
        if !is_unknown && !written.committed {
            self.discard(written.paths()).await;
        }
        landed
    }

    async fn try_to_land(
        &self,
        declaration: &Declaration,
        prepared: &Arc<Sorted>,
        load: &Load,
        written: &mut Written,
    ) -> Result<Loaded> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (snapshot, delta) = self.refreshed().await?;
            if let Some(landed) = self.landed(&delta, load).await? {
                return Ok(landed);
            }
            let was_left = load.over_version.is_some_and(|it| it != snapshot.version());
            if was_left || snapshot.declaration() != Some(declaration) {
                // The rows were held to another declaration, or made from other rows.
                return Err(self.lost(snapshot.version(), attempt + 1));
            }
            load.progress.enter(Stage::Comparing);
            let verdict = match load.replaces {
                true => Verdict::of_new(prepared),
                false => self.compare(declaration, prepared, &snapshot).await?,
            };
            if !verdict.contradicted.is_empty() && load.commit.reason.is_none() {
                return Err(Error::Faulty(verdict.faults(declaration, prepared)));
            }
            let mut loaded = Loaded {
                version: snapshot.version(),
                load_id: load.id().to_owned(),
                rows: verdict.new.len() as u64,
                unchanged: verdict.unchanged,
                superseded: verdict.contradicted.values().map(Vec::len).sum::<usize>() as u64,
                repeated: false,
            };
            let changes = !verdict.new.is_empty() || load.replaces;
            if !changes || load.dry_run {
                return Ok(loaded);
            }
            load.progress.enter(Stage::Writing { rows: loaded.rows });
            self.write_new(declaration, prepared, &verdict, written)
                .await?;
            let mut actions = written.adds(load.commit.now_ms)?;
            let replaced = self
                .superseded(declaration, &snapshot, &verdict, load, written)
                .await?;
            actions.extend(replaced);
            if load.replaces {
                let old = snapshot.files.iter();
                let old = old.map(|file| Action::Remove(file.remove(load.commit.now_ms, true)));
                actions.extend(old);
            }
            load.progress.enter(Stage::Committing);
            let read: &dyn TableReference = &delta;
            if let Outcome::Committed(version) =
                load.commit.run(self.log(), Some(read), actions).await?
            {
                written.committed = true;
                loaded.version = version;
                return Ok(loaded);
            }
        }
        Err(self.lost(self.snapshot().await?.version(), ATTEMPTS))
    }

    /// Writes the new rows; those that an attempt before this one has written need not be again.
    async fn write_new(
        &self,
        declaration: &Declaration,
        prepared: &Arc<Sorted>,
        verdict: &Verdict,
        written: &mut Written,
    ) -> Result<()> {
        if written.rows.as_ref() == Some(&verdict.new) {
            return Ok(());
        }
        self.discard(written.paths()).await;
        *written = Written::default();
        let (rows_of, prepared) = (declaration.clone(), Arc::clone(prepared));
        let rows = verdict.new.clone();
        written.new = blocking(move || encode_all(&rows_of, &prepared, &rows)).await?;
        for file in &written.new {
            self.put(&file.path, file.bytes.clone()).await?;
        }
        written.rows = Some(verdict.new.clone());
        Ok(())
    }
}

impl Store {
    /// Loads into a table. With `create`, one that is not there is made as the files suggest, once they
    /// are found to be sound; then its declaration is given as well.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], and as [`Table::load`]; no table is made then.
    pub async fn load(
        &self,
        table: &str,
        request: LoadRequest,
        create: bool,
    ) -> Result<(Loaded, Option<Declaration>)> {
        if is_own_table(table) {
            return Err(self.unknown_table(table, |name| !is_own_table(name)).await);
        }
        if create && !self.has_table(table).await? {
            let (loaded, declaration) = self.load_new(table, request).await?;
            return Ok((loaded, Some(declaration)));
        }
        Ok((self.table(table).await?.load(request).await?, None))
    }

    async fn load_new(&self, table: &str, request: LoadRequest) -> Result<(Loaded, Declaration)> {
        let declaration = infer(table, &request.inputs, &request.options)?;
        let loaded = self.load_declared(&declaration, request).await?;
        Ok((loaded, declaration))
    }

    /// Loads into a table that is not there, which is made of its declaration once the rows are found to be
    /// sound.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where there is one, and as [`Table::load`]; no table is made then.
    pub async fn load_declared(
        &self,
        declaration: &Declaration,
        request: LoadRequest,
    ) -> Result<Loaded> {
        let load = Load::of(&declaration.name, &request).await?;
        let now_ms = request.now_ms;
        let prepared = prepared(declaration, request, &load).await?;
        if load.dry_run {
            let loaded = Loaded {
                version: 0,
                load_id: load.id().to_owned(),
                rows: prepared.count() as u64,
                unchanged: 0,
                superseded: 0,
                repeated: false,
            };
            return Ok(loaded);
        }
        let table = self.create_table(declaration, now_ms).await?;
        table.land(declaration, &prepared, &load).await
    }
}

/// The rows of a load's files, sound and in order.
async fn prepared(
    declaration: &Declaration,
    request: LoadRequest,
    load: &Load,
) -> Result<Arc<Sorted>> {
    let (rows_of, load_id) = (declaration.clone(), load.id().to_owned());
    let prepared = blocking(move || prepare(&rows_of, &request, &load_id));
    prepared.await.map(Arc::new)
}

fn write(mode: SaveMode) -> DeltaOperation {
    DeltaOperation::Write {
        mode,
        partition_by: None,
        predicate: None,
    }
}

/// What all attempts of a load share.
struct Load {
    commit: Commit,
    replaces: bool,
    over_version: Option<u64>,
    dry_run: bool,
    progress: Progress,
}

impl Load {
    async fn of(table: &str, request: &LoadRequest) -> Result<Self> {
        refuse_other_table(table, &request.options)?;
        request.progress.enter(Stage::Hashing);
        let inputs = request.inputs.clone();
        let inputs_sha256 = blocking(move || Ok(inputs_sha256(&inputs))).await?;
        let digest = digest(&inputs_sha256, &request.options);
        let replaces = request.options.replace;
        let mode = match replaces {
            true => SaveMode::Overwrite,
            false => SaveMode::Append,
        };
        let load_id = request.options.load_id.clone();
        // What is replaced may have changed since the same rows replaced it last.
        let unnamed = || match replaces {
            true => uuid::Uuid::new_v4().to_string(),
            false => digest.clone(),
        };
        Ok(Self {
            commit: Commit {
                message: request.message.clone(),
                input_sha256: Some(inputs_sha256),
                inputs: request.inputs.iter().map(|it| it.name.clone()).collect(),
                load_id: Some(load_id.unwrap_or_else(unnamed)),
                load_digest: Some(digest.clone()),
                reason: request.options.supersede.clone(),
                made_by: request.options.made_by.clone(),
                ..Commit::new(table, &request.author, request.now_ms, write(mode))
            },
            replaces,
            over_version: request.options.over_version,
            dry_run: request.options.dry_run,
            progress: request.progress.clone(),
        })
    }

    fn id(&self) -> &str {
        self.commit.load_id.as_deref().unwrap_or_default()
    }
}

/// The files that a load has written so far.
#[derive(Default)]
struct Written {
    /// Those with new rows.
    new: Vec<NewFile>,
    /// The load's rows in them.
    rows: Option<Vec<u32>>,
    /// Those in the place of files with contradicted rows.
    corrected: Vec<NewFile>,
    committed: bool,
}

impl Written {
    fn adds(&self, now_ms: i64) -> Result<Vec<Action>> {
        let new = self.new.iter();
        new.map(|file| file.add(now_ms, true).map(Action::Add))
            .collect()
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.new.iter().chain(&self.corrected);
        files.map(|file| file.path.as_str())
    }
}

/// Runs work of the processor where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The readers of Parquet and Arrow panic on some damaged files.
        Err(error) => Err(Error::Invalid(format!("the files can't be read: {error}"))),
    }
}

fn refuse_other_table(table: &str, options: &LoadOptions) -> Result<()> {
    let meant = options.mapping.as_ref().and_then(|it| it.table.as_deref());
    match meant {
        Some(meant) if meant != table => Err(Error::Invalid(format!(
            "the mapping is for the table {meant}, not for {table}"
        ))),
        _ => Ok(()),
    }
}

/// Encodes some of the rows, which are given in order, into files that never part a series, several at
/// a time.
fn encode_all(declaration: &Declaration, sorted: &Sorted, rows: &[u32]) -> Result<Vec<NewFile>> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let schema = sorted.row(*first as usize).schema();
    let group = declaration.sort_columns()[0];
    let group = |row: usize| {
        let row = sorted.row(rows[row] as usize);
        row.column_by_name(group).map(|value| value.to_data())
    };
    let files = match rows.len().div_ceil(FILE_ROWS) {
        1 => 1,
        // As many as keep all threads busy to the end.
        several => several.next_multiple_of(rayon::current_num_threads()),
    };
    let runs = cut(rows.len(), rows.len().div_ceil(files), |a, b| {
        group(a) == group(b)
    });
    let encode = |run: Range<usize>| {
        let mut file = FileWriter::new(declaration, &schema)?;
        for batch in sorted.batches_of(&rows[run]) {
            file.write(&batch?)?;
        }
        file.finish()
    };
    runs.into_par_iter().map(encode).collect()
}

/// What tells a load from every other: its files, and all that says what they mean.
fn digest(inputs_sha256: &str, options: &LoadOptions) -> String {
    let mut hash = Sha256::new();
    hash.update(inputs_sha256);
    let meaning = [
        options
            .mapping
            .as_ref()
            .map(|mapping| format!("{mapping:?}")),
        options.source_id.clone(),
        options.published_on.map(|day| day.to_string()),
        options.supersede.clone(),
        options.replace.then(|| "replace".to_owned()),
    ];
    for (place, text) in meaning.iter().enumerate() {
        if let Some(text) = text {
            hash.update((place as u64).to_le_bytes());
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hex(&hash.finalize())
}

/// The files' own SHA-256, in their order.
fn inputs_sha256(inputs: &[Input]) -> String {
    let hashes = inputs.iter().map(|input| sha256(&input.bytes));
    hashes.collect::<Vec<_>>().join(" ")
}
