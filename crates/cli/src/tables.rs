//! `didymium tables` and `didymium describe`: what a store holds.

use crate::args::{DescribeArgs, TablesArgs};
use crate::failure::Failure;
use crate::output::{write, write_batch};
use crate::rows::{Question, Rows};

/// Lists the tables and views.
pub(crate) async fn list(args: TablesArgs) -> Result<(), Failure> {
    let sql = "SELECT table_name, kind, rows, version, description FROM system.tables ORDER BY table_name";
    let rows = Rows::of(&args.target, Question::of(sql)).await?;
    write(rows, &args.output).await
}

/// Shows the columns of a table or view and what they mean.
pub(crate) async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let sql = format!(
        "SELECT column_name, data_type, is_nullable, description FROM system.columns WHERE table_name = '{}' ORDER BY position",
        args.table.replace('\'', "''")
    );
    let rows = Rows::of(&args.target, Question::of(sql)).await?;
    let schema = rows.schema();
    let batches = rows.collect().await?;
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        // The planner knows which tables the name comes near to.
        let name = args.table.replace('"', "\"\"");
        let probe = format!("SELECT 1 FROM \"{name}\" LIMIT 0");
        Rows::of(&args.target, Question::of(probe)).await?;
    }
    write_batch(
        arrow::compute::concat_batches(&schema, &batches)?,
        &args.output,
    )
}
