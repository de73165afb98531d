//! `CatalogService`: what a server holds.

use std::sync::Arc;

use didymium_api::v1::catalog_service_server::CatalogService;
use didymium_api::v1::{
    Function, FunctionArgument, GetTableRequest, ListFunctionsRequest, ListFunctionsResponse,
    ListTablesRequest, ListTablesResponse, Measure, Table, TableColumn,
};
use didymium_engine::{Engine, functions};
use didymium_store::{Snapshot, TableKind};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::status::status;

/// The service over one engine's store.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) engine: Arc<Engine>,
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn list_tables(
        &self,
        _: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        let store = self.engine.store();
        let mut tables = Vec::new();
        for name in store.table_names().await.map_err(failed)? {
            let snapshot = store
                .table(&name)
                .await
                .map_err(failed)?
                .snapshot()
                .await
                .map_err(failed)?;
            tables.push(Table {
                columns: Vec::new(),
                measures: Vec::new(),
                ..table(&snapshot)
            });
        }
        Ok(Response::new(ListTablesResponse { tables }))
    }

    async fn get_table(
        &self,
        request: Request<GetTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let name = request.into_inner().name;
        let found = self.engine.store().table(&name).await.map_err(failed)?;
        let snapshot = found.snapshot().await.map_err(failed)?;
        Ok(Response::new(table(&snapshot)))
    }

    async fn list_functions(
        &self,
        _: Request<ListFunctionsRequest>,
    ) -> Result<Response<ListFunctionsResponse>, Status> {
        let functions = functions().into_iter().map(|function| Function {
            name: function.name,
            kind: function.kind.to_owned(),
            syntax: function.syntax,
            description: function.description,
            arguments: function
                .arguments
                .into_iter()
                .map(|(name, description)| FunctionArgument { name, description })
                .collect(),
            example: function.example,
        });
        Ok(Response::new(ListFunctionsResponse {
            functions: functions.collect(),
        }))
    }
}

fn failed(error: didymium_store::Error) -> Status {
    status(&error.into(), &Uuid::new_v4().to_string())
}

fn table(snapshot: &Snapshot) -> Table {
    let declaration = snapshot.declaration();
    let columns = declaration
        .map(|table| table.all_columns())
        .unwrap_or_default();
    let fields = snapshot.schema().fields().iter().map(|field| {
        let declared = columns.iter().find(|column| column.name == *field.name());
        TableColumn {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
            nullable: field.is_nullable(),
            description: declared
                .map(|column| column.description.clone())
                .unwrap_or_default(),
            values: declared
                .map(|column| column.values.clone())
                .unwrap_or_default(),
        }
    });
    let measures = declaration
        .iter()
        .flat_map(|table| &table.measures)
        .map(|measure| Measure {
            measure: measure.measure.clone(),
            unit: measure.unit.clone(),
            basis: measure.basis.clone().unwrap_or_default(),
            description: measure.description.clone(),
        });
    let kind = match declaration.map(|table| table.kind) {
        Some(TableKind::Series) => "series",
        Some(TableKind::Plain) => "plain",
        None => "",
    };
    Table {
        name: snapshot.table().to_owned(),
        description: declaration
            .map(|table| table.description.clone())
            .unwrap_or_default(),
        kind: kind.to_owned(),
        version: snapshot.version(),
        rows: snapshot.rows().unwrap_or_default(),
        key: declaration
            .map(|table| table.key.clone())
            .unwrap_or_default(),
        columns: fields.collect(),
        measures: measures.collect(),
    }
}
