//! The store's own small files: views, keys, tokens, jobs. None is a table, and no statement reads them.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::location::read_if_there;
use crate::store::OWN_FOLDER;
use crate::{Error, Result, Store};

/// What a file of a kind is called: `_didymium/<folder>/<name>.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnFolder {
    /// Views, by their names.
    Views,
    /// Keys that sign what clients keep for the server, by their numbers.
    Keys,
    /// Tokens, by their ids.
    Tokens,
    /// Jobs, by their names.
    Jobs,
    /// Leases of the right to run jobs, by their numbers.
    Leases,
    /// What is said of the files that runs of jobs write, by a hash of their paths.
    Claims,
}

impl OwnFolder {
    fn name(self) -> &'static str {
        match self {
            Self::Views => "views",
            Self::Keys => "keys",
            Self::Tokens => "tokens",
            Self::Jobs => "jobs",
            Self::Leases => "leases",
            Self::Claims => "claims",
        }
    }

    fn path(self) -> Path {
        Path::from_iter([OWN_FOLDER, self.name()])
    }

    fn file(self, name: &str) -> Path {
        Path::from_iter([OWN_FOLDER, self.name(), &format!("{name}.json")])
    }
}

impl Store {
    /// The names of a folder's files, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn own_names(&self, folder: OwnFolder) -> Result<Vec<String>> {
        let (objects, path) = (self.objects(), folder.path());
        let files = objects.list(Some(&path)).try_collect::<Vec<_>>().await;
        let files = files.map_err(|error| unreachable(folder, &error))?;
        let names = files.iter().filter_map(|file| {
            let name = file.location.filename()?.strip_suffix(".json")?;
            Some(name.to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// A file's content; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn own_file(&self, folder: OwnFolder, name: &str) -> Result<Option<Vec<u8>>> {
        let objects = self.objects();
        let read = read_if_there(objects.as_ref(), &folder.file(name)).await;
        let read = read.map_err(|error| unreachable(folder, &error))?;
        Ok(read.map(|bytes| bytes.to_vec()))
    }

    /// Writes a file; without `replace` only where there is none. Says whether it did.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn put_own_file(
        &self,
        folder: OwnFolder,
        name: &str,
        content: Vec<u8>,
        replace: bool,
    ) -> Result<bool> {
        let mode = match replace {
            true => PutMode::Overwrite,
            false => PutMode::Create,
        };
        let (objects, file) = (self.objects(), folder.file(name));
        match objects.put_opts(&file, content.into(), mode.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(unreachable(folder, &error)),
        }
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn delete_own_file(&self, folder: OwnFolder, name: &str) -> Result<()> {
        let deleted = self.objects().delete(&folder.file(name)).await;
        deleted.map_err(|error| unreachable(folder, &error))
    }
}

fn unreachable(folder: OwnFolder, error: &object_store::Error) -> Error {
    Error::from_storage(&format!("the store's {}", folder.name()), error)
}
