//! Cells out of a CSV file.

use std::sync::Arc;

use ::csv::{Position, Reader, ReaderBuilder, StringRecord};
use arrow::array::{ArrayRef, StringBuilder};
use rayon::prelude::*;

use super::raw::Raw;
use super::{Input, text};
use crate::{Fault, Faults, Result};

/// A column of text holds no more: its places are counted in 31 bits.
const MOST_BYTES: usize = i32::MAX as usize;

/// About how much of a file one thread reads at once.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// Reads every cell, in parts. None where there is no header that could be read.
pub(super) fn read(input: &Input, encoding: Option<&str>, faults: &mut Faults) -> Result<Vec<Raw>> {
    let mut fault = |row: u64, rule: String| {
        faults.add(Fault {
            file: input.name.clone(),
            row,
            column: String::new(),
            rule,
            value: None,
        });
    };
    let content = match text::decode(&input.bytes, encoding) {
        Ok(content) => content,
        Err(rule) => {
            fault(0, rule);
            return Ok(Vec::new());
        }
    };
    // Within quotes a line's end is none: only the parser knows where a row ends.
    let is_quoted = content.as_bytes().contains(&b'"');
    if is_quoted && content.len() > MOST_BYTES {
        fault(
            0,
            "has quotes and more than 2 GiB: load it in parts, or as Parquet".to_owned(),
        );
        return Ok(Vec::new());
    }
    if is_quoted && let Some(row) = open_quote(&content) {
        fault(row, "has a quote that is never closed".to_owned());
    }
    let separator = text::separator(&content);
    let mut header = reader(&content, separator);
    let mut cells = StringRecord::new();
    let names: Vec<String> = match header.read_record(&mut cells) {
        Ok(_) => cells.iter().map(|name| name.trim().to_owned()).collect(),
        Err(error) => {
            fault(1, format!("the header is not readable: {error}"));
            return Ok(Vec::new());
        }
    };
    let place = header.position();
    let rows = &content[place.byte() as usize..];
    let parts = match is_quoted {
        true => vec![rows],
        false => parts(rows),
    };
    let lines: Vec<u64> = parts.par_iter().map(|part| line_ends(part)).collect();
    let mut first_line = place.line();
    let mut numbered = Vec::with_capacity(parts.len());
    for (part, lines) in parts.into_iter().zip(lines) {
        numbered.push((part, first_line));
        first_line += lines;
    }
    let read: Vec<(Raw, Faults)> = numbered
        .into_par_iter()
        .map(|(part, first_line)| {
            let part = Part {
                file: &input.name,
                names: &names,
                rows: part,
                first_line,
            };
            part.read(separator)
        })
        .collect();
    Ok(read
        .into_iter()
        .map(|(raw, of_part)| {
            faults.extend(of_part);
            raw
        })
        .collect())
}

fn reader(text: &str, separator: u8) -> Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// Some whole rows of a file.
struct Part<'a> {
    file: &'a str,
    names: &'a [String],
    rows: &'a str,
    first_line: u64,
}

impl Part<'_> {
    fn read(&self, separator: u8) -> (Raw, Faults) {
        let mut faults = Faults::default();
        let mut fault = |row: u64, rule: String| {
            faults.add(Fault {
                file: self.file.to_owned(),
                row,
                column: String::new(),
                rule,
                value: None,
            });
        };
        let wanted = self.names.len();
        let mut cells: Vec<StringBuilder> = Vec::with_capacity(wanted);
        cells.resize_with(wanted, || {
            StringBuilder::with_capacity(0, self.rows.len() / wanted.max(1))
        });
        let mut row_numbers = Vec::new();
        let mut reader = reader(self.rows, separator);
        let mut record = StringRecord::new();
        loop {
            let line = self.first_line + reader.position().line() - 1;
            match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => {
                    fault(line, format!("is not readable: {error}"));
                    break;
                }
            }
            let row = record
                .position()
                .map_or(line, |position| self.first_line + self.line(position) - 1);
            let has = record.len();
            if has != wanted {
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
        let raw = Raw {
            columns: self.names.iter().cloned().zip(columns).collect(),
            row_numbers,
        };
        (raw, faults)
    }

    /// The line of a row: the parser says where it began to look for one, which is before the empty lines,
    /// and between the two characters that end a line on Windows.
    fn line(&self, position: &Position) -> u64 {
        let ahead = &self.rows.as_bytes()[position.byte() as usize..];
        let ends = ahead.iter().take_while(|it| matches!(it, b'\r' | b'\n'));
        position.line() + ends.filter(|it| **it == b'\n').count() as u64
    }
}

/// Cuts text without quotes where lines end. One part at least, so that a file without rows has its
/// columns.
fn parts(content: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = content;
    while rest.len() > PART_BYTES {
        let bytes = rest.as_bytes();
        let Some(end) = bytes[PART_BYTES..].iter().position(|it| *it == b'\n') else {
            break;
        };
        let (part, after) = rest.split_at(PART_BYTES + end + 1);
        parts.push(part);
        rest = after;
    }
    if parts.is_empty() || !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

fn line_ends(text: &str) -> u64 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputFormat;

    #[test]
    fn a_large_file_is_cut_between_its_rows() {
        let line = format!("{},1\r\n", "x".repeat(1000));
        let rows = 3 * PART_BYTES / line.len();
        let text = format!("name,number\r\n{}", line.repeat(rows));
        let input = Input {
            name: "large.csv".to_owned(),
            format: InputFormat::Csv,
            encoding: None,
            bytes: text.into(),
        };
        let mut faults = Faults::default();
        let parts = read(&input, None, &mut faults).expect("read");
        assert!(faults.is_empty(), "{faults}");
        assert!(parts.len() > 1);
        let numbers = parts.iter().flat_map(|part| part.row_numbers.clone());
        assert!(numbers.eq(2..rows as u64 + 2));
    }
}
