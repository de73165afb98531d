//! Cells out of a file with one JSON object per line.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use serde_json::{Map, Value};

use super::raw::Raw;
use super::{Input, text};
use crate::{Fault, Faults, Result};

/// Reads every object's members as text; a member that an object lacks is NULL.
pub(super) fn read(input: &Input, encoding: Option<&str>, faults: &mut Faults) -> Result<Vec<Raw>> {
    let mut fault = |row: u64, column: &str, rule: String| {
        faults.add(Fault {
            file: input.name.clone(),
            row,
            column: column.to_owned(),
            rule,
            value: None,
        });
    };
    let content = match text::decode(&input.bytes, encoding) {
        Ok(content) => content,
        Err(rule) => {
            fault(0, "", rule);
            return Ok(Vec::new());
        }
    };
    let mut names: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut columns: Vec<StringBuilder> = Vec::new();
    let mut row_numbers = Vec::new();
    for (line, row) in content.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = match serde_json::from_str(line) {
            Ok(object) => object,
            Err(error) => {
                fault(row, "", format!("is no JSON object: {error}"));
                continue;
            }
        };
        for (name, value) in object {
            let place = *places.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                columns.push(StringBuilder::new());
                names.len() - 1
            });
            // The rows before this one lack it.
            let cells = &mut columns[place];
            pad(cells, row_numbers.len());
            match value {
                Value::Null => cells.append_null(),
                Value::String(text) if text.is_empty() => cells.append_null(),
                Value::String(text) => cells.append_value(text),
                Value::Bool(_) | Value::Number(_) => cells.append_value(value.to_string()),
                Value::Array(_) | Value::Object(_) => {
                    cells.append_null();
                    fault(
                        row,
                        &names[place],
                        "must be a text, a number or true or false".to_owned(),
                    );
                }
            }
        }
        row_numbers.push(row);
    }
    let columns = columns.into_iter().map(|mut cells| {
        pad(&mut cells, row_numbers.len());
        Arc::new(cells.finish()) as ArrayRef
    });
    Ok(vec![Raw {
        columns: names.into_iter().zip(columns).collect(),
        row_numbers,
    }])
}

fn pad(cells: &mut StringBuilder, rows: usize) {
    use arrow::array::ArrayBuilder as _;
    while cells.len() < rows {
        cells.append_null();
    }
}
