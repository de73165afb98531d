//! A table's declaration grows: columns that may be NULL, measures, wider bounds. Nothing that is stored
//! changes, and nothing that was valid becomes wrong.

use std::sync::Arc;

use arrow::datatypes::Field;
use deltalake_core::kernel::transaction::TableReference;
use deltalake_core::kernel::{Action, EagerSnapshot, Metadata, MetadataExt as _};
use deltalake_core::protocol::DeltaOperation;

use crate::commit::{ATTEMPTS, Commit, Outcome, wait_before};
use crate::snapshot::DECLARATION_PROPERTY;
use crate::table::{kernel_fields, kernel_schema};
use crate::{ColumnDeclaration, Declaration, Error, Measure, Result, Snapshot, Store, Table};

impl Store {
    /// Gives a table a new declaration, and says which version has it. Older rows are NULL in new columns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a change that stored rows might not keep, by its name;
    /// [`Error::UnknownTable`]; [`Error::Conflict`] after lost races.
    pub async fn alter_table(
        &self,
        declaration: &Declaration,
        author: &str,
        now_ms: i64,
    ) -> Result<u64> {
        let table = self.table(&declaration.name).await?;
        table.alter(declaration, author, now_ms).await
    }
}

impl Table {
    async fn alter(&self, new: &Declaration, author: &str, now_ms: i64) -> Result<u64> {
        new.check()?;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (snapshot, delta) = self.refreshed().await?;
            let Some(old) = snapshot.declaration() else {
                return Err(Error::Precondition(format!(
                    "table {} was made by another program: alter it there",
                    self.name()
                )));
            };
            if old == new {
                return Ok(snapshot.version());
            }
            let added = added_columns(old, new)?;
            refuse_undeclared(&snapshot, new)?;
            let added: Vec<String> = added.iter().map(|column| column.name.clone()).collect();
            let commit = Commit {
                message: Some(match added.as_slice() {
                    [] => "alter the declaration".to_owned(),
                    added => format!("add {}", added.join(", ")),
                }),
                ..Commit::new(
                    self.name(),
                    author,
                    now_ms,
                    DeltaOperation::AddColumn {
                        fields: kernel_fields(new, &added)?,
                    },
                )
            };
            let actions = vec![Action::Metadata(metadata(&delta, new)?)];
            let read: &dyn TableReference = &delta;
            if let Outcome::Committed(version) = commit.run(self.log(), Some(read), actions).await?
            {
                return Ok(version);
            }
        }
        Err(self.lost(self.snapshot().await?.version(), ATTEMPTS))
    }
}

/// The table's metadata with the new declaration and schema; its identity stays.
fn metadata(delta: &EagerSnapshot, new: &Declaration) -> Result<Metadata> {
    let internal = |error: String| Error::Internal(format!("table {}: {error}", new.name));
    let json = serde_json::to_string(new).map_err(|error| internal(error.to_string()))?;
    let schema = kernel_schema(new)?;
    delta
        .metadata()
        .clone()
        .with_schema(&schema)
        .and_then(|metadata| metadata.with_description(new.description.clone()))
        .and_then(|metadata| metadata.add_config_key(DECLARATION_PROPERTY.to_owned(), json))
        .map_err(|error| internal(error.to_string()))
}

/// Refuses a declaration that would hide a column which another program added, or read it as another type.
fn refuse_undeclared(snapshot: &Snapshot, new: &Declaration) -> Result<()> {
    let declared = new.schema();
    let is_declared = |field: &&Arc<Field>| {
        let same = declared.field_with_name(field.name());
        same.is_ok_and(|same| same.data_type() == field.data_type())
    };
    match snapshot.schema.fields().iter().find(|it| !is_declared(it)) {
        None => Ok(()),
        Some(field) => Err(Error::Invalid(format!(
            "table {}: another program added the column {} of type {}: declare it as it is",
            new.name,
            field.name(),
            field.data_type()
        ))),
    }
}

/// The columns that the new declaration adds, if that and what only widens is all that it changes.
fn added_columns<'a>(
    old: &Declaration,
    new: &'a Declaration,
) -> Result<Vec<&'a ColumnDeclaration>> {
    let refused = |what: String| {
        Err(Error::Invalid(format!(
            "table {}: {what}: only columns that may be NULL, measures, allowed values, wider bounds and descriptions can be added; make a new table for anything else",
            new.name
        )))
    };
    if old.kind != new.kind || old.key != new.key {
        return refused("the kind or key would change".to_owned());
    }
    if old.source_rank != new.source_rank {
        return refused("source_rank would change".to_owned());
    }
    if new.totals.iter().any(|total| !old.totals.contains(total)) {
        return refused("totals would be added, which stored rows were not held to".to_owned());
    }
    for column in &old.columns {
        match new.columns.iter().find(|it| it.name == column.name) {
            None => return refused(format!("the column {} would go", column.name)),
            Some(changed) if !is_wider(column, changed) => {
                return refused(format!("the column {} would be narrower", column.name));
            }
            Some(_) => {}
        }
    }
    for measure in &old.measures {
        if !new.measures.iter().any(|it| keeps(measure, it)) {
            return refused(format!(
                "the measure {} in {} would go or be narrower",
                measure.measure, measure.unit
            ));
        }
    }
    let is_new = |column: &&ColumnDeclaration| old.columns.iter().all(|it| it.name != column.name);
    let added: Vec<_> = new.columns.iter().filter(is_new).collect();
    match added.iter().find(|column| !column.nullable) {
        Some(column) => refused(format!("the new column {} must be nullable", column.name)),
        None => Ok(added),
    }
}

/// Whether every value of the one column is one of the other.
fn is_wider(old: &ColumnDeclaration, new: &ColumnDeclaration) -> bool {
    let values = new.values.is_empty()
        || !old.values.is_empty() && old.values.iter().all(|value| new.values.contains(value));
    old.kind == new.kind
        && old.nullable == new.nullable
        && values
        && is_lower(old.min, new.min)
        && is_higher(old.max, new.max)
}

fn keeps(old: &Measure, new: &Measure) -> bool {
    old.measure == new.measure
        && old.unit == new.unit
        && old.basis == new.basis
        && is_lower(old.min, new.min)
}

/// Whether a lower bound lets through all that another did.
fn is_lower(old: Option<f64>, new: Option<f64>) -> bool {
    match (old, new) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => new <= old,
    }
}

/// Whether an upper bound lets through all that another did.
fn is_higher(old: Option<f64>, new: Option<f64>) -> bool {
    is_lower(old.map(|it| -it), new.map(|it| -it))
}
