//! What a server does for its store from time to time: compaction and clean-up.

use std::sync::Arc;
use std::time::Duration;

use crate::{Result, Store, Table};

/// Who compacts and cleans, for the tables' history.
const AUTHOR: &str = "didymium upkeep";

/// How a store is looked after.
#[derive(Debug, Clone)]
pub struct Upkeep {
    /// A table is compacted once it has so many more files than its size needs.
    pub loose_files: u64,
    /// Files that no commit names are deleted once they are older.
    pub grace: Duration,
    /// How long versions stay readable that newer ones replaced; `None` keeps them for ever.
    pub history: Option<Duration>,
}

impl Store {
    /// One round: compacts what is due, deletes what killed loads left, ends old history. A table that
    /// fails is told in the program's log and tried in the next round.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] where the store can't be read at all.
    pub async fn look_after(&self, upkeep: &Upkeep, now_ms: i64) -> Result<()> {
        for name in self.table_names().await? {
            let table = self.table(&name).await?;
            if let Err(error) = table.look_after(upkeep, now_ms).await {
                tracing::warn!(table = name, %error, "upkeep");
            }
        }
        let deleted = self.clean(now_ms, millis(upkeep.grace)).await?;
        if deleted > 0 {
            tracing::info!(deleted, "files deleted that no commit names");
        }
        Ok(())
    }
}

impl Table {
    async fn look_after(self: &Arc<Self>, upkeep: &Upkeep, now_ms: i64) -> Result<()> {
        if self.loose_files().await? >= upkeep.loose_files {
            let done = self.compact(AUTHOR, now_ms).await?;
            let (merged, into) = (done.merged, done.into);
            tracing::info!(table = self.name(), merged, into, "compacted");
        }
        if let Some(history) = upkeep.history {
            let before_ms = now_ms.saturating_sub(millis(history));
            let forgotten = self.forget_before(before_ms, AUTHOR, now_ms).await?;
            if forgotten.files > 0 {
                let (files, oldest) = (forgotten.files, forgotten.oldest);
                tracing::info!(table = self.name(), files, oldest, "history ended");
            }
        }
        Ok(())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
