//! Copies of a store: one consistent state, taken while it is in use, and checked on both ways.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::location::read_if_there;
use crate::store::{MARKER, OWN_FOLDER};
use crate::table::is_named_after;
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

impl Backup {
    /// Writes a file of the copy, and counts it.
    async fn add(&mut self, target: &Store, location: &Path, bytes: Bytes) -> Result<()> {
        self.files += 1;
        self.bytes += bytes.len() as u64;
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
        let mut backup = Backup {
            tables: versions,
            ..Backup::default()
        };
        for (name, version) in backup.tables.clone() {
            self.copy_table(&target, &name, version, &mut backup)
                .await?;
        }
        // Views and the like.
        let own: Vec<_> = self
            .objects()
            .list(Some(&Path::from(OWN_FOLDER)))
            .try_collect()
            .await
            .map_err(unreadable)?;
        for object in own {
            if ![MARKER, MANIFEST].contains(&object.location.as_ref()) {
                self.copy(&target, &object.location, &mut backup).await?;
            }
        }
        let manifest = serde_json::to_vec_pretty(&backup)
            .map_err(|error| Error::Internal(error.to_string()))?;
        target.write(&Path::from(MANIFEST), manifest.into()).await?;
        Ok(backup)
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
        let stated: Backup = serde_json::from_slice(&manifest)
            .map_err(|error| Error::Corrupt(format!("{MANIFEST} is damaged: {error}")))?;
        source.check(&stated).await?;
        let restored = source.back_up(to).await?;
        debug_assert_eq!(restored.tables, stated.tables);
        Ok(restored)
    }

    /// Checks that the backup holds what it states, to the byte.
    async fn check(&self, stated: &Backup) -> Result<()> {
        let mut tables = BTreeMap::new();
        for name in self.table_names().await? {
            let table = self.table(&name).await?;
            let snapshot = table.snapshot().await?;
            let mut history = table.files_ever_named(snapshot.version()).await?;
            for file in &snapshot.files {
                table.get(file).await?;
                history.remove(&file.path);
            }
            for path in history {
                // What was purged is not there.
                if let Some(bytes) = table.get_if_there(&path).await? {
                    refuse_damaged(&table.location(&path), &bytes)?;
                }
            }
            tables.insert(name, snapshot.version());
        }
        match tables == stated.tables {
            true => Ok(()),
            false => Err(Error::Corrupt(format!(
                "the backup states the tables {:?} and holds {tables:?}",
                stated.tables
            ))),
        }
    }

    async fn copy_table(
        &self,
        target: &Self,
        name: &str,
        newest: u64,
        backup: &mut Backup,
    ) -> Result<()> {
        let table = self.table(name).await?;
        for path in table.files_ever_named(newest).await? {
            let location = table.location(&path);
            // A purge may have taken it away.
            if let Some(bytes) = self.read_if_there(&location).await? {
                refuse_damaged(&location, &bytes)?;
                backup.add(target, &location, bytes).await?;
            }
        }
        // The log last, so that a table that is there is whole.
        for version in 0..=newest {
            let entry = Path::from_iter([name, "_delta_log", &format!("{version:020}.json")]);
            self.copy(target, &entry, backup).await?;
        }
        Ok(())
    }

    /// Copies one file that must be there.
    async fn copy(&self, target: &Self, location: &Path, backup: &mut Backup) -> Result<()> {
        let bytes = self.read_if_there(location).await?;
        let bytes = bytes.ok_or_else(|| Error::Corrupt(format!("{location} is missing")))?;
        backup.add(target, location, bytes).await
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
