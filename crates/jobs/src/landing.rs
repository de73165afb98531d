//! How a run's rows come into its target: whole, once, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use didymium_engine::ErrorKind;
use didymium_model::Day;
use didymium_store::{Exports, Kind, LoadOptions, LoadRequest, Loaded, Progress, Store, TableKind};
use serde::{Deserialize, Serialize};

use crate::claim::{Claim, Files};
use crate::definition::{Definition, Mode, Target};
use crate::result::{Asking, RunResult, encoded, given};
use crate::runs::arrow_input;
use crate::{Error, PathTemplate, Result, logical_time, new_table};

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
    /// The id of the token of the job's owner: another owner's job of the same name is another one.
    pub(crate) owner: String,
    pub(crate) known_by: Option<String>,
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

impl Made {
    pub(crate) fn of(result: &RunResult, owner: &str, known_by: Day) -> Self {
        Self {
            owner: owner.to_owned(),
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

/// What is noted of a run whose rows an attempt before has brought.
const BEFORE: &str = "its rows had landed before: the run before was cut off";

/// Where the rows of one run go.
pub(crate) struct Landing<'a> {
    pub(crate) store: &'a Arc<Store>,
    pub(crate) exports: &'a Exports,
    pub(crate) definition: &'a Definition,
    /// The id of the owner's token.
    pub(crate) owner: &'a str,
    pub(crate) logical_ms: i64,
}

impl Landing<'_> {
    /// What an attempt before this one has brought into the target, if one has.
    pub(crate) async fn landed(&self) -> Result<Option<Landed>> {
        let store = self.store;
        let table = match &self.definition.target {
            Target::Table { table, .. } => table,
            Target::File { path } => {
                let file = self.path(path);
                let claim = self.files().written(&file).await?;
                return Ok(claim.map(|claim| of_file(file, claim, Some(BEFORE))));
            }
        };
        if !store.has_table(table).await? {
            return Ok(None);
        }
        let load_id = self.load_id();
        let commit = store.table(table).await?.commit_of(&load_id).await?;
        let Some(commit) = commit else {
            return Ok(None);
        };
        let made = commit.made_by.as_deref().map(serde_json::from_str);
        let made: Option<Made> = made.transpose().ok().flatten();
        let made = made.filter(|made| made.owner == self.owner).ok_or_else(|| {
            Error::Precondition(format!(
                "table {table}: a load that was not this job's has taken its run's name, {load_id}: call the job otherwise"
            ))
        })?;
        Ok(Some(Landed {
            made,
            version: Some(commit.version),
            remark: Some(BEFORE.to_owned()),
            ..Landed::default()
        }))
    }

    /// Brings the rows into the target.
    pub(crate) async fn land(
        &self,
        asking: &Asking<'_>,
        result: &RunResult,
        made: Made,
    ) -> Result<Landed> {
        match &self.definition.target {
            Target::File { path } => {
                let file = self.path(path);
                let content = encoded(&result.rows, path.format())?;
                let claim = self.files().write(&file, content, made).await?;
                Ok(of_file(file, claim, None))
            }
            Target::Table { table, mode } => {
                let rows = Rows {
                    landing: self,
                    asking,
                    table,
                    result,
                    made,
                };
                rows.land(*mode).await
            }
        }
    }

    fn files(&self) -> Files<'_> {
        Files {
            store: self.store,
            exports: self.exports,
            job: &self.definition.name,
            owner: self.owner,
            logical_ms: self.logical_ms,
        }
    }

    fn path(&self, path: &PathTemplate) -> String {
        let zone = self.definition.schedule.zone();
        path.path(&self.definition.name, self.logical_ms, zone)
    }

    /// The name of a run's load: it lands once, whoever runs it.
    fn load_id(&self) -> String {
        let time = logical_time::text(self.logical_ms);
        format!("job {} {time}", self.definition.name)
    }
}

fn of_file(file: String, claim: Claim, remark: Option<&str>) -> Landed {
    Landed {
        made: claim.made,
        version: None,
        file: Some(file),
        file_sha256: Some(claim.sha256),
        remark: remark.map(str::to_owned),
    }
}

/// Rows on their way into a table.
struct Rows<'a> {
    landing: &'a Landing<'a>,
    asking: &'a Asking<'a>,
    table: &'a str,
    result: &'a RunResult,
    made: Made,
}

impl Rows<'_> {
    async fn land(&self, mode: Mode) -> Result<Landed> {
        let (store, table) = (self.landing.store, self.table);
        if mode != Mode::Upsert && !store.has_table(table).await? {
            return self.load_first(mode).await;
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
        match mode {
            Mode::ReplacePeriod => self.in_place_of_periods().await,
            _ => self.load(vec![self.result], self.options(mode)).await,
        }
    }

    /// Makes the target of a first run, once its rows are found to be sound.
    async fn load_first(&self, mode: Mode) -> Result<Landed> {
        if mode == Mode::ReplacePeriod {
            period_columns(self.result)?;
        }
        let job = &self.landing.definition.name;
        let declaration = new_table::declaration(self.table, job, &self.result.schema)?;
        let request = self.request(vec![self.result], self.options(Mode::Append))?;
        let store = self.landing.store;
        let loaded = store.load_declared(&declaration, request).await;
        self.landed_as(loaded).await
    }

    /// Keeps the table's rows of other periods, and loads both in the place of all.
    async fn in_place_of_periods(&self) -> Result<Landed> {
        let (asking, table) = (self.asking, self.table);
        let periods = period_columns(self.result)?;
        let same = periods
            .iter()
            .map(|name| format!("mine.{name} = theirs.{name}"));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "SELECT * FROM {table} AS theirs WHERE NOT EXISTS (SELECT 1 FROM result AS mine WHERE {same})"
        );
        let mut attempt = 1;
        loop {
            let snapshot = self.landing.store.table(table).await?.snapshot().await?;
            let version = snapshot.version();
            let versions = BTreeMap::from([(table.to_owned(), version)]);
            let kept = asking.over(sql.clone(), given(self.result), versions);
            let kept = kept.await?;
            let kept = RunResult {
                schema: kept.schema(),
                bytes: 0,
                versions: BTreeMap::new(),
                digest: String::new(),
                rows: kept,
            };
            let options = LoadOptions {
                over_version: Some(version),
                ..self.options(Mode::Replace)
            };
            let mut rows = vec![self.result];
            if kept.rows.num_rows() > 0 {
                rows.push(&kept);
            }
            match self.load(rows, options).await {
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                landed => return landed,
            }
        }
    }

    fn options(&self, mode: Mode) -> LoadOptions {
        let asking = self.asking;
        let definition = asking.definition;
        let lacks = |column: &str| self.result.schema.index_of(column).is_err();
        let upserts = mode == Mode::Upsert;
        let zone = definition.schedule.zone();
        // What a release makes before its day is out as soon as it is made.
        let day = logical_time::day(asking.logical_ms.min(asking.engine.now_ms()), zone);
        let source = || format!("job_{}", definition.name);
        LoadOptions {
            load_id: Some(self.landing.load_id()),
            replace: mode == Mode::Replace,
            source_id: (upserts && lacks("source_id")).then(source),
            published_on: (upserts && lacks("published_on")).then_some(day),
            made_by: serde_json::to_string(&self.made).ok(),
            ..LoadOptions::default()
        }
    }

    async fn load(&self, rows: Vec<&RunResult>, options: LoadOptions) -> Result<Landed> {
        let request = self.request(rows, options)?;
        let store = self.landing.store;
        let loaded = store.table(self.table).await?.load(request).await;
        self.landed_as(loaded).await
    }

    fn request(&self, rows: Vec<&RunResult>, options: LoadOptions) -> Result<LoadRequest> {
        let asking = self.asking;
        let inputs = rows
            .into_iter()
            .map(|part| arrow_input("result.arrow", &part.rows));
        let time = logical_time::text(asking.logical_ms);
        Ok(LoadRequest {
            inputs: inputs.collect::<Result<Vec<_>>>()?,
            author: asking.owner.name.clone(),
            message: Some(format!("job {}, run of {time}", asking.definition.name)),
            now_ms: asking.engine.now_ms(),
            options,
            progress: Progress::default(),
        })
    }

    /// What a load has done, or the one before it.
    async fn landed_as(&self, loaded: didymium_store::Result<Loaded>) -> Result<Landed> {
        match loaded {
            Ok(loaded) if !loaded.repeated => Ok(Landed {
                made: self.made.clone(),
                // Where it brought nothing new there is no commit of its own.
                version: (loaded.rows > 0).then_some(loaded.version),
                ..Landed::default()
            }),
            // Another server was faster; what it read counts. Or it has made the table only: then again.
            Err(error) if error.kind() != Kind::AlreadyExists => Err(error.into()),
            _ => self.landing.landed().await?.ok_or_else(|| {
                let said = format!("table {}: another server has just made it", self.table);
                didymium_engine::Error::new(ErrorKind::Conflict, said).into()
            }),
        }
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
