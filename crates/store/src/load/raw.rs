//! The rows of a file as the file has them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::{Input, InputFormat, columnar, csv, ndjson};
use crate::layout::internal;
use crate::{Fault, Faults, Result};

/// Columns by the file's own names: text out of CSV and JSON, typed out of Parquet and Arrow.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw {
    pub(super) columns: Vec<(String, ArrayRef)>,
    /// For each row its line, or its place counted from 1.
    pub(super) row_numbers: Vec<u64>,
}

impl Raw {
    /// Reads a file; what is not readable of it is a fault.
    ///
    /// `encoding` is a text's, unless the file's own is named.
    pub(super) fn read(
        input: &Input,
        encoding: Option<&str>,
        faults: &mut Faults,
    ) -> Result<Option<Self>> {
        let encoding = input.encoding.as_deref().or(encoding);
        match input.format {
            InputFormat::Csv => csv::read(input, encoding, faults),
            InputFormat::NdJson => ndjson::read(input, encoding, faults),
            InputFormat::Parquet | InputFormat::Arrow => columnar::read(input, faults),
        }
    }

    /// A column by its name.
    pub(super) fn column(&self, name: &str) -> Option<&ArrayRef> {
        let found = self.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, values)| values)
    }

    pub(super) fn rows(&self) -> usize {
        self.row_numbers.len()
    }

    /// A column of one text.
    pub(super) fn constant(&self, text: &str) -> ArrayRef {
        Arc::new(StringArray::new_repeated(text, self.rows()))
    }

    /// Under names that SQL takes unquoted, as a table's columns have: `Price (USD/t)` is
    /// `price_usd_t`.
    pub(super) fn with_plain_names(mut self, input: &Input, faults: &mut Faults) -> Self {
        for (name, _) in &mut self.columns {
            *name = plain_name(name);
        }
        self.refuse_twins(input, u64::from(input.format.is_text()), faults);
        self
    }

    /// Refuses a name that stands twice: which of the two is meant?
    fn refuse_twins(&self, input: &Input, row: u64, faults: &mut Faults) {
        for (place, (name, _)) in self.columns.iter().enumerate() {
            if self.columns[..place].iter().any(|(other, _)| other == name) {
                faults.add(Fault {
                    file: input.name.clone(),
                    row,
                    column: name.clone(),
                    rule: "occurs twice in the header".to_owned(),
                    value: None,
                });
            }
        }
    }
}

/// A name of lower-case letters, digits and `_`.
fn plain_name(header: &str) -> String {
    let letters = header.chars().flat_map(char::to_lowercase);
    let letters: String = letters
        .map(|letter| {
            if letter.is_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    let words = letters.split('_').filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_");
    match name.starts_with(char::is_alphabetic) {
        true => name,
        false => format!("c_{name}"),
    }
}

/// The texts of a column, whatever its type.
pub(super) fn texts(column: &ArrayRef) -> Result<StringArray> {
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Ok(texts.clone());
    }
    let texts = cast(column, &DataType::Utf8).map_err(internal)?;
    Ok(texts.as_string::<i32>().clone())
}
