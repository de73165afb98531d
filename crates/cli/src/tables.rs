//! `didymium tables` and `didymium describe`: what a store holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use didymium_store::{Snapshot, Store};

use crate::args::{DescribeArgs, TablesArgs};
use crate::failure::Failure;
use crate::output::{write, write_batch};
use crate::rows::{Question, Rows};

/// Lists the tables; of a store's own also what they hold.
pub(crate) async fn list(args: TablesArgs) -> Result<(), Failure> {
    let Some(folder) = &args.target.store else {
        let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY table_name";
        return write(
            Rows::of(&args.target, Question::of(sql)).await?,
            &args.output,
        )
        .await;
    };
    let store = Store::open(folder.clone()).await?;
    let mut snapshots = Vec::new();
    for name in store.table_names().await? {
        snapshots.push(store.table(&name).await?.snapshot().await?);
    }
    let names = snapshots.iter().map(|snapshot| snapshot.table());
    let rows = snapshots.iter().map(|snapshot| snapshot.rows());
    let versions = snapshots.iter().map(|snapshot| snapshot.version());
    let descriptions = snapshots
        .iter()
        .map(|snapshot| Some(snapshot.declaration()?.description.as_str()));
    let columns: [(&str, ArrayRef); 4] = [
        ("table_name", Arc::new(StringArray::from_iter_values(names))),
        ("rows", Arc::new(UInt64Array::from_iter(rows))),
        ("version", Arc::new(UInt64Array::from_iter_values(versions))),
        (
            "description",
            Arc::new(StringArray::from_iter(descriptions)),
        ),
    ];
    write_batch(
        RecordBatch::try_from_iter_with_nullable(nullable(columns))?,
        &args.output,
    )
}

/// Shows a table's columns; of a store's own also what they mean.
pub(crate) async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let Some(folder) = &args.target.store else {
        let sql = format!(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'main' AND table_name = '{}' ORDER BY ordinal_position",
            args.table.replace('\'', "''")
        );
        let rows = Rows::of(&args.target, Question::of(sql)).await?;
        let schema = rows.schema();
        let batches = rows.collect().await?;
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            // The server knows which tables the name comes near to.
            let name = args.table.replace('"', "\"\"");
            let probe = format!("SELECT 1 FROM \"{name}\" LIMIT 0");
            Rows::of(&args.target, Question::of(probe)).await?;
        }
        return write_batch(
            arrow::compute::concat_batches(&schema, &batches)?,
            &args.output,
        );
    };
    let snapshot = Store::open(folder.clone())
        .await?
        .table(&args.table)
        .await?
        .snapshot()
        .await?;
    write_batch(columns_of(&snapshot)?, &args.output)
}

fn columns_of(snapshot: &Snapshot) -> Result<RecordBatch, Failure> {
    let declared = snapshot
        .declaration()
        .map(|table| table.all_columns())
        .unwrap_or_default();
    let fields = snapshot.schema().fields();
    let names = fields.iter().map(|field| field.name());
    let types = fields.iter().map(|field| field.data_type().to_string());
    let nulls = fields.iter().map(|field| Some(field.is_nullable()));
    let descriptions = fields.iter().map(|field| {
        let column = declared
            .iter()
            .find(|column| column.name == *field.name())?;
        Some(column.description.as_str())
    });
    let columns: [(&str, ArrayRef); 4] = [
        (
            "column_name",
            Arc::new(StringArray::from_iter_values(names)),
        ),
        ("data_type", Arc::new(StringArray::from_iter_values(types))),
        ("is_nullable", Arc::new(BooleanArray::from_iter(nulls))),
        (
            "description",
            Arc::new(StringArray::from_iter(descriptions)),
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(nullable(columns))?)
}

fn nullable<const N: usize>(columns: [(&str, ArrayRef); N]) -> [(&str, ArrayRef, bool); N] {
    columns.map(|(name, column)| (name, column, true))
}
