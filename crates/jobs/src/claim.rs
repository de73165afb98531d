//! Whose run a file is: said before the file is written, so that it is known wherever the server was killed.

use std::sync::Arc;

use didymium_store::{Exports, OwnFolder, Store};
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::landing::Made;
use crate::{Error, Result, logical_time};

/// What is said of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    file: String,
    job: String,
    logical_time: String,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// What its rows were made from.
    pub(crate) made: Made,
}

/// The files of one run's job.
pub(crate) struct Files<'a> {
    pub(crate) store: &'a Arc<Store>,
    pub(crate) exports: &'a Exports,
    pub(crate) job: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) logical_ms: i64,
}

impl Files<'_> {
    /// The claim of the run on its file, where the file is there.
    ///
    /// # Errors
    /// [`Error::Precondition`] for a file that is another's.
    pub(crate) async fn written(&self, file: &str) -> Result<Option<Claim>> {
        let claim = self.claim(file).await?;
        let Some(there) = self.exports.get(file).await? else {
            return Ok(None);
        };
        match claim {
            Some(claim) if claim.sha256 == sha256(&there) => Ok(Some(claim)),
            _ => Err(Error::Precondition(format!(
                "the file {file} is there already, and this run has not written it: move it away, or change the job's path"
            ))),
        }
    }

    /// Writes the file where it is not there. Gives the claim on what is there then.
    ///
    /// # Errors
    /// As [`Self::written`].
    pub(crate) async fn write(&self, file: &str, content: Vec<u8>, made: Made) -> Result<Claim> {
        // Written meanwhile by an attempt that was slow.
        if let Some(claim) = self.written(file).await? {
            return Ok(claim);
        }
        let claim = Claim {
            file: file.to_owned(),
            job: self.job.to_owned(),
            logical_time: logical_time::text(self.logical_ms),
            sha256: sha256(&content),
            made,
        };
        // One of an attempt that was cut off before it wrote is of no use any more.
        let is_claimed = self.claim(file).await?.is_some();
        let text = serde_json::to_vec_pretty(&claim)
            .map_err(|error| Error::Precondition(error.to_string()))?;
        self.store
            .put_own_file(OwnFolder::Claims, &name(file), text, is_claimed)
            .await?;
        // Whoever was faster: what is said of the file decides.
        self.claim(file).await?;
        if self.exports.put(file, content.into()).await? {
            return Ok(claim);
        }
        let written = self.written(file).await?;
        written.ok_or_else(|| Error::Precondition(format!("the file {file} has gone")))
    }

    /// The run's own claim on a file.
    ///
    /// # Errors
    /// [`Error::Precondition`] where another run has one.
    async fn claim(&self, file: &str) -> Result<Option<Claim>> {
        let claim = self.store.own_file(OwnFolder::Claims, &name(file)).await?;
        let Some(claim) = claim else {
            return Ok(None);
        };
        let claim: Claim = serde_json::from_slice(&claim).map_err(|_| {
            Error::Precondition(format!("what is said of the file {file} is damaged"))
        })?;
        let time = logical_time::text(self.logical_ms);
        let is_ours = claim.job == self.job && claim.made.owner == self.owner;
        match is_ours && claim.logical_time == time {
            true => Ok(Some(claim)),
            false => Err(Error::Precondition(format!(
                "the file {file} is that of the job {}, run of {}: name the job in the path, {{job}}",
                claim.job, claim.logical_time
            ))),
        }
    }
}

/// A name for what is said of a file.
fn name(file: &str) -> String {
    sha256(file.as_bytes())
}
