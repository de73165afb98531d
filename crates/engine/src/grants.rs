//! The tables that a caller may name.

use didymium_store::is_own_table;

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
            // The store's own tables are shown in other ways.
            _ if is_own_table(name) => false,
            Self::All => true,
            Self::Prefixed(prefixes) => prefixes.iter().any(|prefix| name.starts_with(prefix)),
        }
    }
}
