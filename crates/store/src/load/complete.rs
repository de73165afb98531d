//! What a file need not say: columns that follow from others, or that the whole load shares.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Date32Builder, Int64Array, StringArray,
    new_null_array,
};
use arrow::datatypes::Date32Type;
use didymium_model::{Day, Frequency, Status, parse_period};

use super::cells::Cells;
use super::raw::{Raw, texts};
use super::{Input, LoadOptions};
use crate::standard_columns::{BASIS, LOAD_ID, SERIES};
use crate::{ColumnDeclaration, Declaration, Fault, Faults, Result, TableKind};

/// A column of whole periods, such as `2024-03` or `2024Q1`, in place of their two ends.
const PERIOD: &str = "period";

/// The columns that a file may bring: all but those that the store writes itself.
pub(super) fn file_columns(declaration: &Declaration) -> Vec<ColumnDeclaration> {
    let mut columns = declaration.all_columns();
    if declaration.kind == TableKind::Series {
        columns.retain(|column| ![SERIES, LOAD_ID].contains(&column.name.as_str()));
    }
    columns
}

/// Puts two ends in the place of a column of periods, and leaves out what the store writes itself,
/// which an export of a table has. Gives the rows whose period is told to be none.
pub(super) fn split_periods(
    declaration: &Declaration,
    raw: &mut Raw,
    input: &Input,
    faults: &mut Faults,
) -> Result<Vec<usize>> {
    if declaration.kind == TableKind::Plain {
        return Ok(Vec::new());
    }
    raw.columns
        .retain(|(name, _)| ![SERIES, LOAD_ID].contains(&name.as_str()));
    let has_ends = raw.column("period_start").is_some() || raw.column("period_end").is_some();
    let is_own = declaration
        .columns
        .iter()
        .any(|column| column.name == PERIOD);
    let Some(periods) = raw.column(PERIOD).filter(|_| !has_ends && !is_own) else {
        return Ok(Vec::new());
    };
    let periods = texts(periods)?;
    let mut broken = Vec::new();
    let mut starts = Date32Builder::with_capacity(periods.len());
    let mut ends = Date32Builder::with_capacity(periods.len());
    for (row, text) in periods.iter().enumerate() {
        let period = text.and_then(parse_period);
        if let (None, Some(text)) = (period, text) {
            broken.push(row);
            faults.add(Fault {
                file: input.name.clone(),
                row: raw.row_numbers[row],
                column: PERIOD.to_owned(),
                rule: "must be a period, such as 2024, 2024-Q1, 2024-03, 2024-W05, 2024-03-15 or 2024-01/2024-02"
                    .to_owned(),
                value: Some(text.to_owned()),
            });
        }
        starts.append_option(period.map(|(start, _)| start.days_from_epoch()));
        ends.append_option(period.map(|(_, end)| end.days_from_epoch()));
    }
    raw.columns.retain(|(name, _)| name != PERIOD);
    raw.columns
        .push(("period_start".to_owned(), Arc::new(starts.finish())));
    raw.columns
        .push(("period_end".to_owned(), Arc::new(ends.finish())));
    Ok(broken)
}

/// Adds the columns that the file lacks. One that nothing else gives is a fault, as is one of the
/// file's that the table has not; false then.
pub(super) fn complete(
    declaration: &Declaration,
    raw: &Raw,
    cells: &mut Cells,
    options: &LoadOptions,
    place: Place<'_>,
    faults: &mut Faults,
) -> bool {
    let before = faults.count();
    let columns = file_columns(declaration);
    for (name, _) in &raw.columns {
        if !columns.iter().any(|column| column.name == *name) {
            place.fault(name, "the table has no such column", faults);
        }
    }
    if declaration.kind == TableKind::Series {
        add_standard(declaration, cells, options, place, faults);
    }
    for column in &columns {
        if cells.columns.contains_key(&column.name) {
            continue;
        }
        if column.nullable {
            let nulls = new_null_array(&column.kind.arrow(), cells.rows());
            cells.columns.insert(column.name.clone(), nulls);
            continue;
        }
        let remedy = match column.name.as_str() {
            "source_id" => ": --source names the source of the whole file",
            "published_on" => ": --published-on gives the day of the whole file",
            _ => "",
        };
        let rule = format!("is missing in the {}{remedy}", place.header);
        place.fault(&column.name, &rule, faults);
    }
    faults.count() == before
}

/// Where a file's columns are named, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) row: u64,
    /// What names the columns there.
    pub(super) header: &'static str,
}

impl Place<'_> {
    fn fault(self, column: &str, rule: &str, faults: &mut Faults) {
        faults.add(Fault {
            file: self.file.to_owned(),
            row: self.row,
            column: column.to_owned(),
            rule: rule.to_owned(),
            value: None,
        });
    }
}

fn add_standard(
    declaration: &Declaration,
    cells: &mut Cells,
    options: &LoadOptions,
    place: Place<'_>,
    faults: &mut Faults,
) {
    let rows = cells.rows();
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::new_repeated(text, rows)) };
    let day =
        |day: Day| -> ArrayRef { Arc::new(Date32Array::from_value(day.days_from_epoch(), rows)) };
    let of_the_load = [
        (
            "source_id",
            "--source",
            options.source_id.as_deref().map(text),
        ),
        (
            "published_on",
            "--published-on",
            options.published_on.map(day),
        ),
    ];
    for (name, option, values) in of_the_load {
        let Some(values) = values else { continue };
        if cells.columns.contains_key(name) {
            let rule = format!("is in the file, so {option} must not be given");
            place.fault(name, &rule, faults);
        }
        cells.columns.insert(name.to_owned(), values);
    }
    let mut default = |name: &str, values: ArrayRef| {
        cells.columns.entry(name.to_owned()).or_insert(values);
    };
    default("status", text(Status::Final.word()));
    default("published_precision", text("day"));
    default("statement", Arc::new(Int64Array::from_value(1, rows)));
    default(
        "cumulative",
        Arc::new(BooleanArray::from(vec![false; rows])),
    );
    // What a measure can only be.
    let measures = &declaration.measures;
    if let Some(measure) = only(measures.iter().map(|it| &it.measure)) {
        default("measure", text(measure));
    }
    if let Some(unit) = only(measures.iter().map(|it| &it.unit)) {
        default("unit", text(unit));
    }
    if let Some(Some(basis)) = only(measures.iter().map(|it| &it.basis)) {
        default(BASIS, text(basis));
    }
    let days = |name: &str| {
        cells
            .columns
            .get(name)?
            .as_primitive_opt::<Date32Type>()
            .cloned()
    };
    if let (Some(starts), Some(ends)) = (days("period_start"), days("period_end")) {
        let letters = starts.iter().zip(ends.iter()).map(|(start, end)| {
            // The check says what is wrong with a period without an end, or that ends before it starts.
            let period = start.zip(end).filter(|(start, end)| start <= end);
            let letter = period.map(|(start, end)| {
                Frequency::of(Day::from_epoch(start), Day::from_epoch(end)).letter()
            });
            Some(letter.unwrap_or("X"))
        });
        let letters: ArrayRef = Arc::new(StringArray::from_iter(letters));
        cells
            .columns
            .entry("frequency".to_owned())
            .or_insert(letters);
    }
}

/// The value that all of them are.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
