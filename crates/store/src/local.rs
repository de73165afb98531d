//! A local folder as an object store whose writes survive a power cut.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, UploadPart,
};

use crate::store::OWN_FOLDER;

/// [`LocalFileSystem`] for reading, with writes of our own: it never flushes to the disk.
///
/// A file is written under another name, flushed, given its name, and then the folders that lead to
/// it are flushed. So a name only ever stands for a whole file, after a power cut too, and what was
/// acknowledged is there.
#[derive(Debug, Clone)]
pub(crate) struct DurableLocalStore {
    inner: Arc<LocalFileSystem>,
}

impl DurableLocalStore {
    /// The whole file system, addressed by absolute paths.
    pub(crate) fn at_root() -> Self {
        Self {
            inner: Arc::new(LocalFileSystem::new()),
        }
    }

    /// One folder, addressed from there.
    pub(crate) fn in_folder(folder: &FilePath) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(LocalFileSystem::new_with_prefix(folder)?),
        })
    }
}

impl fmt::Display for DurableLocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "durable {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableLocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "conditional overwrite".to_owned(),
                implementer: self.to_string(),
            });
        }
        let create = options.mode == PutMode::Create;
        let file = self.inner.path_to_filesystem(location)?;
        let written =
            tokio::task::spawn_blocking(move || write_durably(&file, &payload, create)).await;
        match written.map_err(|error| failed(error.into()))? {
            Ok(()) => Ok(PutResult {
                e_tag: None,
                version: None,
            }),
            Err(source) if create && source.kind() == ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists {
                    path: location.to_string(),
                    source: source.into(),
                })
            }
            Err(source) => Err(failed(source.into())),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(CollectedUpload {
            store: self.clone(),
            location: location.clone(),
            parts: Vec::new(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    /// Copies by reading and writing, so that the copy is as durable as any other file.
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get(from).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, bytes.into(), mode.into()).await?;
        Ok(())
    }
}

/// Writes a whole file; with `create`, fails where the name is taken.
fn write_durably(file: &FilePath, payload: &PutPayload, create: bool) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(FilePath::new("/"));
    fs::create_dir_all(folder)?;
    let staged = staging_name(file);
    let named = write_and_flush(&staged, payload).and_then(|()| {
        if create {
            fs::hard_link(&staged, file)
        } else {
            fs::rename(&staged, file)
        }
    });
    // Under `create` the staged name is one too many even when all went well.
    if create || named.is_err() {
        let _ = fs::remove_file(&staged);
    }
    named?;
    flush_folders(folder)
}

/// Removes staged files that were last written before a time: their writers were killed.
pub(crate) fn remove_staged(root: &FilePath, before_ms: i64) -> std::io::Result<u64> {
    let mut removed = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let modified = data
                .modified()?
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let is_old = (modified.as_millis() as i64) < before_ms;
            if is_old && is_staging_name(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn is_staging_name(name: &str) -> bool {
    let Some((_, digits)) = name.rsplit_once('#') else {
        return false;
    };
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether a file is one of the keys that sign, which nobody else on the machine may read.
fn is_secret(file: &FilePath) -> bool {
    let folder = FilePath::new(OWN_FOLDER).join("keys");
    file.parent().is_some_and(|parent| parent.ends_with(folder))
}

fn write_and_flush(staged: &FilePath, payload: &PutPayload) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if is_secret(staged) {
        options.mode(0o600);
    }
    let mut file = options.open(staged)?;
    payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
    file.sync_all()
}

/// A name in the same folder that listings leave out: `#` and digits, as [`LocalFileSystem`] has it.
fn staging_name(file: &FilePath) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
    name.into()
}

/// A new file is only there after a crash if its folder's entry is, and the folder's own.
fn flush_folders(folder: &FilePath) -> std::io::Result<()> {
    for folder in folder.ancestors().take(3) {
        match File::open(folder) {
            Ok(folder) => folder.sync_all()?,
            // A parent that we may not open was not made by us.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: "local folder",
        source,
    }
}

/// An upload in parts that becomes one durable put. Delta uploads nothing this way but checkpoints,
/// which are small.
#[derive(Debug)]
struct CollectedUpload {
    store: DurableLocalStore,
    location: Path,
    parts: Vec<bytes::Bytes>,
}

#[async_trait]
impl MultipartUpload for CollectedUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.extend(part);
        std::future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = PutPayload::from_iter(std::mem::take(&mut self.parts));
        self.store.put(&self.location, payload).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
