//! Cells out of a CSV file.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};

use super::raw::Raw;
use super::{Input, text};
use crate::{Fault, Faults, Result};

/// A column of text holds no more: its places are counted in 31 bits.
const MOST_BYTES: usize = i32::MAX as usize;

/// Reads every cell. `None` where there is no header that could be read.
pub(super) fn read(
    input: &Input,
    encoding: Option<&str>,
    faults: &mut Faults,
) -> Result<Option<Raw>> {
    let mut fault = |row: u64, rule: String| {
        faults.add(Fault {
            file: input.name.clone(),
            row,
            column: String::new(),
            rule,
            value: None,
        });
    };
    if input.bytes.len() > MOST_BYTES {
        fault(
            0,
            "is larger than 2 GiB: load it in parts, or as Parquet".to_owned(),
        );
        return Ok(None);
    }
    let content = match text::decode(&input.bytes, encoding) {
        Ok(content) => content,
        Err(rule) => {
            fault(0, rule);
            return Ok(None);
        }
    };
    if let Some(row) = open_quote(&content) {
        fault(row, "has a quote that is never closed".to_owned());
    }
    let mut reader = ::csv::ReaderBuilder::new()
        .flexible(true)
        .delimiter(text::separator(&content))
        .from_reader(content.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(|name| name.trim().to_owned()).collect(),
        Err(error) => {
            fault(1, format!("the header is not readable: {error}"));
            return Ok(None);
        }
    };
    let mut cells: Vec<StringBuilder> = names.iter().map(|_| StringBuilder::new()).collect();
    let mut row_numbers = Vec::new();
    let mut record = ::csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                fault(line, format!("is not readable: {error}"));
                break;
            }
        }
        let row = record.position().map_or(line, |position| position.line());
        if record.len() != names.len() {
            let (has, wanted) = (record.len(), names.len());
            fault(
                row,
                format!("has {has} cells where the header has {wanted}"),
            );
            continue;
        }
        for (cell, cells) in record.iter().zip(&mut cells) {
            match cell {
                "" => cells.append_null(),
                cell => cells.append_value(cell),
            }
        }
        row_numbers.push(row);
    }
    let columns = cells
        .iter_mut()
        .map(|cells| Arc::new(cells.finish()) as ArrayRef);
    Ok(Some(Raw {
        columns: names.into_iter().zip(columns).collect(),
        row_numbers,
    }))
}

/// Where a quote stands that is never closed: it would swallow the rows after it, and the parser
/// would not say so.
fn open_quote(content: &str) -> Option<u64> {
    let (mut open_since, mut line) = (None, 1);
    for byte in content.bytes() {
        match byte {
            b'"' if open_since.is_some() => open_since = None,
            b'"' => open_since = Some(line),
            b'\n' => line += 1,
            _ => {}
        }
    }
    open_since
}
