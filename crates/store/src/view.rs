//! Views: queries with a name, kept beside the tables.

use serde::{Deserialize, Serialize};

use crate::declaration::is_identifier;
use crate::store::nearest;
use crate::{Error, OwnFolder, Result, Store};

/// A query with a name. What it reads is bound when it is asked, not when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewDefinition {
    /// Its name in SQL.
    pub name: String,
    /// Its query.
    pub sql: String,
    /// What it shows.
    #[serde(default)]
    pub description: String,
    /// Who made it.
    pub author: String,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
}

impl Store {
    /// The view of this name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged definition, [`Error::Unavailable`] where the storage fails.
    pub async fn view(&self, name: &str) -> Result<Option<ViewDefinition>> {
        if !is_identifier(name) {
            return Ok(None);
        }
        let Some(json) = self.own_file(OwnFolder::Views, name).await? else {
            return Ok(None);
        };
        let view = serde_json::from_slice(&json).map_err(|error| {
            Error::Corrupt(format!("view {name}: its file is damaged: {error}"))
        })?;
        Ok(Some(view))
    }

    /// The names of all views, in order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the storage fails.
    pub async fn view_names(&self) -> Result<Vec<String>> {
        let mut names = self.own_names(OwnFolder::Views).await?;
        names.retain(|name| is_identifier(name));
        Ok(names)
    }

    /// Keeps a view, whose query the caller has checked.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where a table has the name, or a view and it is not to be replaced;
    /// [`Error::Invalid`] for a name that SQL does not take unquoted.
    pub async fn create_view(&self, view: &ViewDefinition, replace: bool) -> Result<()> {
        let name = &view.name;
        if !is_identifier(name) {
            return Err(Error::Invalid(format!(
                "view {name}: a name is made of lower-case letters, digits and _, and starts with a letter"
            )));
        }
        if self.has_table(name).await? {
            return Err(Error::AlreadyExists(format!("there is a table {name}")));
        }
        let json = serde_json::to_vec_pretty(view)
            .map_err(|error| Error::Internal(format!("view {name}: {error}")))?;
        match self
            .put_own_file(OwnFolder::Views, name, json, replace)
            .await?
        {
            true => Ok(()),
            false => Err(Error::AlreadyExists(format!(
                "there is a view {name} already: replace or drop it"
            ))),
        }
    }

    /// Deletes a view; the tables that it reads stay as they are.
    ///
    /// # Errors
    /// [`Error::UnknownView`], with the names that come nearest.
    pub async fn drop_view(&self, name: &str) -> Result<()> {
        let known = self.view_names().await?;
        if !known.iter().any(|known| known == name) {
            return Err(Error::UnknownView {
                name: name.to_owned(),
                similar: nearest(name, &known),
            });
        }
        self.delete_own_file(OwnFolder::Views, name).await
    }
}
