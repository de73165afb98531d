//! A run made again from the versions that it read.

use std::collections::BTreeMap;

use crate::definition::Target;
use crate::digest::sha256;
use crate::executor::Executor;
use crate::result::{Asking, Pins, encoded};
use crate::run::{Run, RunStatus};
use crate::{Error, Result, logical_time};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The rows that it gave.
    pub rows: u64,
    /// Whether they are those of the run.
    pub rows_equal: bool,
    /// Whether its file would be the same, to the byte; `None` where it wrote none.
    pub file_equal: Option<bool>,
    /// The versions that both read.
    pub versions: BTreeMap<String, u64>,
}

/// Runs the statement of a run again, as its job was then, and compares. Nothing is written.
pub(crate) async fn replay(executor: &Executor, run: &Run) -> Result<Replayed> {
    let name = format!(
        "the run of {} for {}",
        run.job,
        logical_time::text(run.logical_ms)
    );
    let refused = |what: &str| Error::Precondition(format!("{name} {what}"));
    if run.status != RunStatus::Succeeded {
        return Err(refused("did not succeed: there is nothing to compare with"));
    }
    let (Some(definition), Some(digest)) = (&run.definition, &run.rows_digest) else {
        return Err(refused(
            "was cut off before it noted what it read, and can't be made again",
        ));
    };
    let owner = executor.owners.owner(&run.owner_id).await?;
    let owner = owner.ok_or_else(|| {
        Error::Unauthenticated(format!(
            "the token of its owner {} may not run jobs any more",
            run.owner
        ))
    })?;
    let asking = Asking {
        engine: &executor.engine,
        definition,
        owner: &owner,
        logical_ms: run.logical_ms,
        pins: Pins {
            known_by: run.known_by,
            versions: run.versions.clone(),
        },
    };
    let _slot = executor.slots.acquire().await;
    let result = asking.result().await?;
    let file_equal = match (&definition.target, &run.file_sha256) {
        (Target::File { path }, Some(expected)) => {
            Some(sha256(&encoded(&result.rows, path.format())?) == *expected)
        }
        _ => None,
    };
    Ok(Replayed {
        rows: result.rows.num_rows() as u64,
        rows_equal: result.digest == *digest,
        file_equal,
        versions: result.versions,
    })
}
