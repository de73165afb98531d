//! `didymium table`: tables of one's own.

use didymium_store::{Declaration, Store};

use crate::args::TableCommand;
use crate::failure::{Failure, read_text};
use crate::load::shown;
use crate::now_ms;

/// Makes, drops or shows a table.
pub(crate) async fn run(command: TableCommand) -> Result<(), Failure> {
    match command {
        TableCommand::Create { file, store } => {
            let declaration = Declaration::parse(&read_text(&file)?)?;
            let store = Store::open(store.store).await?;
            store.create_table(&declaration, now_ms()).await?;
            eprintln!("{}: made", declaration.name);
        }
        TableCommand::Drop { table, store, .. } => {
            Store::open(store.store).await?.drop_table(&table).await?;
            eprintln!("{table}: deleted, with all its history");
        }
        TableCommand::Describe { table, store } => {
            let store = Store::open(store.store).await?;
            let snapshot = store.table(&table).await?.snapshot().await?;
            let declaration = snapshot.declaration().ok_or_else(|| {
                Failure::own(format!(
                    "{table} was made by another program and has no declaration"
                ))
            })?;
            #[expect(clippy::print_stdout, reason = "the result, for a file")]
            {
                print!("{}", shown(declaration)?);
            }
        }
    }
    Ok(())
}
