//! What clients ask of the catalog before they ask for rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables};
use didymium_engine::{CATALOG_NAME, CatalogTable, Engine, SCHEMA_NAMES};
use tonic::Status;

use super::sql_info::{FunctionNames, sql_info};
use super::xdbc::xdbc_types;
use crate::caller::Caller;
use crate::status::failed;

/// The words that clients have for a table.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The answers that never change, and the way to the others.
pub(crate) struct Metadata {
    engine: Arc<Engine>,
    sql_info: SqlInfoData,
    xdbc_types: XdbcTypeInfoData,
}

impl Metadata {
    pub(crate) fn of(engine: Arc<Engine>) -> Result<Self, ArrowError> {
        Ok(Self {
            sql_info: sql_info(&function_names(&engine))?,
            xdbc_types: xdbc_types()?,
            engine,
        })
    }

    /// The columns of an answer; `None` for a command that asks nothing of the catalog.
    pub(crate) fn schema(&self, command: &Command) -> Option<SchemaRef> {
        Some(match command {
            Command::CommandGetCatalogs(it) => it.into_builder().schema(),
            Command::CommandGetDbSchemas(it) => it.clone().into_builder().schema(),
            Command::CommandGetTables(it) => it.clone().into_builder().schema(),
            Command::CommandGetTableTypes(it) => it.into_builder().schema(),
            Command::CommandGetSqlInfo(_) => self.sql_info.schema(),
            Command::CommandGetXdbcTypeInfo(_) => self.xdbc_types.schema(),
            Command::CommandGetPrimaryKeys(_) => primary_keys_schema(),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => foreign_keys_schema(),
            _ => return None,
        })
    }

    /// An answer; `None` for a command that asks nothing of the catalog.
    pub(crate) async fn rows(
        &self,
        command: Command,
        caller: &Caller,
    ) -> Result<Option<RecordBatch>, Status> {
        let rows = match command {
            Command::CommandGetCatalogs(it) => {
                let mut catalogs = it.into_builder();
                catalogs.append(CATALOG_NAME);
                catalogs.build()
            }
            Command::CommandGetDbSchemas(it) => schemas(it),
            Command::CommandGetTables(it) => tables(it, &self.tables(caller).await?),
            Command::CommandGetTableTypes(it) => {
                let mut types = it.into_builder();
                types.append(TABLE);
                types.append(VIEW);
                types.build()
            }
            Command::CommandGetSqlInfo(it) => it.into_builder(&self.sql_info).build(),
            Command::CommandGetXdbcTypeInfo(it) => it.into_builder(&self.xdbc_types).build(),
            Command::CommandGetPrimaryKeys(it) => primary_keys(&it, &self.tables(caller).await?),
            // Nothing in the store refers to anything by a key that it holds to.
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => {
                Ok(RecordBatch::new_empty(foreign_keys_schema()))
            }
            _ => return Ok(None),
        };
        rows.map(Some).map_err(|error: FlightError| {
            Status::internal(format!("the catalog has no Arrow form: {error}"))
        })
    }

    async fn tables(&self, caller: &Caller) -> Result<Vec<CatalogTable>, Status> {
        let tables = self.engine.catalog(&caller.grants).await;
        tables.map_err(|error| failed(&error))
    }
}

type Rows = Result<RecordBatch, FlightError>;

fn schemas(command: CommandGetDbSchemas) -> Rows {
    let mut schemas = command.into_builder();
    for schema in SCHEMA_NAMES {
        schemas.append(CATALOG_NAME, schema);
    }
    schemas.build()
}

fn tables(mut command: CommandGetTables, known: &[CatalogTable]) -> Rows {
    // Clients write the types as each likes.
    for kind in &mut command.table_types {
        *kind = match kind.to_ascii_uppercase().as_str() {
            "BASE TABLE" => TABLE.to_owned(),
            upper => upper.to_owned(),
        };
    }
    let mut tables = command.into_builder();
    for table in known {
        let kind = if table.is_view { VIEW } else { TABLE };
        let columns = described_columns(table);
        tables.append(CATALOG_NAME, table.schema, &table.name, kind, &columns)?;
    }
    tables.build()
}

/// The columns with what editors show of them. Results do not carry it: JDBC would take a remark for
/// the label of the column.
fn described_columns(table: &CatalogTable) -> Schema {
    let columns = table.columns.iter().flat_map(|columns| columns.fields());
    let columns = columns.map(|column| {
        let mut described = HashMap::from([
            ("CATALOG_NAME", CATALOG_NAME.to_owned()),
            ("SCHEMA_NAME", table.schema.to_owned()),
            ("TABLE_NAME", table.name.clone()),
            ("TYPE_NAME", sql_type(column.data_type())),
            ("IS_READ_ONLY", "1".to_owned()),
            ("IS_SEARCHABLE", "1".to_owned()),
        ]);
        let declared = table.declared.iter().find(|it| it.name == *column.name());
        if let Some(declared) = declared.filter(|it| !it.description.is_empty()) {
            described.insert("REMARKS", declared.description.clone());
        }
        if let DataType::Decimal128(precision, scale) = column.data_type() {
            described.insert("PRECISION", precision.to_string());
            described.insert("SCALE", scale.to_string());
        }
        let described = described
            .into_iter()
            .map(|(key, value)| (format!("ARROW:FLIGHT:SQL:{key}"), value));
        column.as_ref().clone().with_metadata(described.collect())
    });
    Schema::new(columns.collect::<Vec<Field>>())
}

/// The type under the name that a CAST takes.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INTEGER UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 => "VARCHAR",
        DataType::Binary | DataType::LargeBinary => "BYTEA",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL",
        DataType::Decimal128(..) => "DECIMAL",
        other => return other.to_string(),
    }
    .to_owned()
}

fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn primary_keys(command: &CommandGetPrimaryKeys, known: &[CatalogTable]) -> Rows {
    use arrow::array::{Int32Array, StringArray};

    let is_meant = |table: &&CatalogTable| {
        let catalog = command
            .catalog
            .as_deref()
            .is_none_or(|it| it == CATALOG_NAME);
        let schema = command
            .db_schema
            .as_deref()
            .is_none_or(|it| it == table.schema);
        catalog && schema && table.name == command.table
    };
    let meant = known.iter().filter(is_meant);
    let keys: Vec<_> = meant
        .flat_map(|table| (1..).zip(&table.key).map(move |key| (table, key)))
        .collect();
    let texts = |text: fn(&CatalogTable) -> &str| {
        StringArray::from_iter_values(keys.iter().map(|(table, _)| text(table)))
    };
    let columns = keys.iter().map(|(_, (_, column))| column);
    let places = keys.iter().map(|(_, (place, _))| *place);
    let batch = RecordBatch::try_new(
        primary_keys_schema(),
        vec![
            Arc::new(texts(|_| CATALOG_NAME)),
            Arc::new(texts(|table| table.schema)),
            Arc::new(texts(|table| &table.name)),
            Arc::new(StringArray::from_iter_values(columns)),
            Arc::new(texts(|table| &table.name)),
            Arc::new(Int32Array::from_iter_values(places)),
        ],
    );
    Ok(batch?)
}

fn foreign_keys_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// The functions by what JDBC sorts them into.
fn function_names(engine: &Engine) -> FunctionNames {
    let mut names = FunctionNames::default();
    for (name, section) in engine.function_sections() {
        let list = match section {
            "String Functions" | "Regular Expression Functions" => &mut names.string,
            "Time and Date Functions" => &mut names.datetime,
            "Other Functions" | "Struct Functions" | "Map Functions" | "Array Functions" => {
                &mut names.system
            }
            _ => &mut names.numeric,
        };
        list.push(name);
    }
    names
}
