//! Verification: every file of every table, against its checksum.

use crate::table::has_checksum;
use crate::{Error, Result, Store};

/// Something that is not as it should be, or can't be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: String,
    /// The file, from the table's folder; empty for the log.
    pub file: String,
    /// What is the matter with it.
    pub problem: Problem,
}

/// What can be the matter with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Its content is not what was written, or it is gone.
    Damaged,
    /// Another program wrote it, without a checksum and without a check of its keys.
    Unchecked,
    /// The table has a feature that is not read.
    Unsupported,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Reads every live file of every table. What is damaged is a finding and not an error.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage does not answer.
    pub async fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for name in self.table_names().await? {
            let table = self.table(&name).await?;
            let finding = |file: &str, problem: Problem| Finding {
                table: name.clone(),
                file: file.to_owned(),
                problem,
            };
            let read = async {
                let snapshot = table.snapshot().await?;
                // Another program may have taken old entries of a table of its own away.
                if snapshot.declaration().is_some() {
                    table.check_entries(0..=snapshot.version()).await?;
                }
                Ok(snapshot)
            };
            let snapshot = match read.await {
                Ok(snapshot) => snapshot,
                Err(Error::Corrupt(_)) => {
                    verified.findings.push(finding("", Problem::Damaged));
                    continue;
                }
                Err(Error::Precondition(_)) => {
                    verified.findings.push(finding("", Problem::Unsupported));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for file in &snapshot.files {
                verified.files += 1;
                verified.bytes += file.bytes;
                match table.get(file).await {
                    Ok(_) if !has_checksum(file) => {
                        verified
                            .findings
                            .push(finding(&file.path, Problem::Unchecked));
                    }
                    Ok(_) => {}
                    Err(Error::Corrupt(_)) => {
                        verified
                            .findings
                            .push(finding(&file.path, Problem::Damaged));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(verified)
    }
}
