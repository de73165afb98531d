//! Parts that must add up to their total, as far as they are printed.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Float64Array, StringArray};
use arrow::datatypes::Float64Type;
use arrow::row::OwnedRow;
use didymium_model::{Measure as Unit, PrintedNumber, Status};

use super::prepare::Parsed;
use crate::layout::Layout;
use crate::standard_columns::SORT;
use crate::{Declaration, Fault, Faults, Result, Total};

/// Adds every total that is not the sum of its parts, where one source states all of them at once.
pub(super) fn check(
    declaration: &Declaration,
    parsed: &Parsed,
    file: &str,
    faults: &mut Faults,
) -> Result<()> {
    for total in &declaration.totals {
        let Some(figures) = Figures::of(parsed) else {
            return Ok(());
        };
        let mut groups: HashMap<OwnedRow, Vec<usize>> = HashMap::new();
        for (row, key) in keys(declaration, parsed, total)?.into_iter().enumerate() {
            if figures.counts(row) {
                groups.entry(key).or_default().push(row);
            }
        }
        let Some(classes) = parsed.rows.column_by_name(&total.column) else {
            continue;
        };
        let Some(classes) = classes.as_string_opt::<i32>() else {
            continue;
        };
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort();
        for rows in groups {
            let of = |class: &str| {
                rows.iter()
                    .copied()
                    .find(|row| classes.value(*row) == class)
            };
            let parts: Option<Vec<usize>> = total.parts.iter().map(|part| of(part)).collect();
            let Some((whole, parts)) = of(&total.total).zip(parts) else {
                continue;
            };
            let sum: f64 = parts.iter().map(|row| figures.values.value(*row)).sum();
            let printed = parts
                .iter()
                .chain([&whole])
                .map(|row| figures.precision(*row));
            // A little more, since sums of doubles are not exact.
            let tolerance = printed.sum::<f64>() * (1.0 + 1e-9);
            let found = figures.values.value(whole);
            if (sum - found).abs() > tolerance {
                faults.add(Fault {
                    file: file.to_owned(),
                    row: parsed.row_numbers[whole],
                    column: "value".to_owned(),
                    rule: format!(
                        "must be the sum of {}, which is {sum}, within {tolerance:.6}",
                        total.parts.join(" and ")
                    ),
                    value: Some(found.to_string()),
                });
            }
        }
    }
    Ok(())
}

/// What rows that belong together have in common: all but the class.
fn keys(declaration: &Declaration, parsed: &Parsed, total: &Total) -> Result<Vec<OwnedRow>> {
    let names = declaration
        .series_columns()
        .chain(SORT.into_iter().skip(1))
        .filter(|name| *name != total.column);
    let keys = Layout::over(declaration, names.map(str::to_owned).collect())?;
    let rows = keys.keys(&parsed.rows)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}

/// The figures of a file.
struct Figures<'a> {
    values: &'a Float64Array,
    units: &'a StringArray,
    statuses: &'a StringArray,
    printed: Option<(&'a StringArray, &'a StringArray)>,
}

impl<'a> Figures<'a> {
    fn of(parsed: &'a Parsed) -> Option<Self> {
        let text = |name: &str| parsed.rows.column_by_name(name)?.as_string_opt::<i32>();
        let values = parsed.rows.column_by_name("value")?;
        Some(Self {
            values: values.as_primitive_opt::<Float64Type>()?,
            units: text("unit")?,
            statuses: text("status")?,
            printed: text("printed_value").zip(text("printed_unit")),
        })
    }

    /// Whether a row states a figure that holds.
    fn counts(&self, row: usize) -> bool {
        let status = Status::of(self.statuses.value(row));
        self.values.is_valid(row) && status.is_some_and(|status| !status.is_set_aside())
    }

    /// Half a unit in the last digit that was printed.
    fn precision(&self, row: usize) -> f64 {
        let of_printed = || {
            let (printed, units) = self.printed?;
            let number = PrintedNumber::parse(printed.is_valid(row).then(|| printed.value(row))?)?;
            let unit = number
                .unit
                .or(units.is_valid(row).then(|| units.value(row)))
                .unwrap_or(self.units.value(row));
            let to = self.units.value(row);
            if unit == to {
                return Some(number.precision);
            }
            let conversion = Unit::named(unit)
                .ok()?
                .to(&Unit::named(to).ok()?, (unit, to));
            Some(conversion.ok()?.of(number.precision))
        };
        let of_value = || {
            let value = self.values.value(row);
            let half = PrintedNumber::parse(&value.to_string()).map_or(0.0, |it| it.precision);
            match self.statuses.value(row) == Status::Rounded.word() {
                true => half * trailing_zeros(value),
                false => half,
            }
        };
        of_printed().unwrap_or_else(of_value)
    }
}

/// The power of ten of a number's last zeros, which a rounded number does not vouch for: 10,000 for 160,000.
fn trailing_zeros(value: f64) -> f64 {
    let mut power = 1.0;
    while value != 0.0 && power < 1e15 && value % (power * 10.0) == 0.0 {
        power *= 10.0;
    }
    power
}
