//! A run's rows, and what they were made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use didymium_engine::{
    Engine, ErrorKind, Format, FormatEncoder, Given, Parameters, QueryRequest, RunsOf, Value,
    bytes_of,
};
use didymium_model::Day;

use crate::definition::{Definition, RESULT};
use crate::digest::rows_digest;
use crate::jobs::Owner;
use crate::{Error, Result, logical_time};

/// Bytes of a run's rows, which wait in memory for its checks.
const RESULT_BYTES: usize = 256 * 1024 * 1024;

/// What a run's queries are bound to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    /// The day up to which they know.
    pub(crate) known_by: Option<Day>,
    /// The versions of tables that are not the newest.
    pub(crate) versions: BTreeMap<String, u64>,
}

/// The rows of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: RecordBatch,
    pub(crate) bytes: usize,
    /// The versions of all tables that it read.
    pub(crate) versions: BTreeMap<String, u64>,
    pub(crate) digest: String,
}

/// One run's way to ask.
pub(crate) struct Asking<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) definition: &'a Definition,
    pub(crate) owner: &'a Owner,
    pub(crate) logical_ms: i64,
    pub(crate) pins: Pins,
}

impl Asking<'_> {
    /// Runs the job's statement.
    pub(crate) async fn result(&self) -> Result<RunResult> {
        let request = self.request(&self.definition.sql);
        let (schema, batches, versions) = self.rows(request).await?;
        let bytes = batches.iter().map(bytes_of).sum::<Result<usize, _>>()?;
        let digest = rows_digest(&schema, &batches)?;
        let rows = concat_batches(&schema, &batches).map_err(too_large)?;
        Ok(RunResult {
            schema,
            rows,
            bytes,
            versions,
            digest,
        })
    }

    /// Runs the job's checks over its rows.
    ///
    /// # Errors
    /// [`Error::Check`] for the first that finds something.
    pub(crate) async fn check(&self, result: &RunResult) -> Result<()> {
        for check in &self.definition.checks {
            let mut request = self.request(&check.sql);
            // A check of the result against the figures sees the same figures.
            request.versions.extend(result.versions.clone());
            request.given = given(result);
            let (schema, batches, _) = self.rows(request).await?;
            let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
            if count > 0 {
                let rows = concat_batches(&schema, &batches).map_err(too_large)?;
                return Err(Error::Check {
                    check: check.name.clone(),
                    count,
                    first: shown(&rows.slice(0, rows.num_rows().min(SHOWN))),
                });
            }
        }
        Ok(())
    }

    /// A statement of the job's over other tables as well.
    pub(crate) async fn over(
        &self,
        sql: String,
        given: BTreeMap<String, Given>,
        versions: BTreeMap<String, u64>,
    ) -> Result<RecordBatch> {
        let mut request = self.request(&sql);
        request.given = given;
        request.versions.extend(versions);
        let (schema, batches, _) = self.rows(request).await?;
        concat_batches(&schema, &batches).map_err(too_large)
    }

    /// A request in the owner's name, bound to what the run is bound to.
    pub(crate) fn request(&self, sql: &str) -> QueryRequest {
        let own = self.definition.parameters.iter();
        let own = own.map(|(name, value)| (name.clone(), value.value()));
        let zone = self.definition.schedule.zone();
        let mut offered: BTreeMap<String, Value> = own.collect();
        offered.extend(logical_time::run_values(self.logical_ms, zone));
        QueryRequest {
            sql: sql.to_owned(),
            timeout: Some(self.definition.policy.timeout),
            parameters: Parameters {
                offered,
                ..Parameters::default()
            },
            published_as_of: self.pins.known_by,
            versions: self.pins.versions.clone(),
            grants: self.owner.grants.clone(),
            may_write: self.owner.may_write,
            author: self.owner.name.clone(),
            runs_of: match self.owner.oversees {
                true => RunsOf::Everybody,
                false => RunsOf::Owner(self.owner.id.clone()),
            },
            ..QueryRequest::default()
        }
    }

    async fn rows(
        &self,
        request: QueryRequest,
    ) -> Result<(SchemaRef, Vec<RecordBatch>, BTreeMap<String, u64>)> {
        let mut result = self.engine.query(request).await?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(rows) = result.next().await {
            let rows = rows?;
            bytes += bytes_of(&rows)?;
            if bytes > RESULT_BYTES {
                let said = format!(
                    "a run's rows take more than {} MiB: let the job give fewer, by GROUP BY or for a shorter time",
                    RESULT_BYTES / 1024 / 1024
                );
                return Err(didymium_engine::Error::new(ErrorKind::OutOfRange, said).into());
            }
            batches.push(rows);
        }
        Ok((
            Arc::clone(result.schema()),
            batches,
            result.versions().clone(),
        ))
    }
}

/// Rows as a file.
pub(crate) fn encoded(rows: &RecordBatch, format: Format) -> Result<Vec<u8>> {
    let mut encoder = FormatEncoder::new(format, &rows.schema())?;
    let mut bytes = encoder.encode(rows)?;
    bytes.extend(encoder.finish()?);
    Ok(bytes)
}

/// The rows as the table `result`.
pub(crate) fn given(result: &RunResult) -> BTreeMap<String, Given> {
    let given = Given {
        schema: Arc::clone(&result.schema),
        rows: Arc::new(vec![result.rows.clone()]),
    };
    BTreeMap::from([(RESULT.to_owned(), given)])
}

/// Rows that a failed check shows.
const SHOWN: usize = 3;

/// Rows in a line of text, for people.
fn shown(rows: &RecordBatch) -> String {
    const LONGEST: usize = 500;
    let cell = |column: usize, row: usize| {
        let text = arrow::util::display::array_value_to_string(rows.column(column), row);
        format!(
            "{}={}",
            rows.schema().field(column).name(),
            text.unwrap_or_default()
        )
    };
    let lines = (0..rows.num_rows()).map(|row| {
        let cells = (0..rows.num_columns()).map(|column| cell(column, row));
        cells.collect::<Vec<_>>().join(", ")
    });
    let text = lines.collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn too_large(error: arrow::error::ArrowError) -> Error {
    didymium_engine::Error::new(
        ErrorKind::OutOfRange,
        format!("the rows do not fit into one table: {error}"),
    )
    .into()
}
