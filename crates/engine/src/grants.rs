//! The tables that a caller may name.

/// Which tables and views a caller sees. One that is not granted is to the caller as if it were not
/// there: errors, suggestions and lists do not name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grants {
    /// Every table.
    #[default]
    All,
    /// Those whose names begin with one of these.
    Prefixed(Vec<String>),
}

impl Grants {
    /// Whether a table or view of this name is seen.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefixed(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix)),
        }
    }
}
