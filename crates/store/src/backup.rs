//! Copies of a store: one consistent state, taken while it is in use, and checked on both ways.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::location::{PROBES, read_if_there};
use crate::store::{MARKER, OWN_FOLDER};
use crate::table::is_named_after;
use crate::write::sha256;
use crate::{Error, Location, Result, Store};

/// What a backup holds; written last, so that a copy without it is not whole.
const MANIFEST: &str = "_didymium/backup.json";

/// The state that a backup is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Each table's newest version in it.
    pub tables: BTreeMap<String, u64>,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The last file of a backup: what it is of, and the SHA-256 of each other file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    #[serde(flatten)]
    backup: Backup,
    sha256: BTreeMap<String, String>,
}

impl Manifest {
    /// Writes a file of the copy, and notes it.
    async fn add(&mut self, target: &Store, location: &Path, bytes: Bytes) -> Result<()> {
        self.backup.files += 1;
        self.backup.bytes += bytes.len() as u64;
        self.sha256.insert(location.to_string(), sha256(&bytes));
        target.write(location, bytes).await
    }
}

impl Store {
    /// Copies the store as it is now into a new or empty place, history included, and checks every
    /// data file on the way. Loads may go on meanwhile: they are not in it.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a place that holds something, [`Error::Corrupt`] for a damaged file.
    pub async fn back_up(&self, to: Location) -> Result<Backup> {
        let mut versions = BTreeMap::new();
        for name in self.table_names().await? {
            let version = self.table(&name).await?.snapshot().await?.version();
            versions.insert(name, version);
        }
        let target = Self::create(to).await?;
        if !target.table_names().await?.is_empty() {
            return Err(Error::Precondition(format!(
                "{} holds tables already: name a new or empty place",
                target.location()
            )));
        }
        let mut copy = Manifest::default();
        for (name, version) in &versions {
            self.copy_table(&target, name, *version, &mut copy).await?;
        }
        copy.backup.tables = versions;
        // Views and the like.
        let own: Vec<_> = self
            .objects()
            .list(Some(&Path::from(OWN_FOLDER)))
            .try_collect()
            .await
            .map_err(unreadable)?;
        for object in own {
            let is_own = [MARKER, MANIFEST].contains(&object.location.as_ref());
            if !is_own && !object.location.as_ref().starts_with(PROBES) {
                self.copy(&target, &object.location, &mut copy).await?;
            }
        }
        let manifest =
            serde_json::to_vec_pretty(&copy).map_err(|error| Error::Internal(error.to_string()))?;
        target.write(&Path::from(MANIFEST), manifest.into()).await?;
        Ok(copy.backup)
    }

    /// Copies a backup into a new or empty place, after every file of it was checked.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a place that is no whole backup, [`Error::Corrupt`] where a file of
    /// it is damaged; nothing is restored then.
    pub async fn restore(backup: Location, to: Location) -> Result<Backup> {
        let source = Self::open(backup).await?;
        let manifest = source.read_if_there(&Path::from(MANIFEST)).await?;
        let manifest = manifest.ok_or_else(|| {
            Error::Precondition(format!(
                "{} is no whole backup: it has no {MANIFEST}",
                source.location()
            ))
        })?;
        let stated: Manifest = serde_json::from_slice(&manifest)
            .map_err(|error| Error::Corrupt(format!("{MANIFEST} is damaged: {error}")))?;
        source.check(&stated).await?;
        let restored = source.back_up(to).await?;
        Ok(restored)
    }

    /// Checks that the backup holds what it states, to the byte, and nothing newer.
    async fn check(&self, stated: &Manifest) -> Result<()> {
        for (file, expected) in &stated.sha256 {
            let bytes = self.read_if_there(&Path::from(file.as_str())).await?;
            let found = bytes.map(|bytes| sha256(&bytes));
            if found.as_ref() != Some(expected) {
                let problem = match found {
                    None => "is missing",
                    Some(_) => "is damaged: its content does not match its checksum",
                };
                return Err(Error::Corrupt(format!("{file} {problem}")));
            }
        }
        let mut tables = BTreeMap::new();
        for name in self.table_names().await? {
            let version = self.table(&name).await?.snapshot().await?.version();
            tables.insert(name, version);
        }
        match tables == stated.backup.tables {
            true => Ok(()),
            false => Err(Error::Corrupt(format!(
                "the backup states the tables {:?} and holds {tables:?}",
                stated.backup.tables
            ))),
        }
    }

    async fn copy_table(
        &self,
        target: &Self,
        name: &str,
        newest: u64,
        copy: &mut Manifest,
    ) -> Result<()> {
        let table = self.table(name).await?;
        for path in table.files_ever_named(newest).await? {
            let location = table.location(&path);
            // A purge may have taken it away.
            if let Some(bytes) = self.read_if_there(&location).await? {
                refuse_damaged(&location, &bytes)?;
                copy.add(target, &location, bytes).await?;
            }
        }
        // The log last, so that a table that is there is whole.
        for version in 0..=newest {
            let entry = Path::from_iter([name, "_delta_log", &format!("{version:020}.json")]);
            self.copy(target, &entry, copy).await?;
        }
        Ok(())
    }

    /// Copies one file that must be there.
    async fn copy(&self, target: &Self, location: &Path, copy: &mut Manifest) -> Result<()> {
        let bytes = self.read_if_there(location).await?;
        let bytes = bytes.ok_or_else(|| Error::Corrupt(format!("{location} is missing")))?;
        copy.add(target, location, bytes).await
    }

    async fn read_if_there(&self, location: &Path) -> Result<Option<Bytes>> {
        let read = read_if_there(self.objects().as_ref(), location).await;
        read.map_err(unreadable)
    }

    async fn write(&self, location: &Path, bytes: Bytes) -> Result<()> {
        let put = self.objects().put(location, bytes.into()).await;
        put.map(|_| ())
            .map_err(|error| Error::Unavailable(format!("writing {location}: {error}")))
    }
}

fn refuse_damaged(location: &Path, bytes: &Bytes) -> Result<()> {
    match is_named_after(location.as_ref(), bytes) {
        Some(false) => Err(Error::Corrupt(format!(
            "{location} is damaged: its content does not match its checksum"
        ))),
        // Another program's file has none.
        Some(true) | None => Ok(()),
    }
}

fn unreadable(error: object_store::Error) -> Error {
    Error::Unavailable(format!("the store can't be read: {error}"))
}
