//! How a run's rows come into its target: whole, once, or not at all.

use std::collections::BTreeMap;

use bytes::Bytes;
use didymium_engine::ErrorKind;
use didymium_model::Day;
use didymium_store::{Exports, LoadOptions, LoadRequest, Progress, Store, TableKind};
use serde::{Deserialize, Serialize};

use crate::definition::{Definition, Mode, Target};
use crate::digest::sha256;
use crate::result::{Asking, RunResult, given};
use crate::runs::arrow_input;
use crate::{Error, Result, logical_time, new_table};

/// Where a run's rows are, and what they were made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Landed {
    pub(crate) made: Made,
    /// The version of the target table.
    pub(crate) version: Option<u64>,
    pub(crate) file: Option<String>,
    pub(crate) file_sha256: Option<String>,
    /// What is odd about it.
    pub(crate) remark: Option<String>,
}

/// What a run's rows were made from. The commit of the rows carries it, so that it is known even where the
/// server died before it wrote down the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) known_by: Option<String>,
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

impl Made {
    pub(crate) fn of(result: &RunResult, known_by: Day) -> Self {
        Self {
            known_by: Some(known_by.to_string()),
            versions: result.versions.clone(),
            rows: result.rows.num_rows() as u64,
            bytes: result.bytes as u64,
            digest: result.digest.clone(),
        }
    }
}

/// How often rows in the place of others are made anew where another writer was faster.
const ATTEMPTS: usize = 5;

/// The name of a run's load: it lands once, whoever runs it.
fn load_id(definition: &Definition, logical_ms: i64) -> String {
    let time = logical_time::text(logical_ms);
    format!("job {} {time}", definition.name)
}

/// What an earlier attempt has brought into the target table, if one has.
pub(crate) async fn landed(
    store: &Store,
    definition: &Definition,
    logical_ms: i64,
) -> Result<Option<Landed>> {
    let Target::Table { table, .. } = &definition.target else {
        return Ok(None);
    };
    if !store.has_table(table).await? {
        return Ok(None);
    }
    let table = store.table(table).await?;
    let commit = table.commit_of(&load_id(definition, logical_ms)).await?;
    let Some(commit) = commit else {
        return Ok(None);
    };
    let made = commit.made_by.as_deref().map(serde_json::from_str);
    let made = made.transpose().ok().flatten().ok_or_else(|| {
        Error::Precondition(format!(
            "table {}: a load that no job made has taken this run's name, {}",
            table.name(),
            load_id(definition, logical_ms)
        ))
    })?;
    Ok(Some(Landed {
        made,
        version: Some(commit.version),
        remark: Some("its rows had landed before: the run before was cut off".to_owned()),
        ..Landed::default()
    }))
}

/// Where rows go.
pub(crate) struct Landing<'a> {
    pub(crate) asking: &'a Asking<'a>,
    pub(crate) exports: &'a Exports,
    pub(crate) made: Made,
}

impl Landing<'_> {
    /// Brings the rows into the target.
    pub(crate) async fn land(&self, result: &RunResult) -> Result<Landed> {
        match &self.asking.definition.target {
            Target::File { path } => {
                let zone = self.asking.definition.schedule.zone();
                let name = &self.asking.definition.name;
                let file = path.path(name, self.asking.logical_ms, zone);
                let content = Bytes::from(result.encoded(path.format())?);
                self.put_file(file, content).await
            }
            Target::Table { table, mode } => self.load_table(table, *mode, result).await,
        }
    }

    async fn put_file(&self, file: String, content: Bytes) -> Result<Landed> {
        let ours = sha256(&content);
        let mut landed = Landed {
            made: self.made.clone(),
            file: Some(file.clone()),
            file_sha256: Some(ours.clone()),
            ..Landed::default()
        };
        if self.exports.put(&file, content).await? {
            return Ok(landed);
        }
        // An attempt that was cut off has written it, from what was there then.
        let there = self.exports.get(&file).await?.unwrap_or_default();
        let theirs = sha256(&there);
        landed.remark =
            Some("its file had been written before: the run before was cut off".to_owned());
        if theirs != ours {
            landed.file_sha256 = Some(theirs);
            landed.made = Made::default();
            landed.remark = Some(
                "its file had been written before, from other figures: the run before was cut off, and which versions it read is not known"
                    .to_owned(),
            );
        }
        Ok(landed)
    }

    async fn load_table(&self, table: &str, mode: Mode, result: &RunResult) -> Result<Landed> {
        let store = self.asking.engine.store();
        let is_new = !store.has_table(table).await?;
        if is_new && mode != Mode::Upsert {
            self.make(table, result).await?;
        }
        let snapshot = store.table(table).await?.snapshot().await?;
        let kind = snapshot.declaration().map(|declaration| declaration.kind);
        let refused = |what: &str| Err(Error::Precondition(format!("table {table}: {what}")));
        match (mode, kind) {
            (Mode::Upsert, Some(TableKind::Series)) => {}
            (Mode::Upsert, _) => {
                return refused(
                    "only a series table has vintages to add (upsert): make one first, or append",
                );
            }
            (Mode::Replace | Mode::ReplacePeriod, Some(TableKind::Series)) => {
                return refused("a series table keeps every vintage and is never replaced: upsert");
            }
            _ => {}
        }
        if mode != Mode::ReplacePeriod || is_new {
            let options = self.options(mode, result);
            return self.load(table, vec![result], options).await;
        }
        self.in_place_of_periods(table, result).await
    }

    /// Makes the target of a first run.
    async fn make(&self, table: &str, result: &RunResult) -> Result<()> {
        let job = &self.asking.definition.name;
        let declaration = new_table::declaration(table, job, &result.schema)?;
        let engine = self.asking.engine;
        let made = engine.store().create_table(&declaration, engine.now_ms());
        match made.await {
            // Another server was faster.
            Err(error) if error.kind() == didymium_store::Kind::AlreadyExists => Ok(()),
            made => made.map(|_| ()).map_err(Error::from),
        }
    }

    /// Keeps the table's rows of other periods, and loads both in the place of all.
    async fn in_place_of_periods(&self, table: &str, result: &RunResult) -> Result<Landed> {
        let store = self.asking.engine.store();
        let periods = period_columns(result)?;
        let same = periods
            .iter()
            .map(|name| format!("mine.{name} = theirs.{name}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "SELECT * FROM {table} AS theirs WHERE NOT EXISTS (SELECT 1 FROM result AS mine WHERE {same})"
        );
        for attempt in 1.. {
            let version = store.table(table).await?.snapshot().await?.version();
            let versions = BTreeMap::from([(table.to_owned(), version)]);
            let kept = self
                .asking
                .over(sql.clone(), given(result), versions)
                .await?;
            let kept = RunResult {
                schema: kept.schema(),
                bytes: 0,
                versions: BTreeMap::new(),
                digest: String::new(),
                rows: kept,
            };
            let options = LoadOptions {
                over_version: Some(version),
                ..self.options(Mode::Replace, result)
            };
            match self.load(table, vec![&kept, result], options).await {
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {}
                landed => return landed,
            }
        }
        Err(Error::Superseded)
    }

    fn options(&self, mode: Mode, result: &RunResult) -> LoadOptions {
        let definition = self.asking.definition;
        let lacks = |column: &str| result.schema.index_of(column).is_err();
        let upserts = mode == Mode::Upsert;
        let zone = definition.schedule.zone();
        let now = self.asking.engine.now_ms();
        // What a release makes before its day is out as soon as it is made.
        let day = logical_time::day(self.asking.logical_ms.min(now), zone);
        LoadOptions {
            load_id: Some(load_id(definition, self.asking.logical_ms)),
            replace: mode == Mode::Replace,
            source_id: (upserts && lacks("source_id")).then(|| format!("job_{}", definition.name)),
            published_on: (upserts && lacks("published_on")).then_some(day),
            made_by: serde_json::to_string(&self.made).ok(),
            ..LoadOptions::default()
        }
    }

    async fn load(
        &self,
        table: &str,
        rows: Vec<&RunResult>,
        options: LoadOptions,
    ) -> Result<Landed> {
        let store = self.asking.engine.store();
        let rows = rows
            .into_iter()
            .filter(|part| part.rows.num_rows() > 0 || !part.digest.is_empty());
        let inputs = rows.map(|part| arrow_input("result.arrow", &part.rows));
        let definition = self.asking.definition;
        let time = logical_time::text(self.asking.logical_ms);
        let request = LoadRequest {
            inputs: inputs.collect::<Result<Vec<_>>>()?,
            author: self.asking.owner.name.clone(),
            message: Some(format!("job {}, run of {time}", definition.name)),
            now_ms: self.asking.engine.now_ms(),
            options,
            progress: Progress::default(),
        };
        let loaded = store.table(table).await?.load(request).await;
        match loaded {
            Ok(loaded) if !loaded.repeated => Ok(Landed {
                made: self.made.clone(),
                version: Some(loaded.version),
                ..Landed::default()
            }),
            // Another server was faster; what it read counts.
            Ok(_) => self.landed_before().await,
            Err(error) if error.kind() == didymium_store::Kind::AlreadyExists => {
                self.landed_before().await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn landed_before(&self) -> Result<Landed> {
        let store = self.asking.engine.store();
        let landed = landed(store, self.asking.definition, self.asking.logical_ms);
        Ok(landed.await?.unwrap_or_default())
    }
}

/// The columns that say which period a row is of.
fn period_columns(result: &RunResult) -> Result<Vec<&'static str>> {
    let has = |column: &&str| result.schema.index_of(column).is_ok();
    let both = ["period_start", "period_end"];
    if both.iter().all(has) {
        return Ok(both.to_vec());
    }
    match has(&"period") {
        true => Ok(vec!["period"]),
        false => Err(Error::Invalid(
            "replace_period needs the columns period_start and period_end, or period, in the result"
                .to_owned(),
        )),
    }
}
