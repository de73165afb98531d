//! `didymium view`: queries with a name.

use didymium_api::v1::catalog_service_client::CatalogServiceClient;
use didymium_api::v1::{CreateViewRequest, DropViewRequest};
use didymium_engine::Grants;
use didymium_store::ViewDefinition;

use crate::args::ViewCommand;
use crate::failure::{Failure, read_text};
use crate::load::author;
use crate::now_ms;
use crate::target::{Target, engine};

/// Makes or drops a view.
pub(crate) async fn run(command: ViewCommand) -> Result<(), Failure> {
    match command {
        ViewCommand::Create {
            view,
            query,
            description,
            replace,
            target,
        } => {
            let sql = match (query.command, query.file) {
                (Some(sql), _) => sql,
                (None, Some(file)) => read_text(&file)?,
                (None, None) => return Err(Failure::usage("give the query by -c or -f")),
            };
            let definition = ViewDefinition {
                name: view.clone(),
                sql,
                description: description.unwrap_or_default(),
                author: author(),
                created_ms: now_ms(),
            };
            create(Target::of(&target).await?, definition, replace).await?;
            eprintln!("{view}: made");
        }
        ViewCommand::Drop { view, target } => {
            match Target::of(&target).await? {
                Target::Store(store) => store.drop_view(&view).await?,
                Target::Server(channel) => {
                    let request = DropViewRequest { name: view.clone() };
                    CatalogServiceClient::new(channel)
                        .drop_view(request)
                        .await?;
                }
            }
            eprintln!("{view}: deleted");
        }
    }
    Ok(())
}

async fn create(target: Target, view: ViewDefinition, replace: bool) -> Result<(), Failure> {
    match target {
        Target::Store(store) => {
            engine(store)?
                .create_view(view, replace, &Grants::All)
                .await?;
        }
        Target::Server(channel) => {
            let request = CreateViewRequest {
                name: view.name,
                sql: view.sql,
                description: view.description,
                replace,
                author: view.author,
            };
            CatalogServiceClient::new(channel)
                .create_view(request)
                .await?;
        }
    }
    Ok(())
}
