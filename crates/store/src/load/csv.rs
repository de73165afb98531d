//! Cells out of a CSV file.

use std::ops::Range;
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
    let Some(parts) = parts(rows, separator) else {
        fault(
            0,
            "has more than 2 GiB, and quotes within its cells: load it in parts, or as Parquet"
                .to_owned(),
        );
        return Ok(Vec::new());
    };
    if is_odd(content.as_bytes())
        && let Some(row) = open_quote(&content)
    {
        fault(row, "has a quote that is never closed".to_owned());
    }
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

/// Cuts rows where one ends, so that several threads read them. `None` where that can't be told and they
/// are too many for one. One part at least, so that a file without rows has its columns.
fn parts(rows: &str, separator: u8) -> Option<Vec<&str>> {
    let pieces: Vec<Range<usize>> = (0..rows.len())
        .step_by(PART_BYTES)
        .map(|start| start..rows.len().min(start + PART_BYTES))
        .collect();
    let bytes = rows.as_bytes();
    let odd = pieces.par_iter().map(|piece| is_odd(&bytes[piece.clone()]));
    let odd: Vec<bool> = odd.collect();
    let within = odd.iter().scan(false, |within, odd| {
        let before = *within;
        *within ^= odd;
        Some(before)
    });
    let pieces: Vec<_> = pieces.into_iter().zip(within).collect();
    let cuts = pieces
        .into_par_iter()
        .map(|(piece, within)| first_row(bytes, piece, within, separator));
    let Some(cuts) = cuts.collect::<Option<Vec<Option<usize>>>>() else {
        return (rows.len() <= MOST_BYTES).then(|| vec![rows]);
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for cut in cuts.into_iter().skip(1).flatten().chain([rows.len()]) {
        if start < cut || parts.is_empty() {
            parts.push(&rows[start..cut]);
        }
        start = cut;
    }
    Some(parts)
}

/// Where the first row begins that begins in a piece of the text, if one does; `within` says whether the
/// piece begins within quotes. `None` where a quote stands within a cell, which some programs write: then
/// quotes do not tell where a row ends.
fn first_row(
    bytes: &[u8],
    piece: Range<usize>,
    mut within: bool,
    separator: u8,
) -> Option<Option<usize>> {
    let mut found = None;
    for place in piece {
        match bytes[place] {
            b'"' => {
                let before = place.checked_sub(1).map(|before| bytes[before]);
                let is_first =
                    before.is_none_or(|it| it == separator || matches!(it, b'\n' | b'\r' | b'"'));
                if !within && !is_first {
                    return None;
                }
                within = !within;
            }
            b'\n' if !within && found.is_none() => found = Some(place + 1),
            _ => {}
        }
    }
    Some(found)
}

/// Whether there is an odd number of quotes.
fn is_odd(bytes: &[u8]) -> bool {
    let quotes = bytes.iter().filter(|byte| **byte == b'"');
    quotes.count() % 2 == 1
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

    /// The parts of a file of many such rows, whose numbers must follow one another; each row is two lines.
    fn parts_of(row: &str) -> usize {
        let rows = 3 * PART_BYTES / row.len();
        let text = format!("name,number\r\n{}", row.repeat(rows));
        let input = Input {
            name: "large.csv".to_owned(),
            format: InputFormat::Csv,
            encoding: None,
            bytes: text.into(),
        };
        let mut faults = Faults::default();
        let parts = read(&input, None, &mut faults).expect("read");
        assert!(faults.is_empty(), "{faults}");
        let numbers = parts.iter().flat_map(|part| part.row_numbers.clone());
        assert!(numbers.eq((0..rows as u64).map(|row| 2 + 2 * row)));
        parts.len()
    }

    #[test]
    fn a_large_file_is_cut_between_its_rows() {
        let long = "x".repeat(1000);
        assert!(parts_of(&format!("{long},1\r\n\r\n")) > 1);
        assert!(parts_of(&format!("\"{long}\n\"\"{long}\",1\n")) > 1);
        assert!(parts_of(&format!("\"\",\"{long}\n,\"\r\n")) > 1);
    }

    #[test]
    fn a_file_with_quotes_in_its_cells_is_not_cut() {
        let long = "x".repeat(1000);
        assert_eq!(parts_of(&format!("{long} 5\" by 6\",1\n\n")), 1);
    }
}
