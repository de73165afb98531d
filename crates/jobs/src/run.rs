//! One run of a job, as the history keeps it.

use std::collections::BTreeMap;

use didymium_model::Day;

use crate::Definition;

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its job.
    pub job: String,
    /// The time that it is for, in milliseconds since 1970: with the job, its name.
    pub logical_ms: i64,
    /// Runs of the job for the same time before this one.
    pub sequence: u32,
    /// Why it ran.
    pub kind: RunKind,
    /// What came of it.
    pub status: RunStatus,
    /// When it began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// How often it was tried; 0 where it was skipped.
    pub attempts: u32,
    /// Rows of its result.
    pub rows: Option<u64>,
    /// Bytes of its result.
    pub bytes: Option<u64>,
    /// Why it did not succeed, for programs.
    pub code: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// The version of each table that it read.
    pub versions: BTreeMap<String, u64>,
    /// The day up to which it knew what was published.
    pub known_by: Option<Day>,
    /// SHA-256 of its statement.
    pub sql_sha256: String,
    /// A digest of its rows that does not depend on their order.
    pub rows_digest: Option<String>,
    /// The version of the target table that holds its rows.
    pub committed_version: Option<u64>,
    /// The file that holds its rows.
    pub file: Option<String>,
    /// SHA-256 of that file.
    pub file_sha256: Option<String>,
    /// Whose job it was.
    pub owner: String,
    /// The id of the owner's token.
    pub owner_id: String,
    /// The job as it was then.
    pub definition: Option<Definition>,
}

/// Why a run ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// It was due.
    Scheduled,
    /// It was due while no server ran.
    CatchUp,
    /// Somebody asked for it.
    Manual,
    /// Somebody asked for the runs of a time that has passed.
    Backfill,
}

impl RunKind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Scheduled, Self::CatchUp, Self::Manual, Self::Backfill];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
        }
    }

    /// Whether the schedule made it, so that it settles what was due.
    pub(crate) fn settles(self) -> bool {
        matches!(self, Self::Scheduled | Self::CatchUp)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// Its rows are in the target.
    Succeeded,
    /// None of its rows is.
    Failed,
    /// It was not tried.
    Skipped,
}

impl RunStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Skipped];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}
