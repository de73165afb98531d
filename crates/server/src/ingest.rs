//! `IngestService`: the files of one stream become one commit.

use std::sync::Arc;

use didymium_api::v1::ingest_request::Payload;
use didymium_api::v1::ingest_service_server::IngestService;
use didymium_api::v1::{Fault, FileHeader, Format, IngestHeader, IngestRequest, IngestResponse};
use didymium_store::{Faults, Input, InputFormat, LoadOptions, LoadRequest, Mapping, Progress};
use tonic::{Request, Response, Status, Streaming};

use crate::call::within;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::loads::{Held, Loads, MAY_LAND, Refused};
use crate::request::{day, grpc_timeout, invalid};
use crate::status::failed;

/// The service over one desk's store.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) desk: Arc<Desk>,
}

#[tonic::async_trait]
impl IngestService for Ingest {
    async fn ingest(
        &self,
        request: Request<Streaming<IngestRequest>>,
    ) -> Result<Response<IngestResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let load = self.load(request.into_inner(), &caller);
        within(deadline, load, MAY_LAND).await.map(Response::new)
    }
}

impl Ingest {
    async fn load(
        &self,
        stream: Streaming<IngestRequest>,
        caller: &Caller,
    ) -> Result<IngestResponse, Status> {
        let gathered = Gathered::of(stream, &self.desk.loads).await?;
        let (table, create) = (gathered.header.table.clone(), gathered.header.create);
        let (mut request, held) = gathered.into_request(self.desk.engine.now_ms())?;
        request.author = caller.author(request.author);
        let dry_run = request.options.dry_run;
        let loaded = self.desk.load(caller, &table, request, create, held).await;
        let (loaded, declaration) = match loaded {
            Ok(loaded) => loaded,
            Err(Refused::Faulty(faults)) if dry_run => return Ok(faulty(&faults)),
            Err(refused) => return Err(refused.into()),
        };
        let declaration = declaration.map(|it| it.to_toml()).transpose();
        let declaration = declaration.map_err(|error| failed(&error.into()))?;
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
    held: Held,
}

impl Gathered {
    async fn of(mut stream: Streaming<IngestRequest>, loads: &Loads) -> Result<Self, Status> {
        let first = stream.message().await?.and_then(|first| first.payload);
        let Some(Payload::Header(header)) = first else {
            return Err(invalid("the first message of a load must be its header"));
        };
        let mut gathered = Self {
            header,
            files: Vec::new(),
            held: Held::default(),
        };
        while let Some(message) = stream.message().await? {
            match message.payload {
                Some(Payload::File(file)) => gathered.files.push((file, Vec::new())),
                Some(Payload::Chunk(bytes)) => gathered.add(&bytes, loads)?,
                Some(Payload::Header(_)) => {
                    return Err(invalid("a load has one header"));
                }
                // What a newer client may say.
                None => {}
            }
        }
        Ok(gathered)
    }

    fn add(&mut self, bytes: &[u8], loads: &Loads) -> Result<(), Status> {
        let Some((_, file)) = self.files.last_mut() else {
            return Err(invalid("a file's header must come before its bytes"));
        };
        loads.hold(bytes.len(), &mut self.held)?;
        file.extend_from_slice(bytes);
        Ok(())
    }

    /// The store's request for the load, and the memory that it takes.
    fn into_request(self, now_ms: i64) -> Result<(LoadRequest, Held), Status> {
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
                replace: header.replace,
                dry_run: header.dry_run,
                ..LoadOptions::default()
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
