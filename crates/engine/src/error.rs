//! What can go wrong with a query, by what its author can do about it.

use std::io;
use std::sync::LazyLock;

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::SessionStateDefaults;
use didymium_store as store;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A query's failure: a kind for programs, a message for people.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What the author of a query can do about its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Mend the statement or the input.
    InvalidInput,
    /// Name something that exists.
    NotFound,
    /// Nothing: this may not be done.
    Denied,
    /// Use what exists, or another name.
    AlreadyExists,
    /// Change the state of the store first.
    Precondition,
    /// Try again: another writer won.
    Conflict,
    /// Use smaller numbers, or ask for less in one row.
    OutOfRange,
    /// Ask for less, or raise the limit.
    OverLimit,
    /// Ask for less, or allow more time.
    Deadline,
    /// Nothing: the caller has gone.
    Cancelled,
    /// Wait and try again.
    Unavailable,
    /// Restore the store from a copy.
    Corrupt,
    /// Write it another way.
    Unsupported,
    /// Report it: the fault is ours.
    Internal,
}

impl Error {
    /// A failure of a caller's own, in the engine's words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// The same failure, with the part of the statement where it happened.
    pub(crate) fn within(self, place: &str) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    /// What can be done.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// A failure while planning. What the engine calls its own bug there is, as a rule, an argument
    /// that no function takes.
    pub(crate) fn while_planning(error: &DataFusionError) -> Self {
        let error = Self::from(error);
        if error.kind == ErrorKind::Internal {
            return Self::invalid(format!("the statement can't be planned: {}", error.message));
        }
        error
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&store::Error> for Error {
    fn from(error: &store::Error) -> Self {
        let kind = match error.kind() {
            store::Kind::InvalidInput => ErrorKind::InvalidInput,
            store::Kind::NotFound => ErrorKind::NotFound,
            store::Kind::AlreadyExists => ErrorKind::AlreadyExists,
            store::Kind::Precondition => ErrorKind::Precondition,
            store::Kind::Conflict => ErrorKind::Conflict,
            store::Kind::Corrupt => ErrorKind::Corrupt,
            store::Kind::Unavailable => ErrorKind::Unavailable,
            store::Kind::Full | store::Kind::TooLarge => ErrorKind::OverLimit,
            store::Kind::Internal => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::from(&error)
    }
}

impl From<&DataFusionError> for Error {
    /// Looks through the wrappers: what matters is where the failure began.
    fn from(error: &DataFusionError) -> Self {
        let root = error.find_root();
        let kind = match root {
            DataFusionError::SchemaError(schema, _) => return from_schema(schema),
            DataFusionError::External(cause) => {
                if let Some(error) = cause.downcast_ref::<store::Error>() {
                    return Self::from(error);
                }
                if let Some(error) = cause.downcast_ref::<didymium_functions::Error>() {
                    return Self::invalid(error.to_string());
                }
                if let Some(error) = cause.downcast_ref::<Self>() {
                    return error.clone();
                }
                ErrorKind::Internal
            }
            DataFusionError::ArrowError(cause, _) => return from_arrow(cause),
            DataFusionError::SQL(parser, _) => {
                return Self::invalid(format!("syntax: {}", without_prefix(&parser.to_string())));
            }
            DataFusionError::Plan(said) if said.starts_with(UNKNOWN_FUNCTION) => {
                return from_unknown_function(said);
            }
            DataFusionError::Execution(said) if is_overflow(said) => ErrorKind::OutOfRange,
            DataFusionError::Plan(_)
            | DataFusionError::Execution(_)
            | DataFusionError::Configuration(_) => ErrorKind::InvalidInput,
            DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
            DataFusionError::ResourcesExhausted(_) => {
                return Self::new(
                    ErrorKind::OverLimit,
                    format!(
                        "the query needs more memory than it may use: {}",
                        text(root)
                    ),
                );
            }
            DataFusionError::ObjectStore(cause) => match cause.as_ref() {
                object_store::Error::NotFound { .. } => ErrorKind::Corrupt,
                _ => ErrorKind::Unavailable,
            },
            DataFusionError::ParquetError(_) => ErrorKind::Corrupt,
            DataFusionError::IoError(cause) => return from_io(cause),
            // What an aggregate says of a type that it does not know.
            DataFusionError::Internal(cause)
                if ["not implemented", "not supported", "Uncomparable"]
                    .iter()
                    .any(|words| cause.contains(words)) =>
            {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::Internal,
        };
        Self::new(kind, text(root))
    }
}

fn from_schema(error: &SchemaError) -> Error {
    let SchemaError::FieldNotFound {
        field,
        valid_fields,
    } = error
    else {
        return Error::invalid(error.to_string());
    };
    let mut near: Vec<(f64, String)> = valid_fields
        .iter()
        .map(|valid| {
            (
                strsim::jaro_winkler(&field.name, &valid.name),
                valid.name.clone(),
            )
        })
        .filter(|(score, _)| *score > 0.7)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.dedup_by(|a, b| a.1 == b.1);
    let near: Vec<String> = near.into_iter().take(3).map(|(_, name)| name).collect();
    let hint = if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(" or "))
    };
    Error::invalid(format!("there is no column {}{hint}", field.flat_name()))
}

/// How DataFusion begins what it says of a function that it does not know.
const UNKNOWN_FUNCTION: &str = "Invalid function '";

/// Its own hint is one of several that come equally near, now this one and now that one.
fn from_unknown_function(said: &str) -> Error {
    let name = said[UNKNOWN_FUNCTION.len()..]
        .split('\'')
        .next()
        .unwrap_or_default();
    let windows = didymium_functions::window_functions();
    if windows.iter().any(|function| function.name() == name) {
        return Error::invalid(format!(
            "{name} is a window function: write {name}(…) OVER (PARTITION BY series ORDER BY period_start, period_end)"
        ));
    }
    let mut near: Vec<(f64, String)> = KNOWN_FUNCTIONS
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known.clone()))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.dedup();
    let near: Vec<String> = near.into_iter().take(3).map(|(_, name)| name).collect();
    let hint = match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", near.join(" or ")),
    };
    Error::invalid(format!("there is no function {name}{hint}"))
}

/// The names of all functions. Making the functions takes milliseconds, so they are made once.
static KNOWN_FUNCTIONS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let ours = crate::functions().into_iter().map(|function| function.name);
    let scalars = SessionStateDefaults::default_scalar_functions().into_iter();
    let aggregates = SessionStateDefaults::default_aggregate_functions().into_iter();
    let windows = SessionStateDefaults::default_window_functions().into_iter();
    ours.chain(scalars.map(|it| it.name().to_owned()))
        .chain(aggregates.map(|it| it.name().to_owned()))
        .chain(windows.map(|it| it.name().to_owned()))
        .collect()
});

/// What functions say of a result that their type does not hold, in many words.
fn is_overflow(said: &str) -> bool {
    let said = said.to_lowercase();
    ["overflow", "out of range"]
        .iter()
        .any(|words| said.contains(words))
}

fn from_arrow(error: &ArrowError) -> Error {
    let kind = match error {
        ArrowError::ArithmeticOverflow(_) => ErrorKind::OutOfRange,
        ArrowError::ComputeError(said) if is_overflow(said) => ErrorKind::OutOfRange,
        ArrowError::IoError(_, cause) => return from_io(cause),
        ArrowError::ParquetError(_) => ErrorKind::Corrupt,
        ArrowError::NotYetImplemented(_) => ErrorKind::Unsupported,
        ArrowError::MemoryError(_) => ErrorKind::OverLimit,
        ArrowError::DivideByZero => {
            return Error::invalid("division by zero: write value / nullif(divisor, 0)");
        }
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, without_prefix(&error.to_string()))
}

/// A failure to write or read what a query spills.
fn from_io(error: &io::Error) -> Error {
    // A writer of spilled rows gives the engine's errors as the system's, one within the other.
    if let Some(within) = error.get_ref() {
        if let Some(error) = within.downcast_ref::<DataFusionError>() {
            return error.into();
        }
        if let Some(error) = within.downcast_ref::<ArrowError>() {
            return from_arrow(error);
        }
        if let Some(error) = within.downcast_ref::<io::Error>() {
            return from_io(error);
        }
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::OverLimit,
            format!(
                "the query needs more room to spill than there is: {error}; ask for less, or make room"
            ),
        ),
        // DataFusion has no kind for this, and advises a setting that nobody can reach.
        _ if error.to_string().contains("max_temp_directory_size") => Error::new(
            ErrorKind::OverLimit,
            "the query needs more room to spill than it may use: ask for less",
        ),
        _ => Error::new(ErrorKind::Unavailable, error.to_string()),
    }
}

/// The message alone: the engine's own prefixes name its types, not the user's mistake.
fn text(error: &DataFusionError) -> String {
    without_prefix(&error.strip_backtrace())
}

fn without_prefix(message: &str) -> String {
    const PREFIXES: [&str; 12] = [
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "SQL error: ",
        "Arrow error: ",
        "External error: ",
        "sql parser error: ",
        "This feature is not implemented: ",
        "Resources exhausted: ",
        "Internal error: ",
        "Invalid argument error: ",
        "Cast error: ",
    ];
    // What a function says of its arguments comes wrapped in what the planner says of it.
    let mut message = match message.split_once("user-defined coercion failed with: ") {
        Some((_, said)) => said
            .split_once(". No function matches the given name")
            .map_or(said, |(said, _)| said),
        None => message,
    };
    while let Some(rest) = PREFIXES
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
    {
        message = rest;
    }
    // DataFusion asks for reports to its own project.
    let end = message
        .find(".\nThis issue was likely caused by a bug in DataFusion")
        .unwrap_or(message.len());
    message[..end].to_owned()
}
