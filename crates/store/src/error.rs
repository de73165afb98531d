//! What can go wrong in a store, by what the caller can do about it.

use std::io::ErrorKind;

use crate::Faults;

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A declaration or an argument that can't be meant.
    #[error("{0}")]
    Invalid(String),
    /// A load whose rows break a rule; nothing of it was written.
    #[error("{0}")]
    Faulty(Faults),
    /// There is no such table.
    #[error("there is no table {name}{}", nearest(.similar))]
    UnknownTable {
        /// The name asked for.
        name: String,
        /// Names of tables that look like it.
        similar: Vec<String>,
    },
    /// There is no such view.
    #[error("there is no view {name}{}", nearest(.similar))]
    UnknownView {
        /// The name asked for.
        name: String,
        /// Names of views that look like it.
        similar: Vec<String>,
    },
    /// The thing to be made is there already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The folder or table is not in a state that allows this.
    #[error("{0}")]
    Precondition(String),
    /// Other writers were faster, again and again.
    #[error(
        "table {table}: version {winner} was committed by another writer in each of {attempts} attempts; try again"
    )]
    Conflict {
        /// The table.
        table: String,
        /// The newest version, which is somebody else's.
        winner: u64,
        /// How often we tried.
        attempts: usize,
    },
    /// Stored bytes are missing or not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The storage does not answer, or a write's outcome is not known.
    #[error("{0}")]
    Unavailable(String),
    /// The storage has no room for what was to be written, and it is not there.
    #[error("{0}; make room, then try again")]
    Full(String),
    /// A load whose files hold more than it may, once they are unpacked; nothing of it was written.
    #[error("{0}")]
    TooLarge(String),
    /// A broken promise of our own.
    #[error("{0}")]
    Internal(String),
}

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mend the input.
    InvalidInput,
    /// Name something that exists.
    NotFound,
    /// Use what exists, or another name.
    AlreadyExists,
    /// Change the state of the store first.
    Precondition,
    /// Try again: another writer won.
    Conflict,
    /// Restore from a copy.
    Corrupt,
    /// Wait and try again.
    Unavailable,
    /// Make room first.
    Full,
    /// Load less at once.
    TooLarge,
    /// Report it.
    Internal,
}

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::Faulty(_) => Kind::InvalidInput,
            Self::UnknownTable { .. } | Self::UnknownView { .. } => Kind::NotFound,
            Self::AlreadyExists(_) => Kind::AlreadyExists,
            Self::Precondition(_) => Kind::Precondition,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Corrupt(_) => Kind::Corrupt,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Full(_) => Kind::Full,
            Self::TooLarge(_) => Kind::TooLarge,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// An error of Delta's log, for a table that exists.
    pub(crate) fn from_delta(table: &str, error: deltalake_core::DeltaTableError) -> Self {
        Self::from_storage(&format!("table {table}"), &error)
    }

    /// A failure of the storage, and what it was to be used for.
    pub(crate) fn from_storage(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let said = format!("{what}: {error}");
        let mut cause = Some(error);
        while let Some(error) = cause {
            let kind = error.downcast_ref().map(std::io::Error::kind);
            if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) = kind {
                return Self::Full(said);
            }
            cause = error.source();
        }
        Self::Unavailable(said)
    }
}

fn nearest(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        similar => format!("; did you mean {}?", similar.join(" or ")),
    }
}
