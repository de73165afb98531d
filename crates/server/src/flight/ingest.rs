//! `CommandStatementIngest`: a stream of rows becomes one load.

use std::panic::AssertUnwindSafe;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::StreamWriter;
use arrow_flight::FlightData;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use didymium_engine::{CATALOG_NAME, ErrorKind, SCHEMA_NAMES};
use didymium_model::Day;
use didymium_store::{Input, InputFormat, LoadOptions, LoadRequest, Progress};
use futures::stream::BoxStream;
use futures::{FutureExt, TryStreamExt};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::rows::{decoded, status_of};
use super::{Flight, transactions};
use crate::caller::{Caller, Role};
use crate::loads::Held;
use crate::request::invalid;
use crate::status::{failed, refused};

/// The most batches of a bind: a query takes one row.
const BOUND_BATCHES: usize = 16;

/// What they may take: as much as a request with its parameters by gRPC.
const BOUND_BYTES: usize = 1024 * 1024;

impl Flight {
    /// Loads the rows, and says how many there were.
    pub(super) async fn ingest(
        &self,
        command: CommandStatementIngest,
        data: BoxStream<'static, Result<FlightData, Status>>,
        caller: &Caller,
        headers: &MetadataMap,
    ) -> Result<i64, Status> {
        transactions::refuse(command.transaction_id.as_ref())?;
        let table = table_of(&command)?;
        let options = options_of(&command, headers)?;
        // Before its rows take memory.
        caller.require(Role::Write)?;
        let definition = command.table_definition_options.unwrap_or_default();
        let exists = self.is_there(&table, caller).await?;
        let (create, replace) = match (exists, definition.if_not_exist(), definition.if_exists()) {
            (false, TableNotExistOption::Create, _) => (true, false),
            (true, _, TableExistsOption::Fail) => {
                return Err(refused(
                    ErrorKind::AlreadyExists,
                    format!("there is a table {table} already: append to it, or replace its rows"),
                ));
            }
            (_, _, if_exists) => (false, if_exists == TableExistsOption::Replace),
        };
        let mut held = Held::default();
        let (bytes, rows) = self.ipc_stream(data, &mut held).await?;
        let request = LoadRequest {
            inputs: vec![Input {
                name: "rows".to_owned(),
                format: InputFormat::Arrow,
                encoding: None,
                bytes: bytes.into(),
            }],
            author: caller.name.clone(),
            message: given(headers, "message"),
            now_ms: self.desk.engine.now_ms(),
            options: LoadOptions { replace, ..options },
            progress: Progress::default(),
        };
        self.desk
            .load(caller, &table, request, create, held)
            .await
            .map_err(Status::from)?;
        Ok(rows)
    }

    async fn is_there(&self, table: &str, caller: &Caller) -> Result<bool, Status> {
        if !caller.grants.allows(table) {
            return Ok(false);
        }
        let there = self.desk.engine.store().has_table(table).await;
        there.map_err(|error| failed(&error.into()))
    }

    /// The rows as the one load path takes them.
    async fn ipc_stream(
        &self,
        data: BoxStream<'static, Result<FlightData, Status>>,
        held: &mut Held,
    ) -> Result<(Vec<u8>, i64), Status> {
        let unwritable = |error| invalid(format!("the rows can't be read: {error}"));
        let begun = |schema: &Schema| StreamWriter::try_new(Vec::new(), schema).map_err(unwritable);
        let mut writer: Option<StreamWriter<Vec<u8>>> = None;
        let (mut rows, mut known) = (0, 0);
        let mut batches = decoded(data);
        // Flight's decoder panics on some malformed schemas.
        while let Some(batch) = unpanicked(batches.try_next()).await? {
            let stream = match &mut writer {
                Some(stream) => stream,
                none => none.insert(begun(&batch.schema())?),
            };
            stream.write(&batch).map_err(unwritable)?;
            rows += batch.num_rows() as i64;
            let written = stream.get_ref().len();
            self.desk.loads.hold(written - known, held)?;
            known = written;
        }
        // A frame without rows comes as its schema alone.
        let writer = match (writer, batches.schema()) {
            (Some(writer), _) => writer,
            (None, Some(schema)) => begun(schema)?,
            (None, None) => return Err(invalid("the stream holds no schema")),
        };
        Ok((writer.into_inner().map_err(unwritable)?, rows))
    }
}

/// The rows of a bind, which are few.
pub(super) async fn batches(
    data: BoxStream<'static, Result<FlightData, Status>>,
) -> Result<Vec<RecordBatch>, Status> {
    let mut batches = Vec::new();
    let mut bytes = 0;
    let mut stream = decoded(data);
    while let Some(batch) = unpanicked(stream.try_next()).await? {
        bytes += batch.get_array_memory_size();
        batches.push(batch);
        if batches.len() > BOUND_BATCHES || bytes > BOUND_BYTES {
            return Err(invalid(
                "a query takes one row of parameters, of at most 1 MiB",
            ));
        }
    }
    Ok(batches)
}

async fn unpanicked<T>(read: impl Future<Output = Result<T, FlightError>>) -> Result<T, Status> {
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(read) => read.map_err(status_of),
        Err(_) => Err(invalid("the rows can't be read: their schema is malformed")),
    }
}

fn table_of(command: &CommandStatementIngest) -> Result<String, Status> {
    if command.temporary {
        return Err(refused(
            ErrorKind::Unsupported,
            "there are no temporary tables: load into a table, and drop it when it has served",
        ));
    }
    let catalog = command.catalog.as_deref().unwrap_or(CATALOG_NAME);
    let schema = command.schema.as_deref().unwrap_or(SCHEMA_NAMES[0]);
    if (catalog, schema) != (CATALOG_NAME, SCHEMA_NAMES[0]) {
        return Err(invalid(format!(
            "{catalog}.{schema}: tables lie in {CATALOG_NAME}.{}",
            SCHEMA_NAMES[0]
        )));
    }
    Ok(command.table.clone())
}

/// How the rows are loaded, by headers or by the command's own options.
fn options_of(
    command: &CommandStatementIngest,
    headers: &MetadataMap,
) -> Result<LoadOptions, Status> {
    let option = |name: &str| {
        let own = command.options.get(name).cloned();
        own.or_else(|| given(headers, &name.replace('_', "-")))
    };
    let published_on = option("published_on").map(|text| {
        Day::parse(&text).ok_or_else(|| {
            invalid(format!(
                "published_on: '{text}' is no day such as 2024-07-01"
            ))
        })
    });
    Ok(LoadOptions {
        source_id: option("source_id"),
        published_on: published_on.transpose()?,
        load_id: option("load_id"),
        supersede: option("supersede"),
        ..LoadOptions::default()
    })
}

fn given(headers: &MetadataMap, name: &str) -> Option<String> {
    let value = headers.get(format!("didymium-{name}"))?;
    value.to_str().ok().map(str::to_owned)
}
