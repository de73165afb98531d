//! `IngestService`: the files of one stream become one commit.

use std::sync::Arc;
use std::time::Duration;

use didymium_api::v1::ingest_request::Payload;
use didymium_api::v1::ingest_service_server::IngestService;
use didymium_api::v1::{Fault, FileHeader, Format, IngestHeader, IngestRequest, IngestResponse};
use didymium_engine::{Engine, ErrorKind};
use didymium_store::{Faults, Input, InputFormat, LoadOptions, LoadRequest, Mapping, Progress};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::request::{day, grpc_timeout, invalid};
use crate::status::{refused, status};

/// How much sooner than the transport this service tells that the time has passed: the transport would
/// call it a cancellation.
const TELLING: Duration = Duration::from_millis(20);

/// The service over one engine's store.
#[derive(Debug)]
pub(crate) struct Ingest {
    engine: Arc<Engine>,
    /// A permit for each byte that loads may hold.
    memory: Arc<Semaphore>,
}

impl Ingest {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let bytes = engine.limits().load_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            engine,
            memory: Arc::new(Semaphore::new(bytes)),
        }
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    async fn ingest(
        &self,
        request: Request<Streaming<IngestRequest>>,
    ) -> Result<Response<IngestResponse>, Status> {
        let deadline = grpc_timeout(request.metadata());
        let load = self.load(request.into_inner());
        let Some(time) = deadline else {
            return load.await.map(Response::new);
        };
        match tokio::time::timeout(time.saturating_sub(TELLING), load).await {
            Ok(loaded) => loaded.map(Response::new),
            Err(_) => Err(refused(
                ErrorKind::Deadline,
                format!(
                    "the load took longer than {time:?} and may still land: load again under the same id, a load lands only once"
                ),
            )),
        }
    }
}

impl Ingest {
    async fn load(&self, stream: Streaming<IngestRequest>) -> Result<IngestResponse, Status> {
        let id = Uuid::new_v4().to_string();
        let gathered = Gathered::of(stream, &self.memory).await?;
        let (table, create) = (gathered.header.table.clone(), gathered.header.create);
        let (request, held) = gathered.into_request(self.engine.now_ms())?;
        let dry_run = request.options.dry_run;
        tracing::info!(id, table, files = request.inputs.len(), dry_run, "load");
        let store = Arc::clone(self.engine.store());
        #[expect(
            clippy::disallowed_methods,
            reason = "a client that leaves stops no load half way: it lands, or it leaves nothing behind"
        )]
        let load = tokio::spawn(async move {
            let loaded = store.load(&table, request, create).await;
            drop(held);
            loaded
        });
        let loaded = load
            .await
            .map_err(|error| refused(ErrorKind::Internal, format!("the load stopped: {error}")))?;
        let (loaded, declaration) = match loaded {
            Ok(loaded) => loaded,
            Err(didymium_store::Error::Faulty(faults)) if dry_run => return Ok(faulty(&faults)),
            Err(error) => return Err(status(&error.into(), &id)),
        };
        let declaration = declaration.map(|it| it.to_toml()).transpose();
        let declaration = declaration.map_err(|error| status(&error.into(), &id))?;
        tracing::info!(
            id,
            rows = loaded.rows,
            version = loaded.version,
            "load done"
        );
        Ok(IngestResponse {
            version: loaded.version,
            load_id: loaded.load_id,
            rows: loaded.rows,
            unchanged: loaded.unchanged,
            superseded: loaded.superseded,
            repeated: loaded.repeated,
            declaration: declaration.unwrap_or_default(),
            faults: Vec::new(),
            fault_count: 0,
        })
    }
}

/// A stream's parts in one place.
struct Gathered {
    header: IngestHeader,
    files: Vec<(FileHeader, Vec<u8>)>,
    /// The memory that the files take.
    held: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    async fn of(
        mut stream: Streaming<IngestRequest>,
        memory: &Arc<Semaphore>,
    ) -> Result<Self, Status> {
        let first = stream.message().await?.and_then(|first| first.payload);
        let Some(Payload::Header(header)) = first else {
            return Err(invalid("the first message of a load must be its header"));
        };
        let mut gathered = Self {
            header,
            files: Vec::new(),
            held: None,
        };
        while let Some(message) = stream.message().await? {
            match message.payload {
                Some(Payload::File(file)) => gathered.files.push((file, Vec::new())),
                Some(Payload::Chunk(bytes)) => gathered.add(&bytes, memory)?,
                Some(Payload::Header(_)) => {
                    return Err(invalid("a load has one header"));
                }
                // What a newer client may say.
                None => {}
            }
        }
        Ok(gathered)
    }

    fn add(&mut self, bytes: &[u8], memory: &Arc<Semaphore>) -> Result<(), Status> {
        let Some((_, file)) = self.files.last_mut() else {
            return Err(invalid("a file's header must come before its bytes"));
        };
        let permit = u32::try_from(bytes.len())
            .ok()
            .and_then(|count| Arc::clone(memory).try_acquire_many_owned(count).ok());
        let Some(permit) = permit else {
            return Err(refused(
                ErrorKind::OverLimit,
                "the loads under way are larger than what the server takes at once (--load-memory): load in parts, or later",
            ));
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            held @ None => *held = Some(permit),
        }
        file.extend_from_slice(bytes);
        Ok(())
    }

    /// The store's request for the load, and the memory that it takes.
    fn into_request(
        self,
        now_ms: i64,
    ) -> Result<(LoadRequest, Option<OwnedSemaphorePermit>), Status> {
        if self.files.is_empty() {
            return Err(invalid("the load has no files"));
        }
        let header = self.header;
        let published_on = header
            .published_on
            .map(|date| day("published_on", date))
            .transpose()?;
        let mapping = given(header.mapping).map(|text| Mapping::parse(&text));
        let mapping = mapping
            .transpose()
            .map_err(|error| invalid(error.to_string()))?;
        let request = LoadRequest {
            inputs: self
                .files
                .into_iter()
                .map(|(file, bytes)| input(file, bytes))
                .collect::<Result<_, _>>()?,
            author: given(header.author).unwrap_or_else(|| "unknown".to_owned()),
            message: given(header.message),
            now_ms,
            options: LoadOptions {
                mapping,
                source_id: given(header.source_id),
                published_on,
                load_id: given(header.load_id),
                supersede: given(header.supersede),
                dry_run: header.dry_run,
            },
            progress: Progress::default(),
        };
        Ok((request, self.held))
    }
}

/// A text that was set: the wire has no other word for one that was not.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn input(file: FileHeader, bytes: Vec<u8>) -> Result<Input, Status> {
    let format = match file.format() {
        Format::Csv => Some(InputFormat::Csv),
        Format::Ndjson => Some(InputFormat::NdJson),
        Format::Parquet => Some(InputFormat::Parquet),
        Format::Arrow => Some(InputFormat::Arrow),
        Format::Unspecified => InputFormat::of_name(&file.name),
    };
    let format = format.ok_or_else(|| {
        invalid(format!(
            "file '{}': name its format, or end its name in .csv, .tsv, .ndjson, .parquet or .arrow",
            file.name
        ))
    })?;
    Ok(Input {
        name: file.name,
        format,
        encoding: given(file.encoding),
        bytes: bytes.into(),
    })
}

/// What a dry run tells of a load that would be refused.
fn faulty(faults: &Faults) -> IngestResponse {
    let shown = faults.shown().iter().map(|fault| Fault {
        file: fault.file.clone(),
        row: fault.row,
        column: fault.column.clone(),
        rule: fault.rule.clone(),
        value: fault.value.clone().unwrap_or_default(),
    });
    IngestResponse {
        faults: shown.collect(),
        fault_count: faults.count(),
        ..IngestResponse::default()
    }
}
