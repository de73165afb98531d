//! How the columns of a foreign file become a table's, so that the file loads without being edited.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray, StringBuilder};
use arrow::compute::filter;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::Input;
use super::raw::{Raw, texts};
use crate::layout::internal;
use crate::{Error, Fault, Faults, Result};

/// A declared mapping, as its TOML file says it. Columns of the file that it does not name are left
/// out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapping {
    /// The table that it is for; a load into another one is refused.
    pub table: Option<String>,
    /// The file's encoding, by its name on the web, where it is neither UTF-8 nor GB18030.
    pub encoding: Option<String>,
    /// Only the file's rows with one of these texts in each of these columns.
    pub keep: BTreeMap<String, Vec<String>>,
    /// The table's columns.
    pub columns: BTreeMap<String, Origin>,
    /// What each row of the file becomes: one row of the table for each entry, with these columns
    /// beside the common ones. Without entries each row becomes one.
    pub rows: Vec<MappedRow>,
}

/// One of the rows that a row of the file becomes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedRow {
    /// Only where this column of the file is not empty.
    #[serde(default)]
    pub when: Option<String>,
    /// The table's columns.
    pub columns: BTreeMap<String, Origin>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// A column of the file, as it is.
    Column(String),
    /// Something else.
    Made(Made),
}

/// A column's values, made out of the file's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Made {
    /// A column of the file.
    pub column: Option<String>,
    /// One text for every row.
    pub constant: Option<String>,
    /// A text with columns of the file in braces, such as `{hs}-{partner}`.
    pub template: Option<String>,
    /// What each text of the column becomes; another text is a fault.
    pub values: BTreeMap<String, String>,
    /// What a text that `values` does not list becomes; `{}` stands for the text itself.
    pub otherwise: Option<String>,
    /// The number, or the column of the file, to multiply by.
    pub times: Option<Factor>,
    /// The form of a day, such as `%d.%m.%Y`.
    pub format: Option<String>,
}

/// A number, or a column that holds one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Factor {
    /// The same for every row.
    Number(f64),
    /// The file's column.
    Column(String),
}

impl Mapping {
    /// Reads and checks a mapping.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the place and the rule.
    pub fn parse(toml: &str) -> Result<Self> {
        let invalid = |error: String| Error::Invalid(format!("mapping: {error}"));
        let mapping: Self = toml::from_str(toml).map_err(|error| invalid(error.to_string()))?;
        let rows = mapping.rows.iter().flat_map(|row| &row.columns);
        for (name, origin) in mapping.columns.iter().chain(rows) {
            let Origin::Made(made) = origin else { continue };
            let origins = [&made.column, &made.constant, &made.template];
            if origins.into_iter().flatten().count() != 1 {
                let rule = "takes one of column, constant and template";
                return Err(invalid(format!("{name} {rule}")));
            }
        }
        Ok(mapping)
    }

    /// The rows by the table's names: one set for each row that a row of the file becomes.
    pub(super) fn apply(&self, raw: &Raw, input: &Input, faults: &mut Faults) -> Result<Vec<Raw>> {
        let mut applied = Applied {
            input,
            faults,
            told: Vec::new(),
        };
        let kept = applied.kept(raw, &self.keep)?;
        let one = [MappedRow::default()];
        let entries = match self.rows.as_slice() {
            [] => one.as_slice(),
            entries => entries,
        };
        let mut sets = Vec::with_capacity(entries.len());
        for entry in entries {
            let rows = match &entry.when {
                None => kept.clone(),
                Some(column) => match applied.column(&kept, column)? {
                    None => continue,
                    Some(values) => filtered(
                        &kept,
                        &BooleanArray::from_iter(values.iter().map(|text| Some(text.is_some()))),
                    )?,
                },
            };
            // A row's own columns win over the common ones.
            let common = self
                .columns
                .iter()
                .filter(|(name, _)| !entry.columns.contains_key(*name));
            let mut columns = Vec::new();
            for (name, origin) in common.chain(&entry.columns) {
                if let Some(values) = applied.values(&rows, name, origin)? {
                    columns.push((name.clone(), values));
                }
            }
            sets.push(Raw {
                columns,
                row_numbers: rows.row_numbers,
            });
        }
        Ok(sets)
    }
}

/// One file's columns on their way.
struct Applied<'a> {
    input: &'a Input,
    faults: &'a mut Faults,
    /// Columns that the file was said to lack.
    told: Vec<String>,
}

impl Applied<'_> {
    fn fault(&mut self, row: u64, column: &str, rule: String, value: Option<&str>) {
        self.faults.add(Fault {
            file: self.input.name.clone(),
            row,
            column: column.to_owned(),
            rule,
            value: value.map(str::to_owned),
        });
    }

    /// The texts of a column of the file.
    fn column(&mut self, raw: &Raw, name: &str) -> Result<Option<StringArray>> {
        if let Some(column) = raw.column(name) {
            return texts(column).map(Some);
        }
        if !self.told.iter().any(|told| told == name) {
            self.told.push(name.to_owned());
            self.fault(
                1,
                name,
                "is missing in the file, and the mapping reads it".to_owned(),
                None,
            );
        }
        Ok(None)
    }

    fn kept(&mut self, raw: &Raw, keep: &BTreeMap<String, Vec<String>>) -> Result<Raw> {
        let mut kept = raw.clone();
        for (name, wanted) in keep {
            let Some(values) = self.column(&kept, name)? else {
                continue;
            };
            let is_wanted = |text: Option<&str>| {
                Some(text.is_some_and(|text| wanted.iter().any(|wanted| wanted == text)))
            };
            let mask = BooleanArray::from_iter(values.iter().map(is_wanted));
            kept = filtered(&kept, &mask)?;
        }
        Ok(kept)
    }

    fn values(&mut self, raw: &Raw, name: &str, origin: &Origin) -> Result<Option<ArrayRef>> {
        let made = match origin {
            Origin::Column(column) => match raw.column(column) {
                Some(values) => return Ok(Some(Arc::clone(values))),
                None => return self.column(raw, column).map(|_| None),
            },
            Origin::Made(made) => made,
        };
        if let Some(text) = &made.constant {
            return Ok(Some(raw.constant(text)));
        }
        if let Some(template) = &made.template {
            return self.filled(raw, name, template);
        }
        let Some(column) = &made.column else {
            return Ok(None);
        };
        let Some(mut values) = self.column(raw, column)? else {
            return Ok(None);
        };
        if !made.values.is_empty() || made.otherwise.is_some() {
            values = self.replaced(raw, column, &values, made);
        }
        if let Some(format) = &made.format {
            values = self.days(raw, column, &values, format);
        }
        if let Some(factor) = &made.times {
            return self.multiplied(raw, column, &values, factor);
        }
        Ok(Some(Arc::new(values)))
    }

    /// The texts that `values` names for others.
    fn replaced(
        &mut self,
        raw: &Raw,
        column: &str,
        values: &StringArray,
        made: &Made,
    ) -> StringArray {
        let replaced = (0..values.len()).map(|row| {
            if values.is_null(row) {
                return None;
            }
            let text = values.value(row);
            if let Some(new) = made.values.get(text) {
                return Some(new.clone());
            }
            if let Some(otherwise) = &made.otherwise {
                return Some(otherwise.replace("{}", text));
            }
            let known = made.values.keys().map(String::as_str).collect::<Vec<_>>();
            let rule = format!(
                "must be one of {}, which the mapping knows",
                known.join(", ")
            );
            self.fault(raw.row_numbers[row], column, rule, Some(text));
            None
        });
        replaced.collect()
    }

    /// Days of another form, in ours.
    fn days(&mut self, raw: &Raw, column: &str, values: &StringArray, format: &str) -> StringArray {
        let days = (0..values.len()).map(|row| {
            if values.is_null(row) {
                return None;
            }
            let text = values.value(row);
            if let Ok(day) = NaiveDate::parse_from_str(text, format) {
                return Some(day.to_string());
            }
            let rule = format!("must be a day written {format}");
            self.fault(raw.row_numbers[row], column, rule, Some(text));
            None
        });
        days.collect()
    }

    fn multiplied(
        &mut self,
        raw: &Raw,
        column: &str,
        values: &StringArray,
        factor: &Factor,
    ) -> Result<Option<ArrayRef>> {
        let factors = match factor {
            Factor::Number(number) => texts(&raw.constant(&number.to_string()))?,
            Factor::Column(column) => match self.column(raw, column)? {
                Some(factors) => factors,
                None => return Ok(None),
            },
        };
        let number = |text: &str| didymium_model::PrintedNumber::parse(text).map(|it| it.value);
        let mut products = StringBuilder::new();
        for row in 0..values.len() {
            if values.is_null(row) || factors.is_null(row) {
                products.append_null();
                continue;
            }
            let (text, factor) = (values.value(row), factors.value(row));
            match number(text).zip(number(factor)) {
                // As text: what the table wants of it is checked where all cells are.
                Some((value, factor)) => products.append_value((value * factor).to_string()),
                None => {
                    products.append_null();
                    let rule = "must be a number, since the mapping multiplies it".to_owned();
                    self.fault(raw.row_numbers[row], column, rule, Some(text));
                }
            }
        }
        Ok(Some(Arc::new(products.finish())))
    }

    /// A template with its columns put in.
    fn filled(&mut self, raw: &Raw, name: &str, template: &str) -> Result<Option<ArrayRef>> {
        let mut parts: Vec<(&str, Option<StringArray>)> = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let Some((column, after)) = after.split_once('}') else {
                let rule = format!("the mapping's template {template} lacks a closing brace");
                self.fault(0, name, rule, None);
                return Ok(None);
            };
            let Some(values) = self.column(raw, column)? else {
                return Ok(None);
            };
            parts.push((text, Some(values)));
            rest = after;
        }
        parts.push((rest, None));
        let filled = (0..raw.rows()).map(|row| {
            let mut filled = String::new();
            for (text, values) in &parts {
                filled.push_str(text);
                if let Some(values) = values.as_ref().filter(|values| values.is_valid(row)) {
                    filled.push_str(values.value(row));
                }
            }
            filled
        });
        Ok(Some(Arc::new(StringArray::from_iter_values(filled))))
    }
}

fn filtered(raw: &Raw, mask: &BooleanArray) -> Result<Raw> {
    let columns = raw.columns.iter().map(|(name, values)| {
        let values = filter(values, mask).map_err(internal)?;
        Ok((name.clone(), values))
    });
    let row_numbers = raw.row_numbers.iter().zip(mask.values());
    Ok(Raw {
        columns: columns.collect::<Result<_>>()?,
        row_numbers: row_numbers
            .filter_map(|(row, kept)| kept.then_some(*row))
            .collect(),
    })
}
