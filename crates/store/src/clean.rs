//! What loads leave behind that were killed, and tables that are dropped.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::local::remove_staged;
use crate::location::PROBES;
use crate::store::OWN_FOLDER;
use crate::{Error, Location, Result, Store};

impl Store {
    /// Deletes files that no commit ever named and that are older than `grace_ms`: those of loads that
    /// were killed. Gives how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage does not answer.
    pub async fn clean(&self, now_ms: i64, grace_ms: i64) -> Result<u64> {
        let mut deleted = 0;
        let is_old = |modified_ms: i64| modified_ms < now_ms - grace_ms;
        for name in self.table_names().await? {
            let table = self.table(&name).await?;
            // The list first: a file that is written later is not in it.
            let files = self.files_of(&name).await?;
            let Ok(snapshot) = table.snapshot().await else {
                // What a damaged log names is not known.
                continue;
            };
            let named = table.files_ever_named(snapshot.version()).await?;
            for file in files {
                let path = file.location.filename().unwrap_or_default();
                let is_data = file.location.extension() == Some("parquet")
                    && file.location.parts().count() == 2;
                if is_data && !named.contains(path) && is_old(file.last_modified.timestamp_millis())
                {
                    self.objects()
                        .delete(&file.location)
                        .await
                        .map_err(|error| unwritable(&error))?;
                    deleted += 1;
                }
            }
        }
        for probe in self.files_of(OWN_FOLDER).await? {
            let is_probe = probe.location.as_ref().starts_with(PROBES);
            if is_probe && is_old(probe.last_modified.timestamp_millis()) {
                let deleting = self.objects().delete(&probe.location).await;
                deleting.map_err(|error| unwritable(&error))?;
                deleted += 1;
            }
        }
        if let Location::Folder(folder) = self.location() {
            let (folder, before_ms) = (folder.clone(), now_ms - grace_ms);
            let staged = tokio::task::spawn_blocking(move || remove_staged(&folder, before_ms));
            let staged = staged
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
            deleted += staged.map_err(|error| unwritable(&error))?;
        }
        Ok(deleted)
    }

    /// Deletes a table with all its history. Its log goes first and from its end, so that a table
    /// whose removal was interrupted is an older version of itself, or gone.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], [`Error::Unavailable`] where the storage does not answer.
    pub async fn drop_table(&self, name: &str) -> Result<()> {
        self.table(name).await?;
        let mut files = self.files_of(name).await?;
        let is_log = |file: &ObjectMeta| file.location.as_ref().contains("/_delta_log/");
        let is_entry = |file: &ObjectMeta| file.location.extension() == Some("json");
        // Checkpoints and hints, then entries from the last to the first, then data.
        files.sort_by(|a, b| {
            let rank = |file: &ObjectMeta| match (is_log(file), is_entry(file)) {
                (true, false) => 0,
                (true, true) if file.location.filename() == Some("_last_checkpoint") => 0,
                (true, true) => 1,
                (false, _) => 2,
            };
            rank(a)
                .cmp(&rank(b))
                .then_with(|| b.location.cmp(&a.location))
        });
        for file in files {
            match self.objects().delete(&file.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unwritable(&error)),
            }
        }
        self.forget(name);
        Ok(())
    }

    async fn files_of(&self, table: &str) -> Result<Vec<ObjectMeta>> {
        let listed = self.objects().list(Some(&Path::from(table))).try_collect();
        listed.await.map_err(|error: object_store::Error| {
            Error::Unavailable(format!("the store can't be read: {error}"))
        })
    }
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::Unavailable(format!("the store can't be written: {error}"))
}
