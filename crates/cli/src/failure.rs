//! How the command fails: a sentence and an exit code.

use std::path::Path;

use didymium_engine::ErrorKind;
use tonic::Code;

/// A failure on its way to the shell.
#[derive(Debug)]
pub(crate) struct Failure {
    /// 1 for a fault of the statement or the data, 2 for the command line (clap's), 3 for a server
    /// that can't be reached, 4 for a query that was stopped, 78 for settings that a server can't start
    /// with, 130 for Ctrl-C.
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// The text of a file.
pub(crate) fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::own(format!("{}: {error}", file.display())))
}

/// Where a failure began, if it began elsewhere.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.last().map(ToString::to_string)
}

impl Failure {
    /// A fault of the statement, the data or the environment.
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// A server that its settings keep from starting, for as long as they say what they say: sysexits'
    /// EX_CONFIG, by which a supervisor knows that another try is in vain. What is typed wrongly is the command
    /// line's; `serve --check-config` fails with this one, whatever it found.
    pub(crate) fn of_configuration(self) -> Self {
        Self { code: 78, ..self }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            code: 3,
            message: message.into(),
        }
    }

    pub(crate) fn interrupted() -> Self {
        Self {
            code: 130,
            message: "interrupted".to_owned(),
        }
    }
}

impl From<didymium_store::Error> for Failure {
    fn from(error: didymium_store::Error) -> Self {
        Self::own(error.to_string())
    }
}

impl From<didymium_engine::Error> for Failure {
    fn from(error: didymium_engine::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Deadline | ErrorKind::Cancelled => 4,
            _ => 1,
        };
        Self {
            code,
            message: error.to_string(),
        }
    }
}

impl From<didymium_jobs::Error> for Failure {
    fn from(error: didymium_jobs::Error) -> Self {
        Self::own(error.to_string())
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        // What comes from the connection, and not from a server, has a cause.
        if let Some(cause) = root_cause(&status) {
            return Self::unreachable(format!("no server answers: {cause}"));
        }
        let code = match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => 4,
            Code::Unavailable | Code::Unauthenticated => 3,
            _ => 1,
        };
        Self {
            code,
            message: status.message().to_owned(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::own(error.to_string())
    }
}

impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::own(error.to_string())
    }
}
