//! `CatalogService`: what a server holds.

use std::sync::Arc;

use arrow::datatypes::Field;
use didymium_api::v1::catalog_service_server::CatalogService;
use didymium_api::v1::{
    AlterTableRequest, CreateTableRequest, CreateViewRequest, DropTableRequest, DropTableResponse,
    DropViewRequest, DropViewResponse, Function, FunctionArgument, GetTableRequest,
    ListFunctionsRequest, ListFunctionsResponse, ListTablesRequest, ListTablesResponse, Measure,
    Table, TableColumn,
};
use didymium_engine::{DescribedView, Engine, Error, functions};
use didymium_store::{ColumnDeclaration, Declaration, Snapshot, TableKind, ViewDefinition};
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
            tables.push(table(&snapshot)?);
        }
        for name in store.view_names().await.map_err(failed)? {
            // One that is dropped meanwhile is not listed.
            if let Some(definition) = store.view(&name).await.map_err(failed)? {
                let schema = None;
                tables.push(view(DescribedView { definition, schema }));
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        for table in &mut tables {
            (table.columns, table.measures) = Default::default();
        }
        Ok(Response::new(ListTablesResponse { tables }))
    }

    async fn get_table(
        &self,
        request: Request<GetTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let name = request.into_inner().name;
        if let Some(found) = self.engine.view(&name).await.map_err(refusal)? {
            return Ok(Response::new(view(found)));
        }
        let found = self.engine.store().table(&name).await.map_err(failed)?;
        let snapshot = found.snapshot().await.map_err(failed)?;
        table(&snapshot).map(Response::new)
    }

    async fn create_table(
        &self,
        request: Request<CreateTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let declaration = Declaration::parse(&request.into_inner().declaration).map_err(failed)?;
        let made = self.engine.store();
        let made = made.create_table(&declaration, self.engine.now_ms()).await;
        let snapshot = made.map_err(failed)?.snapshot().await.map_err(failed)?;
        tracing::info!(table = declaration.name, "table made");
        table(&snapshot).map(Response::new)
    }

    async fn alter_table(
        &self,
        request: Request<AlterTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let request = request.into_inner();
        let declaration = Declaration::parse(&request.declaration).map_err(failed)?;
        let (store, now_ms) = (self.engine.store(), self.engine.now_ms());
        let altered = store.alter_table(&declaration, &request.author, now_ms);
        let version = altered.await.map_err(failed)?;
        tracing::info!(table = declaration.name, version, "table altered");
        let name = declaration.name;
        self.get_table(Request::new(GetTableRequest { name })).await
    }

    async fn drop_table(
        &self,
        request: Request<DropTableRequest>,
    ) -> Result<Response<DropTableResponse>, Status> {
        let name = request.into_inner().name;
        let dropped = self.engine.store().drop_table(&name).await;
        dropped.map_err(failed)?;
        tracing::info!(table = name, "table dropped");
        Ok(Response::new(DropTableResponse {}))
    }

    async fn create_view(
        &self,
        request: Request<CreateViewRequest>,
    ) -> Result<Response<Table>, Status> {
        let CreateViewRequest {
            name,
            sql,
            description,
            replace,
            author,
        } = request.into_inner();
        let definition = ViewDefinition {
            name: name.clone(),
            sql,
            description,
            author,
            created_ms: self.engine.now_ms(),
        };
        let made = self.engine.create_view(definition, replace).await;
        let schema = made.map_err(refusal)?;
        tracing::info!(view = name, "view made");
        Ok(Response::new(view(schema)))
    }

    async fn drop_view(
        &self,
        request: Request<DropViewRequest>,
    ) -> Result<Response<DropViewResponse>, Status> {
        let name = request.into_inner().name;
        let dropped = self.engine.store().drop_view(&name).await;
        dropped.map_err(failed)?;
        tracing::info!(view = name, "view dropped");
        Ok(Response::new(DropViewResponse {}))
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
    refusal(error.into())
}

fn refusal(error: Error) -> Status {
    status(&error, &Uuid::new_v4().to_string())
}

fn view(view: DescribedView) -> Table {
    let fields = view.schema.iter().flat_map(|schema| schema.fields());
    Table {
        name: view.definition.name,
        description: view.definition.description,
        kind: "view".to_owned(),
        columns: fields.map(|field| column(field, None)).collect(),
        sql: view.definition.sql,
        ..Table::default()
    }
}

fn column(field: &Field, declared: Option<&ColumnDeclaration>) -> TableColumn {
    TableColumn {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
        description: declared.map_or_else(String::new, |it| it.description.clone()),
        values: declared.map_or_else(Vec::new, |it| it.values.clone()),
    }
}

fn table(snapshot: &Snapshot) -> Result<Table, Status> {
    let declaration = snapshot.declaration();
    let columns = declaration
        .map(|table| table.all_columns())
        .unwrap_or_default();
    let fields = snapshot
        .schema()
        .fields()
        .iter()
        .map(|field| column(field, columns.iter().find(|it| it.name == *field.name())));
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
    let toml = declaration.map(Declaration::to_toml).transpose();
    Ok(Table {
        name: snapshot.table().to_owned(),
        description: declaration
            .map(|table| table.description.clone())
            .unwrap_or_default(),
        kind: kind.to_owned(),
        version: Some(snapshot.version()),
        rows: snapshot.rows(),
        key: declaration
            .map(|table| table.key.clone())
            .unwrap_or_default(),
        columns: fields.collect(),
        measures: measures.collect(),
        declaration: toml.map_err(failed)?.unwrap_or_default(),
        sql: String::new(),
    })
}
