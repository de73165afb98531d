//! From files to rows that may be written: read, mapped, completed, checked, named and sorted.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Schema};
use didymium_model::series_name;

use super::check::check;
use super::complete::{Place, complete, file_columns, split_periods};
use super::raw::{Raw, texts};
use super::{Input, InputFormat, LoadOptions, LoadRequest, Stage, cells, totals, units};
use crate::layout::{Layout, equal_neighbours, internal, sorted_order};
use crate::standard_columns::{LOAD_ID, SERIES};
use crate::{Declaration, Error, Fault, Faults, Result, TableKind};

/// Rows in the table's order, and where each came from.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) rows: RecordBatch,
    files: Vec<String>,
    /// For each row its file, and its row there.
    origins: Vec<(u32, u64)>,
}

/// The rows of one file: the table's columns without those that the store writes, and each row's
/// number.
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

    /// Some of the rows, in their order.
    pub(super) fn only(&self, places: &[u32]) -> Result<Self> {
        let order = UInt32Array::from(places.to_vec());
        let origins = places.iter().map(|row| self.origins[*row as usize]);
        Ok(Self {
            rows: take_record_batch(&self.rows, &order).map_err(internal)?,
            files: self.files.clone(),
            origins: origins.collect(),
        })
    }
}

/// Reads every file and refuses all of them together when any row breaks a rule.
pub(super) fn prepare(
    declaration: &Declaration,
    request: &LoadRequest,
    load_id: &str,
) -> Result<Prepared> {
    let (inputs, options) = (&request.inputs, &request.options);
    let mut faults = Faults::default();
    let mut parsed = Vec::with_capacity(inputs.len());
    for (input, place) in inputs.iter().zip(0..) {
        request.progress.enter(Stage::Reading {
            file: input.name.clone(),
            place: place as usize + 1,
            of: inputs.len(),
        });
        for set in sets(input, options, &mut faults)? {
            let file = parse(declaration, set, input, options, &mut faults)?;
            if let Some(file) = &file {
                check(declaration, file, &input.name, request.now_ms, &mut faults);
                totals::check(declaration, file, &input.name, &mut faults)?;
            }
            parsed.extend(file.map(|file| (place, file)));
        }
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    let rows = parsed.iter().map(|(_, file)| file.row_numbers.len() as u64);
    request.progress.enter(Stage::Sorting { rows: rows.sum() });
    sort(declaration, inputs, &parsed, load_id)
}

/// A file's rows by the table's names: more than one set where a row of the file becomes several.
pub(super) fn sets(input: &Input, options: &LoadOptions, faults: &mut Faults) -> Result<Vec<Raw>> {
    let encoding = options
        .mapping
        .as_ref()
        .and_then(|it| it.encoding.as_deref());
    let Some(raw) = Raw::read(input, encoding, faults)? else {
        return Ok(Vec::new());
    };
    match &options.mapping {
        None => Ok(vec![raw.with_plain_names(input, faults)]),
        Some(mapping) => mapping.apply(&raw, input, faults),
    }
}

fn parse(
    declaration: &Declaration,
    mut raw: Raw,
    input: &Input,
    options: &LoadOptions,
    faults: &mut Faults,
) -> Result<Option<Parsed>> {
    let without_period = split_periods(declaration, &mut raw, input, faults)?;
    let columns = file_columns(declaration);
    let mut cells = cells::read(&columns, &raw, &input.name, faults);
    for row in without_period {
        let ends = ["period_start", "period_end"];
        cells.broken.extend(ends.map(|end| (row, end.to_owned())));
    }
    let place = Place {
        file: &input.name,
        row: u64::from(input.format.is_text()),
        header: match input.format {
            InputFormat::Csv => "header",
            _ => "file",
        },
    };
    if !complete(declaration, &raw, &mut cells, options, place, faults) {
        return Ok(None);
    }
    if declaration.kind == TableKind::Series {
        units::convert(&declaration.measures, &mut cells, &input.name, faults);
    } else {
        refuse_units(&cells, &input.name, faults);
    }
    // NULL in a column that forbids it is the check's to tell.
    let fields = columns
        .iter()
        .map(|column| Field::new(&column.name, column.kind.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns
        .iter()
        .filter_map(|column| cells.columns.get(&column.name).cloned());
    let rows = RecordBatch::try_new(schema, arrays.collect()).map_err(internal)?;
    Ok(Some(Parsed {
        rows,
        row_numbers: cells.row_numbers,
        broken: cells.broken,
    }))
}

/// A plain table's numbers have no unit that could be converted to.
fn refuse_units(cells: &cells::Cells, file: &str, faults: &mut Faults) {
    for (column, units) in &cells.units {
        for (row, unit) in units.iter().enumerate() {
            if let Some(unit) = unit {
                faults.add(Fault {
                    file: file.to_owned(),
                    row: cells.row_numbers[row],
                    column: column.clone(),
                    rule: "must be a number without a unit".to_owned(),
                    value: Some(unit.to_owned()),
                });
            }
        }
    }
}

fn sort(
    declaration: &Declaration,
    inputs: &[Input],
    parsed: &[(u32, Parsed)],
    load_id: &str,
) -> Result<Prepared> {
    let batches = parsed
        .iter()
        .map(|(_, file)| with_own_columns(declaration, &file.rows, load_id));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    let rows = concat_batches(&declaration.schema(), &batches).map_err(internal)?;
    let origins = parsed
        .iter()
        .flat_map(|(place, file)| file.row_numbers.iter().map(|row| (*place, *row)));
    let unsorted = Prepared {
        rows,
        files: inputs.iter().map(|input| input.name.clone()).collect(),
        origins: origins.collect(),
    };
    let layout = Layout::of(declaration)?;
    if layout.is_in_order(&unsorted.rows)? {
        return Ok(unsorted);
    }
    let keys = layout.own_keys(&unsorted.rows)?;
    let order = sorted_order(&keys);

    let mut faults = Faults::default();
    for (first, second) in equal_neighbours(&keys, &order) {
        let (first_file, first_row) = unsorted.origin(first as usize);
        let (file, row) = unsorted.origin(second as usize);
        let elsewhere = match first_file == file {
            true => String::new(),
            false => format!(" of {first_file}"),
        };
        let key = declaration.sort_columns().join(", ");
        faults.add(Fault {
            file: file.to_owned(),
            row,
            column: String::new(),
            rule: format!("has the same {key} as row {first_row}{elsewhere}"),
            value: None,
        });
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    drop(keys);
    unsorted.only(order.values())
}

/// Puts the columns that the store writes around a series table's own: the series' name in front, the
/// load last.
fn with_own_columns(
    declaration: &Declaration,
    rows: &RecordBatch,
    load_id: &str,
) -> Result<RecordBatch> {
    let of_file = |name: &str| {
        rows.column_by_name(name)
            .ok_or_else(|| Error::Internal(format!("no column {name}")))
    };
    let columns = declaration.all_columns().into_iter().map(|column| {
        let is_series = declaration.kind == TableKind::Series;
        Ok(match column.name.as_str() {
            SERIES if is_series => {
                let key = declaration.series_columns().map(of_file);
                Arc::new(series_names(&key.collect::<Result<Vec<_>>>()?)?) as ArrayRef
            }
            LOAD_ID if is_series => Arc::new(StringArray::new_repeated(load_id, rows.num_rows())),
            name => Arc::clone(of_file(name)?),
        })
    });
    RecordBatch::try_new(declaration.schema(), columns.collect::<Result<_>>()?).map_err(internal)
}

fn series_names(key: &[&ArrayRef]) -> Result<StringArray> {
    let key = key.iter().map(|column| texts(column));
    let key = key.collect::<Result<Vec<StringArray>>>()?;
    let rows = key.first().map_or(0, Array::len);
    let values = |row: usize| {
        key.iter()
            .map(move |it| it.is_valid(row).then(|| it.value(row)))
    };
    let mut names = StringBuilder::with_capacity(rows, rows * 32);
    let mut name = String::new();
    for row in 0..rows {
        // Files often tell a series' periods one after the other.
        if row == 0 || !values(row).eq(values(row - 1)) {
            name = series_name(values(row));
        }
        names.append_value(&name);
    }
    Ok(names.finish())
}
