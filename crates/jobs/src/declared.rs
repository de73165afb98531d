//! Jobs that files of the server declare, so that they can live beside a team's other files.

use crate::{Definition, Error, Result};

/// A job as a file declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// What it is.
    pub definition: Definition,
    /// The id of the token whose rights its runs have; `local` on a server that asks for no tokens.
    pub owner: String,
}

impl Declared {
    /// Reads a file: a definition, and `owner`.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the place.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        let mut table: toml::Table = text.parse().map_err(|error| invalid(&error))?;
        let owner = match table.remove("owner") {
            None => "local".to_owned(),
            Some(toml::Value::String(owner)) => owner,
            Some(_) => return Err(Error::Invalid("owner is the id of a token".to_owned())),
        };
        let definition: Definition = table.try_into().map_err(|error| invalid(&error))?;
        definition.check()?;
        Ok(Self { definition, owner })
    }
}
