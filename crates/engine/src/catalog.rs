//! What there is to ask, for clients that show it: tables and views with their columns.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use didymium_store::ColumnDeclaration;

use crate::conform::conformed_schema;
use crate::engine::Scope;
use crate::session::{CATALOG, SCHEMA};
use crate::system::{self, SYSTEM};
use crate::{Engine, Grants, QueryRequest, Result};

/// The one catalog.
pub const CATALOG_NAME: &str = CATALOG;

/// Its schemas: the tables of the store, and what tells of them.
pub const SCHEMA_NAMES: [&str; 2] = [SCHEMA, SYSTEM];

/// A table or view.
#[derive(Debug, Clone)]
pub struct CatalogTable {
    /// The schema that it lies in.
    pub schema: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it is a stored query.
    pub is_view: bool,
    /// Its columns as a query gives them; `None` for a view whose query can't be planned any more.
    pub columns: Option<SchemaRef>,
    /// What is declared of its columns.
    pub declared: Vec<ColumnDeclaration>,
    /// The columns that name a row: of a series table those of the series, the period and the vintage.
    pub key: Vec<String>,
    /// What it holds.
    pub description: String,
}

impl Engine {
    /// Every table and view that a caller sees, in the order of their schemas and names.
    ///
    /// # Errors
    /// `Unavailable` where the storage fails. A damaged table is left out.
    pub async fn catalog(self: &Arc<Self>, grants: &Grants) -> Result<Vec<CatalogTable>> {
        let engine = Arc::clone(self);
        let request = QueryRequest {
            grants: grants.clone(),
            ..QueryRequest::default()
        };
        self.run_on_threads(async move { engine.catalog_of(&request).await })
            .await
    }

    async fn catalog_of(&self, request: &QueryRequest) -> Result<Vec<CatalogTable>> {
        let mut scope = Scope::of(self, request)?;
        let grants = &request.grants;
        let mut tables = Vec::new();
        for (_, snapshot) in system::opened(self.store(), grants).await? {
            let declaration = snapshot.declaration();
            tables.push(CatalogTable {
                schema: SCHEMA,
                name: snapshot.table().to_owned(),
                is_view: false,
                columns: Some(conformed_schema(snapshot.schema())),
                declared: declaration.map(|it| it.all_columns()).unwrap_or_default(),
                key: declaration.map(|it| it.row_key()).unwrap_or_default(),
                description: declaration.map_or_else(String::new, |it| it.description.clone()),
            });
        }
        let views = self.views(&mut scope).await?;
        tables.extend(views.iter().map(|view| CatalogTable {
            schema: SCHEMA,
            name: view.definition.name.clone(),
            is_view: true,
            columns: view.schema.clone(),
            declared: Vec::new(),
            key: Vec::new(),
            description: view.definition.description.clone(),
        }));
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        for name in system::TABLES {
            tables.push(CatalogTable {
                schema: SYSTEM,
                name: name.to_owned(),
                is_view: false,
                columns: Some(conformed_schema(&*system::schema(name).await?)),
                declared: Vec::new(),
                key: Vec::new(),
                description: String::new(),
            });
        }
        Ok(tables)
    }
}
