//! Corrections: rows that a load contradicts give way to it, and stay to be seen.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use deltalake_core::kernel::Action;
use didymium_model::Status;

use super::present::{Contradicted, Verdict};
use super::{Load, Written};
use crate::layout::{Layout, internal, sorted_order};
use crate::write::encode;
use crate::{Declaration, Error, Result, Snapshot, Table, TableKind};

impl Table {
    /// Writes the files with contradicted rows anew and gives the actions that put them in the place
    /// of the old ones. A series table keeps such a row with the status `superseded` under a statement
    /// number of its own; a plain table leaves it to the versions before.
    pub(super) async fn superseded(
        &self,
        declaration: &Declaration,
        snapshot: &Snapshot,
        verdict: &Verdict,
        load: &Load,
        written: &mut Written,
    ) -> Result<Vec<Action>> {
        let earlier = std::mem::take(&mut written.corrected);
        self.discard(earlier.iter().map(|file| file.path.as_str()))
            .await;
        let reason = load.commit.reason.as_deref().unwrap_or_default();
        let mut actions = Vec::new();
        for (path, rows) in &verdict.contradicted {
            let file = snapshot.files.iter().find(|file| file.path == *path);
            let file = file.ok_or_else(|| Error::Internal(format!("no file {path}")))?;
            let all = self.rows_of(file, snapshot).await?;
            let kept = match declaration.kind {
                TableKind::Series => marked(declaration, &all, rows, reason)?,
                TableKind::Plain => without(&all, rows)?,
            };
            actions.push(Action::Remove(file.remove(load.commit.now_ms, true)));
            if kept.num_rows() > 0 {
                let file = encode(declaration, &kept)?;
                self.put(&file.path, file.bytes.clone()).await?;
                actions.push(Action::Add(file.add(load.commit.now_ms, true)?));
                written.corrected.push(file);
            }
        }
        Ok(actions)
    }
}

/// The rows with some of them marked, in order again.
fn marked(
    declaration: &Declaration,
    rows: &RecordBatch,
    contradicted: &[Contradicted],
    reason: &str,
) -> Result<RecordBatch> {
    let schema = rows.schema();
    let text = |name: &str| -> Result<Vec<Option<String>>> {
        let column = rows.column_by_name(name).map(|it| it.as_string::<i32>());
        let column = column.ok_or_else(|| Error::Internal(format!("no column {name}")))?;
        Ok(column.iter().map(|text| text.map(str::to_owned)).collect())
    };
    let (mut statuses, mut notes) = (text("status")?, text("note")?);
    let statements = rows.column_by_name("statement");
    let statements = statements.map(|it| it.as_primitive::<Int64Type>());
    let statements = statements.ok_or_else(|| Error::Internal("no statements".to_owned()))?;
    let mut statements: Vec<Option<i64>> = statements.iter().collect();
    for row in contradicted {
        statuses[row.place] = Some(Status::Superseded.word().to_owned());
        statements[row.place] = Some(row.statement);
        let said = format!("superseded: {reason}");
        notes[row.place] = Some(match &notes[row.place] {
            Some(note) => format!("{note}; {said}"),
            None => said,
        });
    }
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| match field.name().as_str() {
            "status" => Arc::new(StringArray::from(statuses.clone())) as ArrayRef,
            "note" => Arc::new(StringArray::from(notes.clone())),
            "statement" => Arc::new(Int64Array::from(statements.clone())),
            _ => Arc::clone(column),
        });
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).map_err(internal)?;
    let order = sorted_order(&Layout::of(declaration)?.keys(&rows)?);
    take_record_batch(&rows, &order).map_err(internal)
}

fn without(rows: &RecordBatch, contradicted: &[Contradicted]) -> Result<RecordBatch> {
    let mut kept = vec![true; rows.num_rows()];
    for row in contradicted {
        kept[row.place] = false;
    }
    filter_record_batch(rows, &kept.into()).map_err(internal)
}
