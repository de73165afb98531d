//! `didymium table`: tables of one's own.

use didymium_api::v1::catalog_service_client::CatalogServiceClient;
use didymium_api::v1::{AlterTableRequest, CreateTableRequest, DropTableRequest, GetTableRequest};
use didymium_store::Declaration;

use crate::args::TableCommand;
use crate::failure::{Failure, read_text};
use crate::load::author;
use crate::now_ms;
use crate::target::Target;

/// Makes, alters, drops or shows a table.
pub(crate) async fn run(command: TableCommand) -> Result<(), Failure> {
    match command {
        TableCommand::Create { file, target } => {
            let text = read_text(&file)?;
            let declaration = Declaration::parse(&text)?;
            match Target::of(&target).await? {
                Target::Store(store) => {
                    store.create_table(&declaration, now_ms()).await?;
                }
                Target::Server(channel) => {
                    let request = CreateTableRequest { declaration: text };
                    CatalogServiceClient::new(channel)
                        .create_table(request)
                        .await?;
                }
            }
            eprintln!("{}: made", declaration.name);
        }
        TableCommand::Alter { file, target } => {
            let text = read_text(&file)?;
            let declaration = Declaration::parse(&text)?;
            match Target::of(&target).await? {
                Target::Store(store) => {
                    let author = author();
                    let altered = store.alter_table(&declaration, &author, now_ms());
                    altered.await?;
                }
                Target::Server(channel) => {
                    let request = AlterTableRequest {
                        declaration: text,
                        author: author(),
                    };
                    CatalogServiceClient::new(channel)
                        .alter_table(request)
                        .await?;
                }
            }
            eprintln!("{}: altered", declaration.name);
        }
        TableCommand::Drop { table, target, .. } => {
            match Target::of(&target).await? {
                Target::Store(store) => store.drop_table(&table).await?,
                Target::Server(channel) => {
                    let name = table.clone();
                    CatalogServiceClient::new(channel)
                        .drop_table(DropTableRequest { name })
                        .await?;
                }
            }
            eprintln!("{table}: deleted, with all its history");
        }
        TableCommand::Describe { table, target } => {
            let declaration = declaration(Target::of(&target).await?, &table).await?;
            if declaration.is_empty() {
                return Err(Failure::own(format!(
                    "{table} is a view, or was made by another program: it has no declaration"
                )));
            }
            #[expect(clippy::print_stdout, reason = "the result, for a file")]
            {
                print!("{declaration}");
            }
        }
    }
    Ok(())
}

/// A table's declaration in TOML; empty where it has none.
async fn declaration(target: Target, table: &str) -> Result<String, Failure> {
    match target {
        Target::Store(store) => {
            let snapshot = store.table(table).await?.snapshot().await?;
            let declaration = snapshot.declaration().map(Declaration::to_toml);
            Ok(declaration.transpose()?.unwrap_or_default())
        }
        Target::Server(channel) => {
            let name = table.to_owned();
            let mut catalog = CatalogServiceClient::new(channel);
            let table = catalog.get_table(GetTableRequest { name }).await?;
            Ok(table.into_inner().declaration)
        }
    }
}
