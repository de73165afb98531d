//! The end of history: files of old versions that no newer one needs are deleted once the operator says so.

use std::collections::BTreeSet;

use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::protocol::DeltaOperation;

use crate::commit::{ATTEMPTS, Commit, Outcome, actions, timestamp, wait_before};
use crate::{Error, Result, Table};

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// The oldest version that can be read.
    pub oldest: u64,
    /// The files that were deleted.
    pub files: u64,
}

impl Table {
    /// Deletes the files that only versions need which were not the newest at any time since `before_ms`.
    /// No row is lost that a version since then holds; every vintage stays.
    ///
    /// # Errors
    /// [`Error::Conflict`] after lost races, when nothing has changed; [`Error::Unavailable`] where the
    /// storage fails.
    pub async fn forget_before(
        &self,
        before_ms: i64,
        author: &str,
        now_ms: i64,
    ) -> Result<Forgotten> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (snapshot, delta) = self.refreshed().await?;
            let oldest = self.newest_at(before_ms, snapshot.version()).await?;
            let gone = self.only_before(oldest, snapshot.version()).await?;
            let nothing = Forgotten { oldest, files: 0 };
            if gone.is_empty() {
                return Ok(nothing);
            }
            let files = gone.len();
            let commit = Commit {
                message: Some(format!("delete {files} files of versions before {oldest}")),
                purged: gone.iter().cloned().collect(),
                ..Commit::new(
                    self.name(),
                    author,
                    now_ms,
                    DeltaOperation::VacuumEnd {
                        status: "COMPLETED".to_owned(),
                    },
                )
            };
            let read: &dyn TableReference = &delta;
            if let Outcome::Committed(_) = commit.run(self.log(), Some(read), Vec::new()).await? {
                // Only now: a pin that needs them is refused from here on.
                self.discard(gone.iter().map(String::as_str)).await;
                return Ok(Forgotten {
                    files: files as u64,
                    ..nothing
                });
            }
        }
        Err(self.lost(self.snapshot().await?.version(), ATTEMPTS))
    }

    /// The version that was the newest at a time; the first where there was none yet.
    async fn newest_at(&self, time_ms: i64, newest: u64) -> Result<u64> {
        for version in (1..=newest).rev() {
            let entry = self.entry(version).await?;
            if entry
                .as_deref()
                .and_then(timestamp)
                .is_some_and(|at| at <= time_ms)
            {
                return Ok(version);
            }
        }
        Ok(0)
    }

    /// The files that are there and that no version from `oldest` on needs.
    async fn only_before(&self, oldest: u64, newest: u64) -> Result<BTreeSet<String>> {
        let mut live = BTreeSet::new();
        let mut dead = BTreeSet::new();
        for version in 0..=newest {
            let entry = self.entry(version).await?.ok_or_else(|| {
                Error::Corrupt(format!(
                    "table {}: version {version} is missing",
                    self.name()
                ))
            })?;
            for action in actions(&entry) {
                if let Some(path) = action["add"]["path"].as_str() {
                    dead.remove(path);
                    live.insert(path.to_owned());
                }
                // What goes in a later version is still part of the oldest one.
                if let Some(path) = action["remove"]["path"].as_str()
                    && version <= oldest
                    && live.remove(path)
                {
                    dead.insert(path.to_owned());
                }
                for path in action["commitInfo"]["didymium"]["purged"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    dead.remove(path.as_str().unwrap_or_default());
                }
            }
        }
        Ok(dead)
    }
}
