//! Where a store lies: in a local folder, or in a bucket.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use tokio::runtime::Handle;
use url::Url;

use crate::local::DurableLocalStore;
use crate::{Error, Result};

/// How long one request may take, and how long it is tried again: less than any client waits.
const REQUEST: Duration = Duration::from_secs(20);
const RETRIES: Duration = Duration::from_secs(10);

/// What the files begin with that a bucket is tried with.
pub(crate) const PROBES: &str = "_didymium/probe-";

/// The place of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A prefix in a bucket of an S3-compatible store. Endpoint, region and keys come from the
    /// environment: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.
    Bucket {
        /// The bucket.
        bucket: String,
        /// The prefix, without slashes at its ends; empty for the whole bucket.
        prefix: String,
    },
}

impl From<&FilePath> for Location {
    fn from(folder: &FilePath) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.contains("://") {
                true => Err("a store is a folder, or s3://BUCKET/PREFIX".to_owned()),
                false => Ok(Self::Folder(text.into())),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("name a bucket: s3://BUCKET/PREFIX".to_owned());
        }
        Ok(Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// A file's bytes; `None` where there is no such file.
pub(crate) async fn read_if_there(
    objects: &dyn ObjectStore,
    location: &Path,
) -> object_store::Result<Option<Bytes>> {
    let read = async { objects.get(location).await?.bytes().await };
    match read.await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files of a location.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    /// Addressed from the store's root.
    pub(crate) inside: Arc<dyn ObjectStore>,
    /// The whole of which the store is a part, and where in it.
    whole: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Url,
}

impl Objects {
    pub(crate) async fn of(location: &Location) -> Result<Self> {
        match location {
            Location::Folder(folder) => Self::of_folder(folder),
            Location::Bucket { bucket, prefix } => Self::of_bucket(bucket, prefix).await,
        }
    }

    fn of_folder(folder: &FilePath) -> Result<Self> {
        let internal = |error: String| Error::Internal(format!("{}: {error}", folder.display()));
        let inside = DurableLocalStore::in_folder(folder).map_err(|error| {
            Error::Unavailable(format!(
                "the store {} can't be read: {error}",
                folder.display()
            ))
        })?;
        let url = Url::from_directory_path(folder)
            .map_err(|()| internal("is no absolute folder".to_owned()))?;
        let prefix =
            Path::from_absolute_path(folder).map_err(|error| internal(error.to_string()))?;
        Ok(Self {
            inside: Arc::new(inside),
            whole: Arc::new(DurableLocalStore::at_root()),
            prefix,
            url,
        })
    }

    async fn of_bucket(bucket: &str, prefix: &str) -> Result<Self> {
        let url = Url::parse(&format!("s3://{bucket}/{prefix}"))
            .map_err(|error| Error::Invalid(format!("s3://{bucket}/{prefix}: {error}")))?;
        let retries = RetryConfig {
            max_retries: 5,
            retry_timeout: RETRIES,
            ..RetryConfig::default()
        };
        // A server of one's own machine needs no encryption.
        let endpoint = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT"].map(|name| std::env::var(name).ok());
        let is_plain = endpoint
            .iter()
            .flatten()
            .any(|url| url.starts_with("http://"));
        let whole = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retries)
            .with_client_options(
                ClientOptions::new()
                    .with_timeout(REQUEST)
                    .with_allow_http(is_plain),
            )
            // The engine's threads wait for no network.
            .with_http_connector(SpawnedReqwestConnector::new(Handle::current()))
            .build()
            .map_err(|error| Error::Precondition(format!("the store {url}: {error}")))?;
        let whole: Arc<dyn ObjectStore> = Arc::new(whole);
        let prefix = Path::from(prefix);
        let objects = Self {
            inside: Arc::new(PrefixStore::new(Arc::clone(&whole), prefix.clone())),
            whole,
            prefix,
            url,
        };
        objects.refuse_without_put_if_absent().await?;
        Ok(objects)
    }

    /// A commit is the first one to write its entry; where the second one overwrites the first,
    /// commits are lost.
    async fn refuse_without_put_if_absent(&self) -> Result<()> {
        let probe = Path::from(format!("{PROBES}{}", uuid::Uuid::new_v4()));
        let put = || async {
            let payload = PutPayload::from_static(b"probe");
            self.inside
                .put_opts(&probe, payload, PutMode::Create.into())
                .await
        };
        let first = put().await;
        first.map_err(|error| {
            let has_keys = std::env::var_os("AWS_ACCESS_KEY_ID").is_some();
            let hint = match has_keys {
                true => "",
                false => "; no keys are set: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
            };
            Error::Unavailable(format!("the store {}: {error}{hint}", self.url))
        })?;
        let second = put().await;
        let _ = self.inside.delete(&probe).await;
        match second {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            _ => Err(Error::Precondition(format!(
                "the store {} does not refuse to overwrite (If-None-Match), so that two writers could undo each other: use one that does",
                self.url
            ))),
        }
    }

    /// The log of the table in a sub-folder.
    pub(crate) fn log_of(&self, table: &str) -> Result<LogStoreRef> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Internal(format!("{} has no folders", self.url)))?
            .pop_if_empty()
            .push(table)
            .push("");
        let folder: Path = self.prefix.parts().chain([table.into()]).collect();
        Ok(default_logstore(
            Arc::new(PrefixStore::new(Arc::clone(&self.whole), folder)),
            Arc::clone(&self.whole),
            &url,
            &StorageConfig::default(),
        ))
    }
}
