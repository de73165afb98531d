//! A table's commits, as its log tells of them.

use serde_json::Value;

use crate::commit::actions;
use crate::embargo::Span;
use crate::{Result, Snapshot, Table};

/// One commit of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitRecord {
    /// The version that it made.
    pub version: u64,
    /// When, in milliseconds since 1970.
    pub committed_ms: Option<i64>,
    /// What it did, in Delta's words.
    pub operation: Option<String>,
    /// Who committed.
    pub author: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// The load, where it was one.
    pub load_id: Option<String>,
    /// What tells the load from another of the same id.
    pub load_digest: Option<String>,
    /// The names of the files that were loaded.
    pub inputs: Vec<String>,
    /// Their SHA-256, in their order.
    pub input_sha256: Option<String>,
    /// Why rows of the table were corrected or taken away.
    pub reason: Option<String>,
    /// What made the rows, as its maker wrote it.
    pub made_by: Option<String>,
    /// Rows in the files that it added.
    pub rows_added: u64,
    /// Their sources, file by file.
    pub(crate) added: Vec<Span>,
}

impl CommitRecord {
    /// Whether it brought rows, rather than put the same ones into other files.
    pub fn brings_rows(&self) -> bool {
        self.rows_added > 0 && self.operation.as_deref() != Some("OPTIMIZE")
    }
}

impl Table {
    /// Every commit up to the snapshot's version, the first one first.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] where the log can't be read.
    pub async fn history(&self, snapshot: &Snapshot) -> Result<Vec<CommitRecord>> {
        let mut commits = Vec::new();
        for version in 0..=snapshot.version() {
            commits.push(self.record(version).await?);
        }
        Ok(commits)
    }

    /// The commits up to the snapshot's version that are newer than a time, the first one first.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] where the log can't be read.
    pub async fn commits_after(
        &self,
        snapshot: &Snapshot,
        after_ms: i64,
    ) -> Result<Vec<CommitRecord>> {
        let mut commits = Vec::new();
        for version in (0..=snapshot.version()).rev() {
            let commit = self.record(version).await?;
            // Times never go back along the log.
            if commit.committed_ms.is_some_and(|time| time <= after_ms) {
                break;
            }
            commits.push(commit);
        }
        commits.reverse();
        Ok(commits)
    }

    /// One commit.
    pub(crate) async fn record(&self, version: u64) -> Result<CommitRecord> {
        let entry = self.entry(version).await?;
        Ok(record(version, entry.as_deref().unwrap_or_default()))
    }
}

fn record(version: u64, entry: &[u8]) -> CommitRecord {
    let mut record = CommitRecord {
        version,
        ..CommitRecord::default()
    };
    for action in actions(entry) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(info) = action.get("commitInfo") {
            record.committed_ms = info["timestamp"].as_i64();
            record.operation = text(&info["operation"]);
            let ours = &info["didymium"];
            record.author = text(&ours["author"]);
            record.message = text(&ours["message"]);
            record.load_id = text(&ours["loadId"]);
            record.load_digest = text(&ours["loadDigest"]);
            let inputs = ours["inputs"].as_array().into_iter().flatten();
            record.inputs = inputs.filter_map(text).collect();
            record.input_sha256 = text(&ours["inputSha256"]);
            record.reason = text(&ours["reason"]);
            record.made_by = text(&ours["madeBy"]);
        }
        if let Some(add) = action.get("add") {
            let statistics = add["stats"].as_str().unwrap_or_default();
            let statistics: Value = serde_json::from_str(statistics).unwrap_or_default();
            record.rows_added += statistics["numRecords"].as_u64().unwrap_or_default();
            record.added.push(Span::of_add(add, &statistics));
        }
    }
    record
}
