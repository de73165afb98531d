//! What can go wrong with a job.

use didymium_engine::ErrorKind;

/// The result of what concerns jobs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A definition that can't be meant.
    #[error("{0}")]
    Invalid(String),
    /// There is no such job, or no such run of it.
    #[error("{0}")]
    Unknown(String),
    /// There is a job of this name.
    #[error("there is a job {0} already: update it, or choose another name")]
    AlreadyExists(String),
    /// A job or a run is in no state that allows this.
    #[error("{0}")]
    Precondition(String),
    /// Its owner may not run it any more.
    #[error("{0}")]
    Unauthenticated(String),
    /// A job's file in the store is damaged.
    #[error("the job {0}: its file is damaged")]
    Damaged(String),
    /// A check of a run's rows found something; nothing landed.
    #[error("the check '{check}' found {count} {}: {first}", if *.count == 1 { "row" } else { "rows" })]
    Check {
        /// The check.
        check: String,
        /// How many rows it gave.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// Another server runs the jobs of this store now.
    #[error("another server runs the jobs of this store now")]
    Superseded,
    /// A query or a load failed.
    #[error(transparent)]
    Engine(#[from] didymium_engine::Error),
}

impl Error {
    /// What its caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidInput,
            Self::Unknown(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Precondition(_) | Self::Check { .. } => ErrorKind::Precondition,
            Self::Unauthenticated(_) => ErrorKind::Denied,
            Self::Damaged(_) => ErrorKind::Corrupt,
            Self::Superseded => ErrorKind::Unavailable,
            Self::Engine(error) => error.kind(),
        }
    }

    /// Its name for programs, as a run's history has it: gRPC's word where there is one.
    pub(crate) fn code(&self) -> &'static str {
        match self.kind() {
            _ if matches!(self, Self::Unauthenticated(_)) => "UNAUTHENTICATED",
            _ if matches!(self, Self::Check { .. }) => "CHECK_FAILED",
            ErrorKind::InvalidInput => "INVALID_ARGUMENT",
            ErrorKind::NotFound => "NOT_FOUND",
            ErrorKind::Denied => "PERMISSION_DENIED",
            ErrorKind::AlreadyExists => "ALREADY_EXISTS",
            ErrorKind::Precondition => "FAILED_PRECONDITION",
            ErrorKind::Conflict => "ABORTED",
            ErrorKind::OutOfRange => "OUT_OF_RANGE",
            ErrorKind::OverLimit => "RESOURCE_EXHAUSTED",
            ErrorKind::Deadline => "DEADLINE_EXCEEDED",
            ErrorKind::Cancelled => "CANCELLED",
            ErrorKind::Unavailable => "UNAVAILABLE",
            ErrorKind::Corrupt => "DATA_LOSS",
            ErrorKind::Unsupported => "UNIMPLEMENTED",
            ErrorKind::Internal => "INTERNAL",
        }
    }

    /// Whether the same may go well a little later.
    pub(crate) fn may_pass(&self) -> bool {
        let kinds = [
            ErrorKind::Unavailable,
            ErrorKind::Conflict,
            ErrorKind::OverLimit,
        ];
        kinds.contains(&self.kind()) && !matches!(self, Self::Superseded)
    }
}

impl From<didymium_store::Error> for Error {
    fn from(error: didymium_store::Error) -> Self {
        Self::Engine(error.into())
    }
}
