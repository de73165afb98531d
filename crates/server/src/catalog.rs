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
use didymium_engine::{DescribedView, Engine, Grants, functions};
use didymium_store::{ColumnDeclaration, Declaration, Snapshot, TableKind, ViewDefinition};
use tonic::{Request, Response, Status};

use crate::caller::{Caller, Role};
use crate::status::failed;

/// The service over one engine's store.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) engine: Arc<Engine>,
}

impl Catalog {
    /// # Errors
    /// NOT_FOUND for a table that the caller does not see.
    async fn refuse_unseen(&self, name: &str, grants: &Grants) -> Result<(), Status> {
        let there = self.engine.store().has_table(name).await;
        match grants.allows(name) && there.map_err(of_store)? {
            true => Ok(()),
            false => Err(failed(&self.engine.unknown(name, grants).await)),
        }
    }

    /// # Errors
    /// PERMISSION_DENIED for a name that the maker of what bears it would not see.
    fn refuse_ungranted(&self, name: &str, grants: &Grants) -> Result<(), Status> {
        let granted = self.engine.refuse_ungranted(name, grants);
        granted.map_err(|error| failed(&error))
    }

    /// The sources whose rows the caller does not see yet.
    async fn hidden(&self, caller: &Caller) -> Result<Arc<Vec<String>>, Status> {
        match caller.role >= Role::Write {
            true => Ok(Arc::default()),
            false => {
                let held_back = self.engine.held_back().await;
                held_back.map_err(|error| failed(&error))
            }
        }
    }

    async fn described(&self, name: &str, caller: &Caller) -> Result<Table, Status> {
        let grants = &caller.grants;
        let view_of_name = self.engine.view(name, grants).await;
        if let Some(found) = view_of_name.map_err(|error| failed(&error))? {
            return Ok(view(found));
        }
        self.refuse_unseen(name, grants).await?;
        let found = self.engine.store().table(name).await.map_err(of_store)?;
        let snapshot = found.snapshot().await.map_err(of_store)?;
        table(&snapshot, &self.hidden(caller).await?)
    }
}

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn list_tables(
        &self,
        request: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let is_seen = |name: &String| caller.grants.allows(name);
        let hidden = self.hidden(&caller).await?;
        let store = self.engine.store();
        let mut tables = Vec::new();
        let names = store.table_names().await.map_err(of_store)?;
        for name in names.into_iter().filter(is_seen) {
            let snapshot = store
                .table(&name)
                .await
                .map_err(of_store)?
                .snapshot()
                .await
                .map_err(of_store)?;
            tables.push(table(&snapshot, &hidden)?);
        }
        let names = store.view_names().await.map_err(of_store)?;
        for name in names.into_iter().filter(is_seen) {
            // One that is dropped meanwhile is not listed.
            if let Some(definition) = store.view(&name).await.map_err(of_store)? {
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
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().name;
        self.described(&name, &caller).await.map(Response::new)
    }

    async fn create_table(
        &self,
        request: Request<CreateTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let grants = Caller::of(request.extensions())?.grants;
        let declaration =
            Declaration::parse(&request.into_inner().declaration).map_err(of_store)?;
        self.refuse_ungranted(&declaration.name, &grants)?;
        let made = self.engine.store();
        let made = made.create_table(&declaration, self.engine.now_ms()).await;
        let snapshot = made.map_err(of_store)?.snapshot().await.map_err(of_store)?;
        tracing::info!(table = declaration.name, "table made");
        table(&snapshot, &[]).map(Response::new)
    }

    async fn alter_table(
        &self,
        request: Request<AlterTableRequest>,
    ) -> Result<Response<Table>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let declaration = Declaration::parse(&request.declaration).map_err(of_store)?;
        self.refuse_unseen(&declaration.name, &caller.grants)
            .await?;
        let author = caller.author(request.author);
        let (store, now_ms) = (self.engine.store(), self.engine.now_ms());
        let altered = store.alter_table(&declaration, &author, now_ms);
        let version = altered.await.map_err(of_store)?;
        tracing::info!(table = declaration.name, version, "table altered");
        self.described(&declaration.name, &caller)
            .await
            .map(Response::new)
    }

    async fn drop_table(
        &self,
        request: Request<DropTableRequest>,
    ) -> Result<Response<DropTableResponse>, Status> {
        let grants = Caller::of(request.extensions())?.grants;
        let name = request.into_inner().name;
        self.refuse_unseen(&name, &grants).await?;
        let dropped = self.engine.store().drop_table(&name).await;
        dropped.map_err(of_store)?;
        tracing::info!(table = name, "table dropped");
        Ok(Response::new(DropTableResponse {}))
    }

    async fn create_view(
        &self,
        request: Request<CreateViewRequest>,
    ) -> Result<Response<Table>, Status> {
        let caller = Caller::of(request.extensions())?;
        let CreateViewRequest {
            name,
            sql,
            description,
            replace,
            author,
        } = request.into_inner();
        self.refuse_ungranted(&name, &caller.grants)?;
        let definition = ViewDefinition {
            name: name.clone(),
            sql,
            description,
            author: caller.author(author),
            created_ms: self.engine.now_ms(),
        };
        let made = self.engine.create_view(definition, replace, &caller.grants);
        let schema = made.await.map_err(|error| failed(&error))?;
        tracing::info!(view = name, "view made");
        Ok(Response::new(view(schema)))
    }

    async fn drop_view(
        &self,
        request: Request<DropViewRequest>,
    ) -> Result<Response<DropViewResponse>, Status> {
        let grants = Caller::of(request.extensions())?.grants;
        let name = request.into_inner().name;
        let dropped = self.engine.drop_view(&name, &grants).await;
        dropped.map_err(|error| failed(&error))?;
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

fn of_store(error: didymium_store::Error) -> Status {
    failed(&error.into())
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

/// A table as it is told to someone from whom the rows of some sources are hidden.
fn table(snapshot: &Snapshot, hidden: &[String]) -> Result<Table, Status> {
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
        rows: snapshot.rows_without(hidden),
        key: declaration
            .map(|table| table.key.clone())
            .unwrap_or_default(),
        columns: fields.collect(),
        measures: measures.collect(),
        declaration: toml.map_err(of_store)?.unwrap_or_default(),
        sql: String::new(),
    })
}
