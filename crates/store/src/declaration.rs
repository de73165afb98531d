//! What a table is: its key, its columns, its measures.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::standard_columns::{BASIS, SERIES, SORT, column, standard_columns};
use crate::{Error, Result};

/// A table's declaration, as its TOML file says it and as the table carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The table's name.
    pub name: String,
    /// Series or plain.
    pub kind: TableKind,
    /// What the table holds.
    pub description: String,
    /// The columns that name a series; in a plain table, a row.
    pub key: Vec<String>,
    /// Series tables: the column that ranks the sources, as `table.column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_rank: Option<String>,
    /// The key and the table's own columns, without the standard ones of a series table.
    pub columns: Vec<ColumnDeclaration>,
    /// Series tables: what may be measured, in which unit, on which basis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// Series tables: classes that add up to another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub totals: Vec<Total>,
}

/// The two kinds of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// One row states one measure of one series for one period, with its vintage and source.
    Series,
    /// Anything else.
    Plain,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDeclaration {
    /// Its name in SQL and in files.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether a row may lack it.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// The only values allowed; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The least number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What it says.
    pub description: String,
}

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    Int,
    /// A finite double.
    Double,
    /// A calendar day.
    Date,
    /// True or false.
    Boolean,
    /// A time of UTC, to the microsecond.
    Timestamp,
}

/// One thing that a series table measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The word in the column `measure`.
    pub measure: String,
    /// The unit of its values.
    pub unit: String,
    /// What the unit counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// The least value that makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// What it is.
    pub description: String,
}

/// The measure, unit and basis that a row states.
pub(crate) type Stated<'a> = (&'a str, &'a str, Option<&'a str>);

impl Measure {
    /// Whether it is what a row states.
    pub(crate) fn states(&self, (measure, unit, basis): Stated<'_>) -> bool {
        self.measure == measure && self.unit == unit && self.basis.as_deref() == basis
    }
}

/// A class whose figures are the sums of others', where one source states all of them at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// The key column of the classes.
    pub column: String,
    /// The whole.
    pub total: String,
    /// Its parts.
    pub parts: Vec<String>,
}

fn yes() -> bool {
    true
}

impl ColumnType {
    /// The Arrow type of the column.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// What a value must look like, for people.
    pub(crate) fn expectation(self) -> &'static str {
        match self {
            Self::Text => "must be text",
            Self::Int => "must be a whole number",
            Self::Double => "must be a finite number, such as 5489.2 or 5,489.2",
            Self::Date => "must be a day written YYYY-MM-DD",
            Self::Boolean => "must be true or false",
            Self::Timestamp => "must be a time, such as 2024-03-15T08:00:00Z, to the microsecond",
        }
    }
}

impl Declaration {
    /// Reads and checks a declaration.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the table, the place and the rule.
    pub fn parse(toml: &str) -> Result<Self> {
        let declaration: Self = toml::from_str(toml)
            .map_err(|error| Error::Invalid(format!("table declaration: {error}")))?;
        declaration.check()?;
        Ok(declaration)
    }

    /// The declaration as its TOML file says it.
    ///
    /// # Errors
    /// [`Error::Internal`] where it has no such form, which is a bug.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::Internal(format!("table {}: {error}", self.name)))
    }

    /// Every column in the table's order.
    pub fn all_columns(&self) -> Vec<ColumnDeclaration> {
        if self.kind == TableKind::Plain {
            return self.columns.clone();
        }
        let series = column(
            SERIES,
            ColumnType::Text,
            false,
            "The series' name: the values of the key and the measure, joined by /.",
        );
        let standard = standard_columns();
        let standard = standard
            .into_iter()
            .filter(|column| self.column(&column.name).is_none());
        std::iter::once(series)
            .chain(self.columns.iter().cloned())
            .chain(standard)
            .collect()
    }

    /// The schema of the table and of its files.
    pub fn schema(&self) -> SchemaRef {
        let fields = self
            .all_columns()
            .into_iter()
            .map(|column| Field::new(column.name, column.kind.arrow(), column.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The columns that files are sorted by. A row's values in them are unique in the table.
    pub fn sort_columns(&self) -> Vec<&str> {
        match self.kind {
            TableKind::Series => SORT.to_vec(),
            TableKind::Plain => self.key.iter().map(String::as_str).collect(),
        }
    }

    /// The columns that name a row of the table's bare name: of a series table, which gives one row for
    /// each series and period, those of the series and the period.
    pub fn row_key(&self) -> Vec<String> {
        let key = self.key.iter().map(String::as_str);
        let more: &[&str] = match self.kind {
            TableKind::Series => &["measure", "period_start", "period_end"],
            TableKind::Plain => &[],
        };
        key.chain(more.iter().copied()).map(str::to_owned).collect()
    }

    /// The columns whose values make a series' name, in order.
    pub(crate) fn series_columns(&self) -> impl Iterator<Item = &str> {
        self.key
            .iter()
            .map(String::as_str)
            .chain(std::iter::once("measure"))
    }

    fn column(&self, name: &str) -> Option<&ColumnDeclaration> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Refuses what can't be meant.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |rule: String| Err(Error::Invalid(format!("table {}: {rule}", self.name)));
        if !is_identifier(&self.name) {
            return invalid(
                "a name is made of lower-case letters, digits and _, and starts with a letter"
                    .into(),
            );
        }
        if self.key.is_empty() {
            return invalid("the key names no column".into());
        }
        let mut seen = HashSet::new();
        for column in &self.columns {
            if !is_column_name(&column.name) || !seen.insert(&column.name) {
                return invalid(format!(
                    "column '{}' is no name, or occurs twice",
                    column.name
                ));
            }
            if column.description.is_empty() {
                return invalid(format!("column {} has no description", column.name));
            }
        }
        if let Some(missing) = self.key.iter().find(|key| self.column(key).is_none()) {
            return invalid(format!("the key column {missing} is not among the columns"));
        }
        match self.kind {
            TableKind::Series => self.check_series(invalid),
            TableKind::Plain
                if !self.measures.is_empty()
                    || !self.totals.is_empty()
                    || self.source_rank.is_some() =>
            {
                invalid("measures, totals and source_rank belong to series tables".into())
            }
            TableKind::Plain => Ok(()),
        }
    }

    fn check_series(&self, invalid: impl Fn(String) -> Result<()>) -> Result<()> {
        if self.measures.is_empty() {
            return invalid("a series table declares its measures".into());
        }
        if let Some(total) = self.totals.iter().find(|it| !self.key.contains(&it.column)) {
            let column = &total.column;
            return invalid(format!("the totals' column {column} is not in the key"));
        }
        let standard = standard_columns();
        let taken = |name: &str| {
            name == SERIES
                || standard
                    .iter()
                    .any(|column| column.name == name && name != BASIS)
        };
        if let Some(column) = self.columns.iter().find(|column| taken(&column.name)) {
            return invalid(format!(
                "column {} is a standard column and is not declared",
                column.name
            ));
        }
        Ok(())
    }
}

/// What SQL takes unquoted, in any script.
fn is_column_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_alphabetic() && !c.is_uppercase();
    name.starts_with(is_letter)
        && name
            .chars()
            .all(|c| is_letter(c) || c.is_numeric() || c == '_')
}

/// Whether a table or view can be called so: what SQL takes unquoted.
pub fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"
        name = "output"
        kind = "series"
        description = "Output of mines."
        key = ["country", "basis"]
        source_rank = "sources.rank"
        [[columns]]
        name = "country"
        type = "text"
        nullable = false
        description = "Where."
        [[columns]]
        name = "basis"
        type = "text"
        values = ["REO", "gross"]
        description = "What a tonne counts."
        [[measures]]
        measure = "output"
        unit = "t"
        basis = "REO"
        min = 0.0
        description = "Mined."
    "#;

    #[test]
    fn a_series_table_has_its_key_and_the_standard_columns_once() {
        let output = Declaration::parse(OUTPUT).expect("a valid declaration");
        let schema = output.schema();
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names[..4], ["series", "country", "basis", "measure"]);
        assert_eq!(names.iter().filter(|name| **name == "basis").count(), 1);
        assert_eq!(output.sort_columns()[0], "series");
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (from, to, rule) in [
            ("name = \"output\"", "name = \"Output\"", "lower-case"),
            (
                "key = [\"country\",",
                "key = [\"land\",",
                "the key column land is not among",
            ),
            ("name = \"country\"", "name = \"value\"", "standard column"),
            (
                "description = \"Where.\"",
                "description = \"\"",
                "country has no description",
            ),
            ("min = 0.0", "minimum = 0.0", "unknown field `minimum`"),
        ] {
            let error = Declaration::parse(&OUTPUT.replace(from, to).replace(
                if to.contains("value") {
                    "key = [\"country\","
                } else {
                    "\u{0}"
                },
                "key = [\"value\",",
            ));
            let error = error.expect_err(to).to_string();
            assert!(error.contains(rule), "{to}: {error}");
        }
    }
}
