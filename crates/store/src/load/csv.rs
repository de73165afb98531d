//! Rows out of a CSV file.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder,
};
use arrow::datatypes::{Field, Schema};
use didymium_model::Day;

use super::Input;
use super::prepare::Parsed;
use crate::layout::internal;
use crate::standard_columns::SERIES;
use crate::{ColumnDeclaration, ColumnType, Declaration, Fault, Faults, Result, TableKind};

/// Reads the table's columns, whatever their order in the file. `None` where the header is wrong.
pub(super) fn parse(
    declaration: &Declaration,
    input: &Input,
    faults: &mut Faults,
) -> Result<Option<Parsed>> {
    let content = input
        .bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&input.bytes);
    refuse_open_quote(content, input, faults);
    let mut reader = ::csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(content);
    let columns = file_columns(declaration);
    let Some(places) = header(&columns, &mut reader, input, faults) else {
        return Ok(None);
    };
    let mut cells = Cells {
        builders: columns
            .iter()
            .map(|column| Builder::new(column.kind))
            .collect(),
        columns: &columns,
        places,
        row_numbers: Vec::new(),
        broken: HashSet::new(),
    };
    cells.read(&mut reader, input, faults);
    let Cells {
        mut builders,
        row_numbers,
        broken,
        ..
    } = cells;
    let arrays = builders.iter_mut().map(Builder::finish).collect();
    // NULL in a column that forbids it is the check's to tell.
    let fields = columns
        .iter()
        .map(|column| Field::new(&column.name, column.kind.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema, arrays).map_err(internal)?;
    Ok(Some(Parsed {
        rows,
        row_numbers,
        broken,
    }))
}

/// The cells of a file on their way to columns.
struct Cells<'a> {
    columns: &'a [ColumnDeclaration],
    /// Where each column stands in the file.
    places: Vec<Option<usize>>,
    builders: Vec<Builder>,
    row_numbers: Vec<u64>,
    broken: HashSet<(usize, String)>,
}

impl Cells<'_> {
    fn read(&mut self, reader: &mut ::csv::Reader<&[u8]>, input: &Input, faults: &mut Faults) {
        let mut fault = |row: u64, column: &str, rule: String, value: Option<&str>| {
            faults.add(Fault {
                file: input.name.clone(),
                row,
                column: column.to_owned(),
                rule,
                value: value.map(shortened),
            });
        };
        let width = reader.headers().map_or(0, |headers| headers.len());
        let mut record = ::csv::StringRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut record) {
                Ok(false) => return,
                Ok(true) => {}
                Err(error) => {
                    fault(
                        line,
                        "",
                        format!("is not readable: {}", reason(&error)),
                        None,
                    );
                    if !matches!(error.kind(), ::csv::ErrorKind::Utf8 { .. }) {
                        return;
                    }
                    continue;
                }
            }
            let row = record.position().map_or(line, |position| position.line());
            if record.len() != width {
                let rule = format!("has {} cells where the header has {width}", record.len());
                fault(row, "", rule, None);
                continue;
            }
            let columns = self
                .columns
                .iter()
                .zip(&self.places)
                .zip(&mut self.builders);
            for ((column, place), builder) in columns {
                let cell = place.and_then(|place| record.get(place));
                let cell = cell.filter(|cell| !cell.is_empty());
                if !builder.append(cell) {
                    fault(
                        row,
                        &column.name,
                        column.kind.expectation().to_owned(),
                        cell,
                    );
                    self.broken
                        .insert((self.row_numbers.len(), column.name.clone()));
                }
            }
            self.row_numbers.push(row);
        }
    }
}

/// A quote that is never closed would swallow the rows after it, and the parser would not say so.
fn refuse_open_quote(content: &[u8], input: &Input, faults: &mut Faults) {
    let (mut open_since, mut line) = (None, 1);
    for byte in content {
        match byte {
            b'"' if open_since.is_some() => open_since = None,
            b'"' => open_since = Some(line),
            b'\n' => line += 1,
            _ => {}
        }
    }
    if let Some(row) = open_since {
        faults.add(Fault {
            file: input.name.clone(),
            row,
            column: String::new(),
            rule: "has a quote that is never closed".to_owned(),
            value: None,
        });
    }
}

/// The columns that a file brings: all but the series, which is derived.
pub(super) fn file_columns(declaration: &Declaration) -> Vec<ColumnDeclaration> {
    let mut columns = declaration.all_columns();
    if declaration.kind == TableKind::Series {
        columns.retain(|column| column.name != SERIES);
    }
    columns
}

/// Where each column of the table stands in the file; a column that may be NULL may be absent.
fn header(
    columns: &[ColumnDeclaration],
    reader: &mut ::csv::Reader<&[u8]>,
    input: &Input,
    faults: &mut Faults,
) -> Option<Vec<Option<usize>>> {
    let before = faults.count();
    let mut fault = |column: &str, rule: &str| {
        faults.add(Fault {
            file: input.name.clone(),
            row: 1,
            column: column.to_owned(),
            rule: rule.to_owned(),
            value: None,
        });
    };
    let names: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(str::to_owned).collect(),
        Err(error) => {
            fault(
                "",
                &format!("the header is not readable: {}", reason(&error)),
            );
            return None;
        }
    };
    for (place, name) in names.iter().enumerate() {
        if !columns.iter().any(|column| column.name == *name) {
            fault(name, "the table has no such column");
        } else if names[..place].contains(name) {
            fault(name, "occurs twice in the header");
        }
    }
    let places: Vec<Option<usize>> = columns
        .iter()
        .map(|column| names.iter().position(|name| *name == column.name))
        .collect();
    for (column, place) in columns.iter().zip(&places) {
        if place.is_none() && !column.nullable {
            fault(&column.name, "is missing in the header");
        }
    }
    (faults.count() == before).then_some(places)
}

fn reason(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

pub(super) fn shortened(cell: &str) -> String {
    const LONGEST: usize = 80;
    match cell.char_indices().nth(LONGEST) {
        None => cell.to_owned(),
        Some((end, _)) => format!("{}…", &cell[..end]),
    }
}

/// One column of cells on its way to Arrow.
enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Boolean(BooleanBuilder),
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    /// Appends a cell; false, and NULL in its place, where it is not of the type.
    fn append(&mut self, cell: Option<&str>) -> bool {
        macro_rules! append {
            ($builder:expr, $parse:expr) => {{
                let value = cell.and_then($parse);
                $builder.append_option(value);
                value.is_some() == cell.is_some()
            }};
        }
        match self {
            Self::Text(builder) => append!(builder, Some),
            Self::Int(builder) => append!(builder, |cell: &str| cell.parse().ok()),
            Self::Double(builder) => append!(builder, double),
            Self::Date(builder) => {
                append!(builder, |cell: &str| Day::parse(cell)
                    .map(Day::days_from_epoch))
            }
            Self::Boolean(builder) => append!(builder, |cell: &str| cell.parse().ok()),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A finite number; minus zero is zero.
fn double(cell: &str) -> Option<f64> {
    cell.parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .map(|value| value + 0.0)
}
