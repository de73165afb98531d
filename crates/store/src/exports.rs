//! Files that are made of the store's figures for others: written whole, and never twice.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode};

use crate::location::{Objects, read_if_there};
use crate::store::OWN_FOLDER;
use crate::{Error, Location, Result, Store};

/// A folder of such files.
#[derive(Debug, Clone)]
pub struct Exports {
    objects: Arc<dyn ObjectStore>,
}

impl Exports {
    /// The folder within a store.
    pub fn within(store: &Store) -> Self {
        let folder = Path::from_iter([OWN_FOLDER, "exports"]);
        Self {
            objects: Arc::new(PrefixStore::new(store.objects(), folder)),
        }
    }

    /// A folder elsewhere, made where it is not there.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a bucket that can't refuse to overwrite, [`Error::Unavailable`] where the
    /// folder can't be made or read.
    pub async fn at(location: &Location) -> Result<Self> {
        if let Location::Folder(folder) = location {
            fs::create_dir_all(folder).map_err(|error| {
                Error::from_storage(&format!("the folder of exports {location}"), &error)
            })?;
        }
        let objects = Objects::of(location).await?;
        Ok(Self {
            objects: objects.inside,
        })
    }

    /// Writes a file where there is none, durably. Says whether it did.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Unavailable`] where the storage fails.
    pub async fn put(&self, path: &str, content: Bytes) -> Result<bool> {
        let mode = PutMode::Create.into();
        match self
            .objects
            .put_opts(&Path::from(path), content.into(), mode)
            .await
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(Error::from_storage(&format!("writing {path}"), &error)),
        }
    }

    /// A file's content; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let read = read_if_there(self.objects.as_ref(), &Path::from(path)).await;
        read.map_err(|error| Error::from_storage(&format!("reading {path}"), &error))
    }
}
