//! The rules that a row must keep, whatever form it came in.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type};
use didymium_model::{Day, Frequency, Status};

use super::csv::{file_columns, shortened};
use super::prepare::Parsed;
use crate::standard_columns::PRECISIONS;
use crate::{ColumnDeclaration, ColumnType, Declaration, Fault, Faults, Measure, TableKind};

/// Adds every broken rule to `faults`.
pub(super) fn check(
    declaration: &Declaration,
    parsed: &Parsed,
    file: &str,
    now_ms: i64,
    faults: &mut Faults,
) {
    let rows = Rows {
        batch: &parsed.rows,
    };
    let columns = file_columns(declaration);
    for (row, number) in parsed.row_numbers.iter().enumerate() {
        let mut broken = |column: &str, rule: String| {
            faults.add(Fault {
                file: file.to_owned(),
                row: *number,
                column: column.to_owned(),
                rule,
                value: rows.shown(column, row),
            });
        };
        for column in &columns {
            if parsed.broken.contains(&(row, column.name.clone())) {
                continue;
            }
            check_cell(column, &rows, row, &mut broken);
        }
        if declaration.kind == TableKind::Series {
            check_period(&rows, row, &mut broken);
            check_measure(&declaration.measures, &rows, row, &mut broken);
            check_statement(&rows, row, now_ms, &mut broken);
        }
    }
}

fn check_cell(
    column: &ColumnDeclaration,
    rows: &Rows<'_>,
    row: usize,
    broken: &mut impl FnMut(&str, String),
) {
    let name = column.name.as_str();
    let is_empty = rows.is_null(name, row) || rows.text(name, row) == Some("");
    if is_empty {
        if !column.nullable {
            broken(name, "must not be empty".to_owned());
        }
        return;
    }
    match column.kind {
        ColumnType::Double
            if rows
                .double(name, row)
                .is_some_and(|value| !value.is_finite()) =>
        {
            broken(name, ColumnType::Double.expectation().to_owned());
        }
        ColumnType::Text if !column.values.is_empty() => {
            let value = rows.text(name, row).unwrap_or_default();
            if !column.values.iter().any(|allowed| allowed == value) {
                broken(name, format!("must be one of {}", column.values.join(", ")));
            }
        }
        _ => {}
    }
}

fn check_period(rows: &Rows<'_>, row: usize, broken: &mut impl FnMut(&str, String)) {
    let (Some(start), Some(end)) = (rows.day("period_start", row), rows.day("period_end", row))
    else {
        return;
    };
    if end < start {
        broken(
            "period_end",
            format!("must not lie before period_start, {start}"),
        );
        return;
    }
    let letter = Frequency::of(start, end).letter();
    if rows
        .text("frequency", row)
        .is_some_and(|given| given != letter)
    {
        broken(
            "frequency",
            format!("must be {letter} for {start} to {end}"),
        );
    }
}

fn check_measure(
    measures: &[Measure],
    rows: &Rows<'_>,
    row: usize,
    broken: &mut impl FnMut(&str, String),
) {
    let (Some(name), Some(unit)) = (rows.text("measure", row), rows.text("unit", row)) else {
        return;
    };
    let basis = rows.text("basis", row);
    let of_name = || measures.iter().filter(|measure| measure.measure == name);
    let Some(measure) = of_name().find(|m| m.unit == unit && m.basis.as_deref() == basis) else {
        let allowed = of_name().map(|m| match &m.basis {
            Some(basis) => format!("{} {basis}", m.unit),
            None => m.unit.clone(),
        });
        let allowed = allowed.collect::<Vec<_>>();
        if allowed.is_empty() {
            let known = measures
                .iter()
                .map(|m| m.measure.as_str())
                .collect::<Vec<_>>();
            broken("measure", format!("must be one of {}", known.join(", ")));
        } else {
            let given = [Some(unit), basis]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ");
            broken(
                "unit",
                format!(
                    "{name} is measured in {}, not in {given}",
                    allowed.join(" or ")
                ),
            );
        }
        return;
    };
    for column in ["value", "value_low", "value_high"] {
        if let (Some(min), Some(value)) = (measure.min, rows.double(column, row))
            && value < min
        {
            broken(column, format!("{name} must not be less than {min}"));
        }
    }
}

fn check_statement(
    rows: &Rows<'_>,
    row: usize,
    now_ms: i64,
    broken: &mut impl FnMut(&str, String),
) {
    if let (Some(low), Some(high)) = (
        rows.double("value_low", row),
        rows.double("value_high", row),
    ) && high < low
    {
        broken(
            "value_high",
            format!("must not be less than value_low, {low}"),
        );
    }
    if let Some(status) = rows.text("status", row)
        && Status::of(status).is_none()
    {
        let known = Status::ALL.map(Status::word);
        broken("status", format!("must be one of {}", known.join(", ")));
    }
    if rows
        .text("published_precision", row)
        .is_some_and(|given| !PRECISIONS.contains(&given))
    {
        broken(
            "published_precision",
            format!("must be one of {}", PRECISIONS.join(", ")),
        );
    }
    if rows
        .int("statement", row)
        .is_some_and(|statement| statement < 1)
    {
        broken("statement", "must be 1 or more".to_owned());
    }
    let today = Day::at_ms(now_ms);
    // Somewhere east of here it is tomorrow already.
    let latest = today.days_from_epoch() + 1;
    if rows
        .day("published_on", row)
        .is_some_and(|day| day.days_from_epoch() > latest)
    {
        broken(
            "published_on",
            format!("must not lie in the future, today is {today}"),
        );
    }
}

/// Cells by column name and row.
struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    fn valid(&self, name: &str, row: usize) -> Option<&'a dyn Array> {
        let column = self.batch.column_by_name(name)?;
        column.is_valid(row).then_some(column.as_ref())
    }

    fn is_null(&self, name: &str, row: usize) -> bool {
        self.valid(name, row).is_none()
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        Some(self.valid(name, row)?.as_string_opt::<i32>()?.value(row))
    }

    fn double(&self, name: &str, row: usize) -> Option<f64> {
        Some(
            self.valid(name, row)?
                .as_primitive_opt::<Float64Type>()?
                .value(row),
        )
    }

    fn int(&self, name: &str, row: usize) -> Option<i64> {
        Some(
            self.valid(name, row)?
                .as_primitive_opt::<Int64Type>()?
                .value(row),
        )
    }

    fn day(&self, name: &str, row: usize) -> Option<Day> {
        let days = self
            .valid(name, row)?
            .as_primitive_opt::<Date32Type>()?
            .value(row);
        Some(Day::from_epoch(days))
    }

    fn shown(&self, name: &str, row: usize) -> Option<String> {
        let column = self.valid(name, row)?;
        let value = arrow::util::display::array_value_to_string(column, row).ok()?;
        Some(shortened(&value))
    }
}
