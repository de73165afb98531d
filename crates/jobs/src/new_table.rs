//! The table that the first run of a job makes.

use arrow::datatypes::{DataType, Schema};
use didymium_store::{ColumnDeclaration, ColumnType, Declaration, TableKind};

use crate::{Error, Result};

/// A plain table for rows of these columns. All of them are its key: one row is the same as another only
/// where all its values are.
///
/// # Errors
/// [`Error::Invalid`] for a column that no table can have.
pub(crate) fn declaration(table: &str, job: &str, columns: &Schema) -> Result<Declaration> {
    let columns = columns.fields().iter().map(|field| {
        let kind = kind(field.data_type()).ok_or_else(|| {
            Error::Invalid(format!(
                "job {job}: the column {} has the type {}, which no table has: cast it, for example to VARCHAR",
                field.name(),
                field.data_type()
            ))
        });
        Ok(ColumnDeclaration {
            name: field.name().clone(),
            kind: kind?,
            nullable: true,
            values: Vec::new(),
            min: None,
            max: None,
            description: format!("The column {} of the job {job}'s result.", field.name()),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let declaration = Declaration {
        name: table.to_owned(),
        kind: TableKind::Plain,
        description: format!("What the job {job} gives."),
        key: columns.iter().map(|column| column.name.clone()).collect(),
        source_rank: None,
        columns,
        measures: Vec::new(),
        totals: Vec::new(),
    };
    let checked = Declaration::parse(&declaration.to_toml()?);
    checked.map_err(|error| {
        Error::Invalid(format!(
            "job {job}: no table can be made of its columns: {error}; give them names by AS"
        ))
    })
}

/// The type of a table's column that holds all values of another.
fn kind(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            ColumnType::Text
        }
        DataType::Boolean => ColumnType::Boolean,
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, _) => ColumnType::Timestamp,
        integer if integer.is_integer() => ColumnType::Int,
        number if number.is_numeric() => ColumnType::Double,
        _ => return None,
    })
}
