//! The rows of a file as the file has them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;

use super::room::Room;
use super::{Input, InputFormat, columnar, csv, ndjson};
use crate::layout::internal;
use crate::{Fault, Faults, Result};

/// About how many rows are read and checked at once, by one thread.
pub(super) const PART_ROWS: usize = 64 * 1024;

/// Some rows of a file, by its own names: text out of CSV and JSON, typed out of Parquet and Arrow.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw {
    pub(super) columns: Vec<(String, ArrayRef)>,
    /// For each row its line, or its place counted from 1.
    pub(super) row_numbers: Vec<u64>,
}

impl Raw {
    /// Reads a file, in parts that follow one another: all have its columns. What is not readable of it is
    /// a fault; there are no parts then.
    ///
    /// `encoding` is a text's, unless the file's own is named.
    pub(super) fn read(
        input: &Input,
        encoding: Option<&str>,
        room: &Room,
        faults: &mut Faults,
    ) -> Result<Vec<Self>> {
        let encoding = input.encoding.as_deref().or(encoding);
        let parts = match input.format {
            InputFormat::Csv => csv::read(input, encoding, faults),
            InputFormat::NdJson => ndjson::read(input, encoding, faults),
            InputFormat::Parquet | InputFormat::Arrow => columnar::read(input, room, faults),
        };
        Ok(parts?.into_iter().flat_map(Self::in_parts).collect())
    }

    fn in_parts(self) -> Vec<Self> {
        let rows = self.rows();
        if rows <= PART_ROWS {
            return vec![self];
        }
        let part = |start: usize| {
            let length = PART_ROWS.min(rows - start);
            let columns = self.columns.iter();
            Self {
                columns: columns
                    .map(|(name, values)| (name.clone(), values.slice(start, length)))
                    .collect(),
                row_numbers: self.row_numbers[start..start + length].to_vec(),
            }
        };
        (0..rows).step_by(PART_ROWS).map(part).collect()
    }

    /// The parts as one.
    pub(super) fn whole(parts: &[Self]) -> Result<Option<Self>> {
        let Some(first) = parts.first() else {
            return Ok(None);
        };
        let columns = first.columns.iter().map(|(name, _)| {
            let parts: Vec<_> = parts.iter().filter_map(|part| part.column(name)).collect();
            let parts: Vec<_> = parts.iter().map(|part| part.as_ref()).collect();
            Ok((name.clone(), concat(&parts).map_err(internal)?))
        });
        Ok(Some(Self {
            columns: columns.collect::<Result<_>>()?,
            row_numbers: parts
                .iter()
                .flat_map(|part| part.row_numbers.iter().copied())
                .collect(),
        }))
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
