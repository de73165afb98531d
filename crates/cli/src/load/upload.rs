//! Loading through a server: the files go as one stream.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::task::Poll;

use didymium_api::v1::ingest_request::Payload;
use didymium_api::v1::ingest_service_client::IngestServiceClient;
use didymium_api::v1::{FileHeader, IngestHeader, IngestRequest, IngestResponse};
use didymium_store::{Fault, Faults, Loaded};
use futures::Stream;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use super::watch::bar;
use super::{Done, author, named, unreadable};
use crate::args::LoadArgs;
use crate::failure::{Failure, read_text};
use crate::rows::date;
use crate::target::Connection;

/// Bytes of a file in one message.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Messages that wait for a slow connection.
const WAITING: usize = 4;

/// Sends the files and says what the server made of them.
pub(super) async fn load(connection: Connection, args: LoadArgs) -> Result<Done, Failure> {
    for file in &args.files {
        named(file)?;
    }
    let header = header(&args)?;
    let sizes = args.files.iter().filter_map(|it| it.metadata().ok());
    let bar = bar(Some(sizes.map(|it| it.len()).sum()));
    let sent = bar.clone();
    let (sender, parts) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || {
        send(
            header,
            &args.files,
            args.encoding.as_deref(),
            &sender,
            &sent,
        )
    });
    let mut client = IngestServiceClient::new(connection);
    let mut answer = std::pin::pin!(client.ingest(stream(parts)));
    // Where a file can't be read the call is dropped, and the server loads nothing.
    let response = tokio::select! {
        response = &mut answer => response?,
        read = reading => {
            read.map_err(|error| Failure::own(error.to_string()))??;
            bar.set_message("the server checks and writes");
            answer.await?
        }
    };
    bar.finish_and_clear();
    done(response.into_inner())
}

fn header(args: &LoadArgs) -> Result<IngestHeader, Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mapping = args.map.as_deref().map(read_text).transpose()?;
    Ok(IngestHeader {
        replace: args.replace,
        table: args.table.clone(),
        load_id: text(&args.load_id),
        source_id: text(&args.source),
        published_on: args.published_on.and_then(date),
        message: text(&args.message),
        supersede: text(&args.supersede),
        mapping: mapping.unwrap_or_default(),
        create: args.create,
        dry_run: args.dry_run,
        author: author(),
    })
}

/// Reads the files and sends them; `None` is the end. Stops where nobody listens any more.
fn send(
    header: IngestHeader,
    files: &[PathBuf],
    encoding: Option<&str>,
    sender: &mpsc::Sender<Option<Payload>>,
    sent: &ProgressBar,
) -> Result<(), Failure> {
    let is_heard = |payload| sender.blocking_send(payload).is_ok();
    if !is_heard(Some(Payload::Header(header))) {
        return Ok(());
    }
    for path in files {
        let (name, _) = named(path)?;
        let start = FileHeader {
            name,
            encoding: encoding.unwrap_or_default().to_owned(),
            ..FileHeader::default()
        };
        if !is_heard(Some(Payload::File(start))) {
            return Ok(());
        }
        let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
        while let Some(chunk) = next(&mut file, path)? {
            let bytes = chunk.len() as u64;
            if !is_heard(Some(Payload::Chunk(chunk))) {
                return Ok(());
            }
            sent.inc(bytes);
        }
    }
    let _ = sender.blocking_send(None);
    Ok(())
}

fn next(file: &mut File, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let read = file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
    read.map_err(|error| unreadable(path, &error))?;
    Ok((!chunk.is_empty()).then_some(chunk))
}

/// The parts as the call sends them. One that was broken off never ends: it must not pass for whole.
fn stream(mut parts: mpsc::Receiver<Option<Payload>>) -> impl Stream<Item = IngestRequest> {
    futures::stream::poll_fn(move |context| match parts.poll_recv(context) {
        Poll::Ready(Some(Some(payload))) => Poll::Ready(Some(IngestRequest {
            payload: Some(payload),
        })),
        Poll::Ready(Some(None)) => Poll::Ready(None),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    })
}

fn done(response: IngestResponse) -> Result<Done, Failure> {
    if response.fault_count > 0 {
        let shown = response.faults.into_iter().map(|fault| Fault {
            file: fault.file,
            row: fault.row,
            column: fault.column,
            rule: fault.rule,
            value: (!fault.value.is_empty()).then_some(fault.value),
        });
        let faults = Faults::told(shown.collect(), response.fault_count);
        return Err(Failure::own(faults.to_string()));
    }
    let declaration = (!response.declaration.is_empty()).then_some(response.declaration);
    let loaded = Loaded {
        version: response.version,
        load_id: response.load_id,
        rows: response.rows,
        unchanged: response.unchanged,
        superseded: response.superseded,
        repeated: response.repeated,
    };
    Ok((loaded, declaration))
}
