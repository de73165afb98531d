//! The history of runs: a table of the store, one row and one commit a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use didymium_engine::{Engine, ErrorKind, Format, Parameters, QueryRequest, Value};
use didymium_model::Day;
use didymium_store::{Input, InputFormat, JOB_RUNS, LoadOptions, LoadRequest, Progress, job_runs};

use crate::jobs::Job;
use crate::result::encoded;
use crate::run::{Run, RunKind, RunStatus};
use crate::{Error, Result};

/// Who writes the history.
const AUTHOR: &str = "didymium jobs";

/// How often runs are forgotten anew where another one was written meanwhile.
const ATTEMPTS: usize = 10;

/// Runs of a job for one time.
const SEQUENCES: u32 = 1000;

/// Small files of the history that need not be merged.
const FILES: u64 = 32;

/// The history of a store's jobs.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    engine: Arc<Engine>,
}

/// What the history says of a job in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The logical time of the last run that the schedule made, or skipped.
    pub(crate) settled_ms: Option<i64>,
    /// When a run last succeeded.
    pub(crate) succeeded_ms: Option<i64>,
    /// Runs of the schedule's that failed since one of them succeeded, and since the job was resumed.
    pub(crate) failures: u32,
}

const STANDING: &str = "
WITH runs AS (
    SELECT *, kind IN ('scheduled', 'catch_up') AS settles
    FROM system.job_runs WHERE job_name = $job AND owner_id = $owner
),
good AS (SELECT max(ended_at) AS ended_at FROM runs WHERE status = 'succeeded' AND settles)
SELECT max(logical_time) FILTER (WHERE settles) AS settled,
       max(runs.ended_at) FILTER (WHERE status = 'succeeded') AS succeeded,
       count(*) FILTER (
           WHERE status = 'failed' AND settles AND started_at > $since
             AND (good.ended_at IS NULL OR runs.ended_at > good.ended_at)
       ) AS failures
FROM runs CROSS JOIN good";

const LAST: &str = "
SELECT * FROM system.job_runs WHERE job_name = $job AND owner_id = $owner
ORDER BY logical_time DESC, sequence DESC LIMIT 1";

const NEWEST: &str = "
SELECT * FROM system.job_runs
WHERE ($job IS NULL OR job_name = $job) AND ($owner IS NULL OR owner_id = $owner)
  AND ($before IS NULL OR logical_time < $before)
ORDER BY logical_time DESC, job_name, sequence DESC";

const AT: &str = "
SELECT * FROM system.job_runs WHERE job_name = $job AND logical_time = $at ORDER BY sequence DESC";

const SETTLED_AFTER: &str = "
SELECT * FROM system.job_runs
WHERE job_name = $job AND owner_id = $owner AND kind IN ('scheduled', 'catch_up')
  AND logical_time > $after
ORDER BY logical_time";

/// What stays when old runs are forgotten: the young ones, and of each job the one that says how far its
/// schedule has come.
const KEPT: &str = "
SELECT * FROM system.job_runs AS runs
WHERE ended_at >= $since OR logical_time = (
    SELECT max(others.logical_time) FROM system.job_runs AS others
    WHERE others.job_name = runs.job_name AND others.owner_id = runs.owner_id AND others.kind IN ('scheduled', 'catch_up'))";

impl Runs {
    pub(crate) fn of(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Writes down a run that has ended, beside others for the same time. Written down once more it changes
    /// nothing.
    pub(crate) async fn record(&self, run: &Run) -> Result<()> {
        let mut run = run.clone();
        for _ in 0..SEQUENCES {
            let load_id = format!("run {} {} {}", run.job, run.logical_ms, run.sequence);
            let options = LoadOptions {
                load_id: Some(load_id),
                ..LoadOptions::default()
            };
            match self.load(&row(&run)?, options).await {
                // The number is another run's, who may be forgotten by now.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => run.sequence += 1,
                done => return done,
            }
        }
        Err(Error::Precondition(format!(
            "job {}: {SEQUENCES} runs for one time",
            run.job
        )))
    }

    /// What the history says of a job. Another owner's job of the same name is another one.
    pub(crate) async fn standing(&self, job: &Job) -> Result<Standing> {
        let values = [
            ("job", text(&job.definition.name)),
            ("owner", text(&job.owner)),
            ("since", moment(job.active_since_ms)),
        ];
        let rows = self.query(STANDING, values).await?;
        let ms = |column: usize| moments(rows.column(column)).first().copied().flatten();
        let failures = rows.column(2).as_primitive::<Int64Type>();
        Ok(Standing {
            settled_ms: ms(0),
            succeeded_ms: ms(1),
            failures: failures.iter().next().flatten().unwrap_or_default() as u32,
        })
    }

    /// The newest run of a job.
    pub(crate) async fn last(&self, job: &str, owner: &str) -> Result<Option<Run>> {
        let values = [("job", text(job)), ("owner", text(owner))];
        Ok(read(&self.query(LAST, values).await?)?.pop())
    }

    /// The newest runs, of one job or of all, of one owner's or everybody's, before a time.
    pub(crate) async fn newest(
        &self,
        job: Option<&str>,
        owner: Option<&str>,
        before_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Run>> {
        let sql = format!("{NEWEST} LIMIT {limit}");
        let values = [
            ("job", job.map_or(Value::Null, text)),
            ("owner", owner.map_or(Value::Null, text)),
            ("before", before_ms.map_or(Value::Null, moment)),
        ];
        read(&self.query(&sql, values).await?)
    }

    /// The runs of a job for one time, the newest first.
    pub(crate) async fn at(&self, job: &str, logical_ms: i64) -> Result<Vec<Run>> {
        let values = [("job", text(job)), ("at", moment(logical_ms))];
        read(&self.query(AT, values).await?)
    }

    /// What a job's schedule has settled after a time, in order.
    pub(crate) async fn settled_after(
        &self,
        job: &str,
        owner: &str,
        after_ms: i64,
    ) -> Result<Vec<Run>> {
        let values = [
            ("job", text(job)),
            ("owner", text(owner)),
            ("after", moment(after_ms)),
        ];
        read(&self.query(SETTLED_AFTER, values).await?)
    }

    /// The version of the history, which changes with every run.
    pub(crate) async fn version(&self) -> Result<Option<u64>> {
        let store = self.engine.store();
        if !store.has_table(JOB_RUNS).await? {
            return Ok(None);
        }
        let snapshot = store.table(JOB_RUNS).await?.snapshot().await?;
        Ok(Some(snapshot.version()))
    }

    /// Merges the files of the history where there are many: each run writes one.
    pub(crate) async fn compact(&self) -> Result<()> {
        let store = self.engine.store();
        if !store.has_table(JOB_RUNS).await? {
            return Ok(());
        }
        let table = store.table(JOB_RUNS).await?;
        if table.loose_files().await? > FILES {
            table.compact(AUTHOR, self.engine.now_ms()).await?;
        }
        Ok(())
    }

    /// Forgets runs that ended longer ago. Says how many.
    pub(crate) async fn forget(&self, older_than: Duration) -> Result<u64> {
        for _ in 1..ATTEMPTS {
            match self.try_to_forget(older_than).await {
                // A run was written meanwhile: it must not be lost.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
        self.try_to_forget(older_than).await
    }

    async fn try_to_forget(&self, older_than: Duration) -> Result<u64> {
        let Some(version) = self.version().await? else {
            return Ok(0);
        };
        let since_ms = self.engine.now_ms() - older_than.as_millis() as i64;
        let count = "SELECT count(*) FROM system.job_runs";
        let all = self.query(count, []).await?;
        let all = all.column(0).as_primitive::<Int64Type>().value(0) as u64;
        let kept = self.query(KEPT, [("since", moment(since_ms))]).await?;
        let forgotten = all.saturating_sub(kept.num_rows() as u64);
        if forgotten == 0 {
            return Ok(0);
        }
        let options = LoadOptions {
            replace: true,
            over_version: Some(version),
            ..LoadOptions::default()
        };
        self.load(&kept, options).await?;
        Ok(forgotten)
    }

    async fn load(&self, rows: &RecordBatch, options: LoadOptions) -> Result<()> {
        let now_ms = self.engine.now_ms();
        let table = self.engine.store().own_table(&job_runs()?, now_ms).await?;
        let request = LoadRequest {
            inputs: vec![arrow_input("runs.arrow", rows)?],
            author: AUTHOR.to_owned(),
            message: None,
            now_ms,
            options,
            progress: Progress::default(),
        };
        table.load(request).await?;
        Ok(())
    }

    async fn query<const N: usize>(
        &self,
        sql: &str,
        values: [(&str, Value); N],
    ) -> Result<RecordBatch> {
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let request = QueryRequest {
            sql: sql.to_owned(),
            parameters: Parameters {
                named: BTreeMap::from(values),
                ..Parameters::default()
            },
            ..QueryRequest::default()
        };
        Ok(self.engine.query(request).await?.rest().await?)
    }
}

/// Rows as a load takes them.
pub(crate) fn arrow_input(name: &str, rows: &RecordBatch) -> Result<Input> {
    Ok(Input {
        name: name.to_owned(),
        format: InputFormat::Arrow,
        encoding: None,
        bytes: encoded(rows, Format::Arrow)?.into(),
    })
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    let kind = ErrorKind::Internal;
    didymium_engine::Error::new(kind, error.to_string()).into()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn moment(ms: i64) -> Value {
    Value::Timestamp(ms.saturating_mul(1000))
}

/// A run as a row of the table.
fn row(run: &Run) -> Result<RecordBatch> {
    let json = |value: serde_json::Result<String>| value.map_err(|error| internal(&error));
    let definition = run.definition.as_ref().map(serde_json::to_string);
    let definition = definition.map(json).transpose()?;
    let versions = json(serde_json::to_string(&run.versions))?;
    let text = |text: Option<&str>| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let count = |count: Option<u64>| {
        Arc::new(Int64Array::from(vec![count.map(|count| count as i64)])) as ArrayRef
    };
    let time = |ms: i64| {
        let times = TimestampMicrosecondArray::from(vec![ms.saturating_mul(1000)]);
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let known_by = run.known_by.map(Day::days_from_epoch);
    let columns: Vec<ArrayRef> = vec![
        text(Some(&run.job)),
        time(run.logical_ms),
        count(Some(u64::from(run.sequence))),
        text(Some(run.kind.name())),
        text(Some(run.status.name())),
        time(run.started_ms),
        time(run.ended_ms),
        count(Some(u64::from(run.attempts))),
        count(run.rows),
        count(run.bytes),
        text(run.code.as_deref()),
        text(run.message.as_deref()),
        Arc::new(Date32Array::from(vec![known_by])),
        text(Some(&versions)),
        text(Some(&run.sql_sha256)),
        text(run.rows_digest.as_deref()),
        count(run.committed_version),
        text(run.file.as_deref()),
        text(run.file_sha256.as_deref()),
        text(Some(&run.owner)),
        text(Some(&run.owner_id)),
        text(definition.as_deref()),
    ];
    let schema = job_runs()?.schema();
    RecordBatch::try_new(schema, columns).map_err(|error| internal(&error))
}

/// Rows of the table as runs.
fn read(rows: &RecordBatch) -> Result<Vec<Run>> {
    let column = |name: &str| {
        let column = rows.column_by_name(name);
        column.ok_or_else(|| internal(&format!("the history has no column {name}")))
    };
    let texts = |name: &str| -> Result<Vec<Option<String>>> {
        let texts = column(name)?.as_string::<i32>();
        Ok(texts.iter().map(|it| it.map(str::to_owned)).collect())
    };
    let counts = |name: &str| -> Result<Vec<Option<u64>>> {
        let counts = column(name)?.as_primitive::<Int64Type>();
        Ok(counts.iter().map(|it| it.map(|it| it as u64)).collect())
    };
    let times = |name: &str| -> Result<Vec<i64>> {
        let times = moments(column(name)?).into_iter();
        Ok(times.map(Option::unwrap_or_default).collect())
    };
    let (jobs, kinds, statuses) = (texts("job_name")?, texts("kind")?, texts("status")?);
    let (logical, started, ended) = (
        times("logical_time")?,
        times("started_at")?,
        times("ended_at")?,
    );
    let (sequences, attempts) = (counts("sequence")?, counts("attempts")?);
    let (row_counts, bytes) = (counts("rows")?, counts("bytes")?);
    let (codes, messages) = (texts("code")?, texts("message")?);
    let known_by = column("known_by")?.as_primitive::<Date32Type>();
    let (versions, definitions) = (texts("versions")?, texts("definition")?);
    let (sql, digests) = (texts("sql_sha256")?, texts("rows_digest")?);
    let target_versions = counts("target_version")?;
    let (files, file_digests) = (texts("file")?, texts("file_sha256")?);
    let (owners, owner_ids) = (texts("owner")?, texts("owner_id")?);
    let kind = |name: &Option<String>| {
        let mut kinds = RunKind::ALL.into_iter();
        kinds.find(|kind| Some(kind.name()) == name.as_deref())
    };
    let status = |name: &Option<String>| {
        let mut statuses = RunStatus::ALL.into_iter();
        statuses.find(|status| Some(status.name()) == name.as_deref())
    };
    let damaged = || internal(&"the history of jobs has a row that no release wrote");
    (0..rows.num_rows())
        .map(|row| {
            let versions = versions[row].as_deref().unwrap_or("{}");
            let definition = definitions[row].as_deref().map(serde_json::from_str);
            Ok(Run {
                job: jobs[row].clone().unwrap_or_default(),
                logical_ms: logical[row],
                sequence: sequences[row].unwrap_or_default() as u32,
                kind: kind(&kinds[row]).ok_or_else(damaged)?,
                status: status(&statuses[row]).ok_or_else(damaged)?,
                started_ms: started[row],
                ended_ms: ended[row],
                attempts: attempts[row].unwrap_or_default() as u32,
                rows: row_counts[row],
                bytes: bytes[row],
                code: codes[row].clone(),
                message: messages[row].clone(),
                versions: serde_json::from_str(versions).map_err(|_| damaged())?,
                known_by: known_by
                    .is_valid(row)
                    .then(|| Day::from_epoch(known_by.value(row))),
                sql_sha256: sql[row].clone().unwrap_or_default(),
                rows_digest: digests[row].clone(),
                committed_version: target_versions[row],
                file: files[row].clone(),
                file_sha256: file_digests[row].clone(),
                owner: owners[row].clone().unwrap_or_default(),
                owner_id: owner_ids[row].clone().unwrap_or_default(),
                definition: definition.transpose().map_err(|_| damaged())?,
            })
        })
        .collect()
}

/// Times as milliseconds since 1970, whatever their unit and zone.
fn moments(column: &ArrayRef) -> Vec<Option<i64>> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let Ok(column) = cast(column, &micros) else {
        return vec![None; column.len()];
    };
    let times = column.as_primitive::<TimestampMicrosecondType>();
    times
        .iter()
        .map(|it| it.map(|us| us.div_euclid(1000)))
        .collect()
}
