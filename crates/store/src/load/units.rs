//! Values in the units that the table's measures have.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray, StringBuilder};
use didymium_model::{Conversion, Measure as Unit};

use super::cells::Cells;
use crate::standard_columns::{BASIS, VALUES};
use crate::{Fault, Faults, Measure};

/// Brings values that are in another unit of the same dimension and basis into the declared one, and
/// keeps what was printed beside them. A unit that stands in the cell itself is that cell's; what
/// can't be converted is left for the check to tell.
pub(super) fn convert(measures: &[Measure], cells: &mut Cells, file: &str, faults: &mut Faults) {
    if let Some(printed) = cells.printed.remove("value") {
        fill(cells, "printed_value", &printed);
    }
    let named = cells
        .text("measure")
        .cloned()
        .zip(cells.text("unit").cloned());
    let Some((names, units)) = named else {
        return;
    };
    let bases = cells.text(BASIS).cloned();
    if cells.units.is_empty() && all_declared(measures, &names, &units, bases.as_ref()) {
        return;
    }
    let mut rules = Rules {
        measures,
        known: HashMap::new(),
    };
    let text = |column: &StringArray, row: usize| -> Option<String> {
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let mut declared: Vec<Option<String>> = Vec::with_capacity(names.len());
    for row in 0..names.len() {
        let basis = bases.as_ref().and_then(|bases| text(bases, row));
        let unit = text(&units, row);
        let target = text(&names, row)
            .zip(unit.clone())
            .and_then(|(name, unit)| rules.target(&name, &unit, basis.as_deref()));
        declared.push(target.or(unit));
    }
    let mut printed_units: Vec<Option<String>> = vec![None; names.len()];
    for column in VALUES {
        let Some(values) = cells.double(column).cloned() else {
            continue;
        };
        let in_cell = cells.units.get(column);
        let converted = values.iter().enumerate().map(|(row, value)| {
            let in_cell = in_cell.and_then(|units| text(units, row));
            let from = in_cell.clone().or_else(|| text(&units, row));
            let (value, from, to) = (value?, from?, declared[row].as_deref()?);
            if in_cell.is_some() || from != to {
                printed_units[row] = Some(from.clone());
            }
            if from == to {
                return Some(value);
            }
            let conversion = rules.conversion(&from, to);
            if conversion.is_none() {
                faults.add(Fault {
                    file: file.to_owned(),
                    row: cells.row_numbers[row],
                    column: column.to_owned(),
                    rule: format!("is printed in {from}, which is no {to}"),
                    value: None,
                });
            }
            Some(conversion?.of(value))
        });
        let converted: Float64Array = converted.collect();
        cells.columns.insert(column.to_owned(), Arc::new(converted));
    }
    if printed_units.iter().any(Option::is_some) {
        fill(cells, "printed_unit", &StringArray::from(printed_units));
        let declared: ArrayRef = Arc::new(StringArray::from(declared));
        cells.columns.insert("unit".to_owned(), declared);
    }
}

/// Whether every row is in a unit that its measure has, so that there is nothing to convert.
fn all_declared(
    measures: &[Measure],
    names: &StringArray,
    units: &StringArray,
    bases: Option<&StringArray>,
) -> bool {
    let of_row = |row: usize| {
        let basis = bases.filter(|bases| bases.is_valid(row));
        let basis = basis.map(|bases| bases.value(row));
        (names.value(row), units.value(row), basis)
    };
    let mut last = None;
    (0..names.len()).all(|row| {
        let (name, unit, basis) = of_row(row);
        if last == Some((name, unit, basis)) {
            return true;
        }
        last = Some((name, unit, basis));
        measures.iter().any(|it| it.states((name, unit, basis)))
    })
}

/// Fills the empty cells of a text column.
fn fill(cells: &mut Cells, name: &str, with: &StringArray) {
    let mut filled = StringBuilder::new();
    let given = cells.text(name);
    for (row, new) in with.iter().enumerate() {
        let given = given.filter(|given| given.is_valid(row));
        filled.append_option(given.map(|given| given.value(row)).or(new));
    }
    let filled: ArrayRef = Arc::new(filled.finish());
    cells.columns.insert(name.to_owned(), filled);
}

/// What is known of units already: files repeat few.
struct Rules<'a> {
    measures: &'a [Measure],
    known: HashMap<(String, String), Option<Conversion>>,
}

impl Rules<'_> {
    /// The one declared unit that a row's unit can be converted to; its own where that is declared.
    fn target(&mut self, measure: &str, unit: &str, basis: Option<&str>) -> Option<String> {
        let of_measure = self
            .measures
            .iter()
            .filter(|it| it.measure == measure && it.basis.as_deref() == basis);
        let mut targets = Vec::new();
        for declared in of_measure {
            if declared.unit == unit {
                return Some(unit.to_owned());
            }
            targets.push(declared.unit.clone());
        }
        targets.retain(|target| self.conversion(unit, target).is_some());
        match targets.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    fn conversion(&mut self, from: &str, to: &str) -> Option<Conversion> {
        let pair = (from.to_owned(), to.to_owned());
        *self.known.entry(pair).or_insert_with(|| {
            let (from_unit, to_unit) = (Unit::named(from).ok()?, Unit::named(to).ok()?);
            from_unit.to(&to_unit, (from, to)).ok()
        })
    }
}
