//! From files to rows that may be written: read, mapped, completed, checked and named, several parts at
//! once, then sorted.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{Field, Schema};
use didymium_model::series_name;
use rayon::prelude::*;

use super::check::check;
use super::complete::{Place, complete, file_columns, split_periods};
use super::raw::{Raw, texts};
use super::room::Room;
use super::sorted::{Part, Sorted};
use super::{Input, InputFormat, LoadOptions, LoadRequest, Stage, cells, totals, units};
use crate::layout::internal;
use crate::standard_columns::{LOAD_ID, SERIES};
use crate::{Declaration, Error, Fault, Faults, Result, TableKind};

/// Rows of one file: the table's columns without those that the store writes, and each row's
/// number.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) rows: RecordBatch,
    pub(super) row_numbers: Vec<u64>,
    /// Cells, by place and column, whose fault has been told.
    pub(super) broken: HashSet<(usize, String)>,
}

/// Reads every file and refuses all of them together when any row breaks a rule.
pub(super) fn prepare(
    declaration: &Declaration,
    request: &LoadRequest,
    load_id: &str,
) -> Result<Sorted> {
    let (inputs, options) = (&request.inputs, &request.options);
    let mut faults = Faults::default();
    let room = Room::of(options);
    let mut parts = Vec::new();
    for (input, place) in inputs.iter().zip(0..) {
        request.progress.enter(Stage::Reading {
            file: input.name.clone(),
            place: place as usize + 1,
            of: inputs.len(),
        });
        let mut raw = Raw::read(input, encoding(options), &room, &mut faults)?;
        if !declaration.totals.is_empty() {
            // A total's parts may stand anywhere in the file.
            raw = Raw::whole(&raw)?.into_iter().collect();
        }
        let most_rows = raw.iter().map(Raw::rows).max().unwrap_or_default();
        let checking = Checking {
            declaration,
            input,
            place,
            options,
            now_ms: request.now_ms,
            load_ids: StringArray::new_repeated(load_id, most_rows),
        };
        let checked = raw.into_par_iter().map(|raw| checking.check(raw));
        for (checked, of_part) in checked.collect::<Result<Vec<_>>>()? {
            faults.extend(of_part);
            parts.extend(checked);
        }
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    let rows = parts.iter().map(|part| part.row_numbers.len() as u64);
    request.progress.enter(Stage::Sorting { rows: rows.sum() });
    let files = inputs.iter().map(|input| input.name.clone()).collect();
    Sorted::of(declaration, files, parts)
}

/// What the parts of one file are held to.
struct Checking<'a> {
    declaration: &'a Declaration,
    input: &'a Input,
    /// The file's, among those of the load.
    place: u32,
    options: &'a LoadOptions,
    now_ms: i64,
    /// The load's name, for as many rows as the largest part has.
    load_ids: StringArray,
}

impl Checking<'_> {
    /// The rows of the table that a part of the file becomes, if no rule is broken.
    fn check(&self, raw: Raw) -> Result<(Vec<Part>, Faults)> {
        let mut faults = Faults::default();
        let mut parts = Vec::new();
        let file = &self.input.name;
        for set in named(raw, self.input, self.options, &mut faults)? {
            let parsed = parse(self.declaration, set, self.input, self.options, &mut faults)?;
            let Some(parsed) = parsed else { continue };
            check(self.declaration, &parsed, file, self.now_ms, &mut faults);
            totals::check(self.declaration, &parsed, file, &mut faults)?;
            if faults.is_empty() {
                parts.push(Part {
                    rows: self.with_own_columns(&parsed.rows)?,
                    file: self.place,
                    row_numbers: parsed.row_numbers,
                });
            }
        }
        Ok((parts, faults))
    }

    /// Puts the columns that the store writes around a series table's own: the series' name in front, the
    /// load last.
    fn with_own_columns(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let declaration = self.declaration;
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
                LOAD_ID if is_series => Arc::new(self.load_ids.slice(0, rows.num_rows())),
                name => Arc::clone(of_file(name)?),
            })
        });
        RecordBatch::try_new(declaration.schema(), columns.collect::<Result<_>>()?)
            .map_err(internal)
    }
}

/// A file's rows by the table's names, in parts: more of them where a row of the file becomes several.
pub(super) fn sets(
    input: &Input,
    options: &LoadOptions,
    room: &Room,
    faults: &mut Faults,
) -> Result<Vec<Raw>> {
    let mut sets = Vec::new();
    for raw in Raw::read(input, encoding(options), room, faults)? {
        let mut of_part = Faults::default();
        sets.extend(named(raw, input, options, &mut of_part)?);
        faults.extend(of_part);
    }
    Ok(sets)
}

fn named(raw: Raw, input: &Input, options: &LoadOptions, faults: &mut Faults) -> Result<Vec<Raw>> {
    match &options.mapping {
        None => Ok(vec![raw.with_plain_names(input, faults)]),
        Some(mapping) => mapping.apply(&raw, input, faults),
    }
}

fn encoding(options: &LoadOptions) -> Option<&str> {
    options.mapping.as_ref()?.encoding.as_deref()
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
