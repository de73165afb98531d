//! The statements that change something: CREATE VIEW and DROP VIEW. Tables are made by loads.

use std::sync::Arc;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CreateTableOptions, CreateView, Ident, ObjectName, ObjectType, Statement as SqlStatement,
};
use didymium_store::ViewDefinition;

use crate::session::{CATALOG, SCHEMA};
use crate::{Engine, Error, ErrorKind, Grants, QueryRequest, Result, guard};

/// A statement that changes the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// CREATE [OR REPLACE] VIEW [IF NOT EXISTS] name AS query.
    CreateView {
        name: String,
        sql: String,
        replace: bool,
        if_not_exists: bool,
    },
    /// DROP VIEW [IF EXISTS] name, ….
    DropViews { names: Vec<String>, if_exists: bool },
}

/// What a statement's text holds.
pub(crate) enum Parsed {
    Query(Statement),
    Command(Command),
}

/// Parses a statement that is a query, or makes or drops views.
///
/// # Errors
/// Those of [`guard::statement`] and [`guard::check`]; `Unsupported` for clauses that would be ignored.
pub(crate) fn parsed(sql: &str) -> Result<Parsed> {
    let statement = guard::statement(sql)?;
    if let Some(command) = command(&statement)? {
        return Ok(Parsed::Command(command));
    }
    guard::check(&statement)?;
    Ok(Parsed::Query(statement))
}

fn command(statement: &Statement) -> Result<Option<Command>> {
    let Statement::Statement(statement) = statement else {
        return Ok(None);
    };
    match statement.as_ref() {
        SqlStatement::CreateView(view) => create_view(view).map(Some),
        SqlStatement::Drop {
            object_type: ObjectType::View,
            if_exists,
            names,
            cascade: false,
            restrict: _,
            purge: false,
            temporary: false,
            table: None,
        } => {
            let names = names.iter().map(view_name).collect::<Result<_>>()?;
            Ok(Some(Command::DropViews {
                names,
                if_exists: *if_exists,
            }))
        }
        _ => Ok(None),
    }
}

impl Engine {
    /// Does what the command says, for a caller who may.
    pub(crate) async fn run_command(
        self: &Arc<Self>,
        command: Command,
        request: &QueryRequest,
    ) -> Result<()> {
        refuse_readers(request)?;
        match command {
            Command::CreateView {
                name,
                sql,
                replace,
                if_not_exists,
            } => {
                self.refuse_ungranted(&name, &request.grants)?;
                let definition = ViewDefinition {
                    name,
                    sql,
                    description: String::new(),
                    author: request.author.clone(),
                    created_ms: self.now_ms(),
                };
                let made = self.create_view(definition, replace, &request.grants).await;
                match made {
                    Err(error) if if_not_exists && error.kind() == ErrorKind::AlreadyExists => {}
                    made => drop(made?),
                }
            }
            Command::DropViews { names, if_exists } => {
                for name in &names {
                    let dropped = self.drop_view(name, &request.grants).await;
                    match dropped {
                        Err(error) if if_exists && error.kind() == ErrorKind::NotFound => {}
                        dropped => dropped?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Deletes a view that the caller sees.
    ///
    /// # Errors
    /// `NotFound`, with the names that come nearest.
    pub async fn drop_view(&self, name: &str, grants: &Grants) -> Result<()> {
        if !grants.allows(name) {
            return Err(self.unknown(name, grants).await);
        }
        match self.store().drop_view(name).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.as_seen(error.into(), name, grants).await),
        }
    }

    /// Refuses to make what its maker could not see.
    ///
    /// # Errors
    /// `Denied`.
    pub fn refuse_ungranted(&self, name: &str, grants: &Grants) -> Result<()> {
        match grants.allows(name) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Denied,
                format!("{name}: your token makes nothing of this name"),
            )),
        }
    }
}

/// # Errors
/// `Denied` for a caller who may not write.
pub(crate) fn refuse_readers(request: &QueryRequest) -> Result<()> {
    match request.may_write {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Denied,
            "CREATE VIEW and DROP VIEW need the right to write",
        )),
    }
}

fn create_view(view: &CreateView) -> Result<Command> {
    let is_plain = !view.materialized
        && !view.temporary
        && !view.secure
        && !view.or_alter
        && view.columns.is_empty()
        && view.cluster_by.is_empty()
        && view.comment.is_none()
        && view.to.is_none()
        && !view.with_no_schema_binding
        && matches!(view.options, CreateTableOptions::None);
    if !is_plain {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a view is made by CREATE [OR REPLACE] VIEW name AS query; columns are named in the query",
        ));
    }
    Ok(Command::CreateView {
        name: view_name(&view.name)?,
        sql: view.query.to_string(),
        replace: view.or_replace,
        if_not_exists: view.if_not_exists,
    })
}

/// The name as the store keeps it.
fn view_name(name: &ObjectName) -> Result<String> {
    let parts = name.0.iter().map(|part| part.as_ident().map(folded));
    let parts: Option<Vec<String>> = parts.collect();
    let parts = parts.unwrap_or_default();
    match parts
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [name] | [SCHEMA, name] | [CATALOG, SCHEMA, name] => Ok((*name).to_owned()),
        _ => Err(Error::invalid(format!(
            "{name}: views lie in the schema {SCHEMA}"
        ))),
    }
}

fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}
