//! Strict commits: exactly the version after the one that was read, or an error.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{
    CommitBuilder, CommitProperties, PostCommit, TableReference, TransactionError,
};
use deltalake_core::kernel::{Action, CommitInfo, Transaction};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::DeltaOperation;
use serde_json::{Value, json};

use crate::write::sha256;
use crate::{Error, Result};

/// What is written of a commit beside its actions.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) table: String,
    /// Who commits.
    pub(crate) author: String,
    pub(crate) message: Option<String>,
    /// The load, for idempotency: one load id lands once.
    pub(crate) load_id: Option<String>,
    /// What tells the load from another of the same id.
    pub(crate) load_digest: Option<String>,
    /// The input files' names.
    pub(crate) inputs: Vec<String>,
    /// Their SHA-256, in their order.
    pub(crate) input_sha256: Option<String>,
    /// Why rows of the table were corrected or taken away.
    pub(crate) reason: Option<String>,
    /// What made the rows, as its maker writes it.
    pub(crate) made_by: Option<String>,
    /// The files that are deleted, of older versions too.
    pub(crate) purged: Vec<String>,
    pub(crate) now_ms: i64,
    pub(crate) operation: DeltaOperation,
}

/// How a strict commit ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is durable as this version.
    Committed(u64),
    /// Another writer took the version; nothing was written.
    Lost,
}

impl Commit {
    /// One without a load.
    pub(crate) fn new(table: &str, author: &str, now_ms: i64, operation: DeltaOperation) -> Self {
        Self {
            table: table.to_owned(),
            author: author.to_owned(),
            message: None,
            load_id: None,
            load_digest: None,
            inputs: Vec::new(),
            input_sha256: None,
            reason: None,
            made_by: None,
            purged: Vec::new(),
            now_ms,
            operation,
        }
    }
}

/// How often a change that lost a race is checked and committed anew.
pub(crate) const ATTEMPTS: usize = 15;

/// Waits before an attempt that is not the first: any time within a span that doubles, so that rivals
/// part however long their commits take.
pub(crate) async fn wait_before(attempt: usize) {
    if attempt == 0 {
        return;
    }
    let span_ms = 10_u128 << attempt.min(7);
    let wait_ms = uuid::Uuid::new_v4().as_u128() % span_ms;
    tokio::time::sleep(Duration::from_millis(wait_ms as u64)).await;
}

/// The name under which a load's transaction stands in the log.
pub(crate) fn application(load_id: &str) -> String {
    format!("didymium.load.{load_id}")
}

impl Commit {
    /// Commits `actions` as the version after the one that `read` shows, or as version 0.
    ///
    /// Delta's own rebase is never used: its conflict check lets two writers both replace one file.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the outcome can't be known or the storage failed; a file that
    /// the commit names must then be kept.
    pub(crate) async fn run(
        &self,
        log: &LogStoreRef,
        read: Option<&dyn TableReference>,
        actions: Vec<Action>,
    ) -> Result<Outcome> {
        let version = read.map_or(0, |read| read.eager_snapshot().version() + 1);
        let mut actions = actions;
        let nonce = uuid::Uuid::new_v4().to_string();
        let lines = actions.iter().map(serde_json::to_value);
        let lines = lines.collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(|error| Error::Internal(error.to_string()))?;
        let info = self.info(log, version, &nonce, &digest(&lines)).await?;
        actions.insert(0, Action::CommitInfo(info));
        let mut properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(true)
            .with_cleanup_expired_logs(Some(false));
        if let Some(load_id) = &self.load_id {
            properties = properties.with_application_transaction(Transaction {
                app_id: application(load_id),
                version: version as i64,
                last_updated: Some(self.now_ms),
            });
        }
        let prepared = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(read, Arc::clone(log), self.operation.clone())
            .into_prepared_commit_future()
            .await
            .map_err(|error| Error::from_delta(&self.table, error))?;
        match prepared.await {
            Ok(post_commit) => {
                self.finish(post_commit).await;
                Ok(Outcome::Committed(version))
            }
            Err(error) => self.outcome_after(log, version, &nonce, error).await,
        }
    }

    /// The checkpoint, after the commit is durable: a failure here is not the commit's.
    async fn finish(&self, post_commit: PostCommit) {
        if let Err(error) = post_commit.await {
            tracing::warn!(table = self.table, %error, "no checkpoint was written");
        }
    }

    /// After an error the log itself says what happened.
    async fn outcome_after(
        &self,
        log: &LogStoreRef,
        version: u64,
        nonce: &str,
        error: DeltaTableError,
    ) -> Result<Outcome> {
        let entry = log.read_commit_entry(version).await.map_err(|unreadable| {
            Error::Unavailable(format!(
                "table {}: {error}; whether version {version} was committed is not known ({unreadable}): load again, a load lands only once",
                self.table
            ))
        })?;
        let lost = matches!(
            &error,
            DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_)
                    | TransactionError::VersionAlreadyExists(_)
            }
        );
        match entry {
            // It landed, though the answer did not come back.
            Some(entry) if is_of(&entry, nonce) => Ok(Outcome::Committed(version)),
            Some(_) => Ok(Outcome::Lost),
            None if lost => Ok(Outcome::Lost),
            None => Err(Error::from_delta(&self.table, error)),
        }
    }

    /// Our own commit information, with a time that never goes back along the log.
    async fn info(
        &self,
        log: &LogStoreRef,
        version: u64,
        nonce: &str,
        digest: &str,
    ) -> Result<CommitInfo> {
        let previous = match version.checked_sub(1) {
            None => None,
            Some(previous) => log
                .read_commit_entry(previous)
                .await
                .map_err(|error| Error::from_delta(&self.table, error))?
                .and_then(|entry| timestamp(&entry)),
        };
        let timestamp = previous.map_or(self.now_ms, |previous| self.now_ms.max(previous + 1));
        let details = json!({
            "nonce": nonce,
            "author": self.author,
            "message": self.message,
            "loadId": self.load_id,
            "loadDigest": self.load_digest,
            "inputs": self.inputs,
            "reason": self.reason,
            "madeBy": self.made_by,
            "purged": self.purged,
            "inputSha256": self.input_sha256,
            "digest": digest,
        });
        Ok(CommitInfo {
            timestamp: Some(timestamp),
            operation: Some(self.operation.name().to_owned()),
            read_version: version.checked_sub(1),
            engine_info: Some(concat!("didymium ", env!("CARGO_PKG_VERSION")).to_owned()),
            info: HashMap::from([("didymium".to_owned(), details)]),
            ..CommitInfo::default()
        })
    }
}

/// What tells whether an entry still says what was written: the SHA-256 of the lines that decide which
/// rows a table has. Nothing in Delta checks them.
fn digest(lines: &[Value]) -> String {
    const DECIDING: [&str; 4] = ["add", "metaData", "protocol", "remove"];
    let decides = |line: &&Value| DECIDING.iter().any(|kind| line.get(kind).is_some());
    let mut texts: Vec<String> = lines.iter().filter(decides).map(in_order).collect();
    texts.sort_unstable();
    sha256(texts.join("\n").as_bytes())
}

/// A value as text that does not depend on the order of its keys.
fn in_order(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", in_order(value)))
                .collect();
            fields.sort_unstable();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(in_order).collect();
            format!("[{}]", items.join(","))
        }
        value => value.to_string(),
    }
}

/// Whether an entry is whole: it has lines, and where we wrote them each is what it was.
pub(crate) fn is_whole(entry: &[u8]) -> bool {
    let lines: Vec<Value> = actions(entry).collect();
    let written = entry
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    if lines.is_empty() || lines.len() != written.count() {
        return false;
    }
    let ours = |line: &Value| {
        line["commitInfo"]["didymium"]["digest"]
            .as_str()
            .map(str::to_owned)
    };
    match lines.iter().find_map(ours) {
        Some(written) => written == digest(&lines),
        // Another program's.
        None => true,
    }
}

/// The lines of a log entry.
pub(crate) fn actions(entry: &[u8]) -> impl Iterator<Item = Value> + '_ {
    entry
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}

/// When a commit was made, in milliseconds since 1970.
pub(crate) fn timestamp(entry: &[u8]) -> Option<i64> {
    actions(entry).find_map(|action| action["commitInfo"]["timestamp"].as_i64())
}

/// The files that a commit deleted for good.
pub(crate) fn purged(entry: &[u8]) -> Vec<String> {
    let files = actions(entry).filter_map(|action| {
        let files = action["commitInfo"]["didymium"]["purged"]
            .as_array()?
            .clone();
        Some(
            files
                .into_iter()
                .filter_map(|file| file.as_str().map(str::to_owned)),
        )
    });
    files.flatten().collect()
}

/// Whether a log entry is that of the commit with this nonce.
fn is_of(entry: &[u8], nonce: &str) -> bool {
    actions(entry).any(|action| action["commitInfo"]["didymium"]["nonce"].as_str() == Some(nonce))
}
