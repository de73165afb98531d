//! From files to rows that may be written: parsed, checked, named and sorted.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::compute::{concat_batches, take};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use didymium_model::series_name;

use super::check::check;
use super::{Input, InputFormat, csv, parquet};
use crate::layout::{Layout, equal_neighbours, internal, sorted_order};
use crate::standard_columns::SERIES;
use crate::{Declaration, Error, Fault, Faults, Result, TableKind};

/// Rows in the table's order, and where each came from.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) rows: RecordBatch,
    files: Vec<String>,
    /// For each row its file, and its row there.
    origins: Vec<(u32, u64)>,
}

/// The rows of one file: the table's columns without the series, and each row's number.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) rows: RecordBatch,
    pub(super) row_numbers: Vec<u64>,
    /// Cells, by place and column, whose fault has been told.
    pub(super) broken: HashSet<(usize, String)>,
}

impl Prepared {
    /// The file and row that a row came from.
    pub(super) fn origin(&self, row: usize) -> (&str, u64) {
        let (file, number) = self.origins[row];
        (&self.files[file as usize], number)
    }
}

/// Reads every file and refuses all of them together when any row breaks a rule.
pub(super) fn prepare(
    declaration: &Declaration,
    inputs: &[Input],
    now_ms: i64,
) -> Result<Prepared> {
    let mut faults = Faults::default();
    let mut parsed = Vec::with_capacity(inputs.len());
    for input in inputs {
        let file = match input.format {
            InputFormat::Csv => csv::parse(declaration, input, &mut faults)?,
            InputFormat::Parquet => parquet::parse(declaration, input, &mut faults)?,
        };
        if let Some(file) = &file {
            check(declaration, file, &input.name, now_ms, &mut faults);
        }
        parsed.extend(file);
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    sort(declaration, inputs, parsed)
}

fn sort(declaration: &Declaration, inputs: &[Input], parsed: Vec<Parsed>) -> Result<Prepared> {
    let batches = parsed
        .iter()
        .map(|file| with_series(declaration, &file.rows));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    let rows = concat_batches(&declaration.schema(), &batches).map_err(internal)?;
    let origins: Vec<(u32, u64)> = parsed
        .iter()
        .zip(0..)
        .flat_map(|(file, index)| file.row_numbers.iter().map(move |row| (index, *row)))
        .collect();
    let layout = Layout::of(declaration)?;
    let keys = layout.keys(&rows)?;
    let order = sorted_order(&keys);
    let files: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();

    let mut faults = Faults::default();
    for (first, second) in equal_neighbours(&keys, &order) {
        let ((first_file, first_row), (file, row)) =
            (origins[first as usize], origins[second as usize]);
        let elsewhere = if first_file == file {
            String::new()
        } else {
            format!(" of {}", files[first_file as usize])
        };
        faults.add(Fault {
            file: files[file as usize].clone(),
            row,
            column: String::new(),
            rule: format!(
                "has the same {} as row {first_row}{elsewhere}",
                declaration.sort_columns().join(", ")
            ),
            value: None,
        });
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    let sorted = rows
        .columns()
        .iter()
        .map(|column| take(column, &order, None));
    let sorted = sorted.collect::<Result<Vec<_>, _>>().map_err(internal)?;
    let rows = RecordBatch::try_new(declaration.schema(), sorted).map_err(internal)?;
    let origins = order
        .values()
        .iter()
        .map(|row| origins[*row as usize])
        .collect();
    Ok(Prepared {
        rows,
        files,
        origins,
    })
}

/// Puts the series' name in front of a series table's columns.
fn with_series(declaration: &Declaration, rows: &RecordBatch) -> Result<RecordBatch> {
    if declaration.kind == TableKind::Plain {
        return Ok(rows.clone());
    }
    let key = declaration.series_columns().map(|name| {
        rows.column_by_name(name)
            .ok_or_else(|| Error::Internal(format!("no column {name}")))
    });
    let key = key.collect::<Result<Vec<_>>>()?;
    let names: ArrayRef = Arc::new(series_names(&key)?);
    let columns = std::iter::once(names)
        .chain(rows.columns().iter().cloned())
        .collect();
    debug_assert_eq!(declaration.schema().field(0).name(), SERIES);
    RecordBatch::try_new(declaration.schema(), columns).map_err(internal)
}

fn series_names(key: &[&ArrayRef]) -> Result<arrow::array::StringArray> {
    let options = FormatOptions::default();
    let formatters = key
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters
        .collect::<Result<Vec<_>, _>>()
        .map_err(internal)?;
    let rows = key.first().map_or(0, |column| column.len());
    let mut names = StringBuilder::with_capacity(rows, rows * 32);
    for row in 0..rows {
        let values: Vec<Option<String>> = key
            .iter()
            .zip(&formatters)
            .map(|(column, formatter)| {
                column
                    .is_valid(row)
                    .then(|| formatter.value(row).to_string())
            })
            .collect();
        names.append_value(series_name(values.iter().map(Option::as_deref)));
    }
    Ok(names.finish())
}
