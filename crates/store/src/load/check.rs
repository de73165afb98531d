//! The rules that a row must keep, whatever form it came in.

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Date32Type, Float64Type, Int64Type};
use didymium_model::{Day, Frequency, Status};

use super::complete::file_columns;
use super::prepare::Parsed;
use crate::declaration::Stated;
use crate::standard_columns::{PRECISIONS, VALUES};
use crate::{ColumnDeclaration, ColumnType, Declaration, Fault, Faults, Measure, TableKind};

/// Adds every broken rule to `faults`.
pub(super) fn check(
    declaration: &Declaration,
    parsed: &Parsed,
    file: &str,
    now_ms: i64,
    faults: &mut Faults,
) {
    let mut check = Check {
        parsed,
        file,
        faults,
    };
    for column in file_columns(declaration) {
        check.column(&column);
    }
    if declaration.kind == TableKind::Series {
        check.periods();
        check.measures(&declaration.measures);
        check.bounds();
        check.statements(now_ms);
    }
}

struct Check<'a> {
    parsed: &'a Parsed,
    file: &'a str,
    faults: &'a mut Faults,
}

impl<'a> Check<'a> {
    fn rows(&self) -> &'a RecordBatch {
        &self.parsed.rows
    }

    fn count(&self) -> usize {
        self.parsed.row_numbers.len()
    }

    fn broken(&mut self, row: usize, column: &str, rule: String) {
        let shown = self.rows().column_by_name(column).and_then(|values| {
            if values.is_null(row) {
                return None;
            }
            arrow::util::display::array_value_to_string(values, row).ok()
        });
        self.faults.add(Fault {
            file: self.file.to_owned(),
            row: self.parsed.row_numbers[row],
            column: column.to_owned(),
            rule,
            value: shown,
        });
    }

    fn text(&self, name: &str) -> Option<&'a StringArray> {
        self.rows().column_by_name(name)?.as_string_opt()
    }

    fn double(&self, name: &str) -> Option<&'a Float64Array> {
        self.rows()
            .column_by_name(name)?
            .as_primitive_opt::<Float64Type>()
    }

    fn days(&self, name: &str) -> Option<&'a Date32Array> {
        self.rows()
            .column_by_name(name)?
            .as_primitive_opt::<Date32Type>()
    }

    /// One of some words, where there is any text.
    fn words(&mut self, name: &str, words: &[&str]) {
        let Some(texts) = self.text(name) else { return };
        let mut last = None;
        for row in 0..texts.len() {
            let text = texts.value(row);
            if texts.is_null(row) || text.is_empty() || last == Some(text) {
                continue;
            }
            if words.contains(&text) {
                last = Some(text);
            } else {
                self.broken(row, name, format!("must be one of {}", words.join(", ")));
            }
        }
    }

    /// What the column's own declaration says.
    fn column(&mut self, column: &ColumnDeclaration) {
        let name = column.name.as_str();
        let Some(values) = self.rows().column_by_name(name) else {
            return;
        };
        if !column.nullable {
            for row in empty(values) {
                if !self.was_told(row, name) {
                    self.broken(row, name, "must not be empty".to_owned());
                }
            }
        }
        match column.kind {
            ColumnType::Double => {
                let Some(values) = self.double(name) else {
                    return;
                };
                for (row, value) in values.iter().enumerate() {
                    let Some(value) = value else { continue };
                    if !value.is_finite() {
                        self.broken(row, name, ColumnType::Double.expectation().to_owned());
                    } else {
                        self.in_range(column, row, value);
                    }
                }
            }
            ColumnType::Int if column.min.is_some() || column.max.is_some() => {
                let Some(values) = values.as_primitive_opt::<Int64Type>() else {
                    return;
                };
                for (row, value) in values.iter().enumerate() {
                    if let Some(value) = value {
                        self.in_range(column, row, value as f64);
                    }
                }
            }
            ColumnType::Text if !column.values.is_empty() => {
                let words: Vec<&str> = column.values.iter().map(String::as_str).collect();
                self.words(name, &words);
            }
            _ => {}
        }
    }

    fn in_range(&mut self, column: &ColumnDeclaration, row: usize, value: f64) {
        if let Some(min) = column.min.filter(|min| value < *min) {
            self.broken(row, &column.name, format!("must not be less than {min}"));
        }
        if let Some(max) = column.max.filter(|max| value > *max) {
            self.broken(row, &column.name, format!("must not be more than {max}"));
        }
    }

    fn was_told(&self, row: usize, column: &str) -> bool {
        !self.parsed.broken.is_empty() && self.parsed.broken.contains(&(row, column.to_owned()))
    }

    fn periods(&mut self) {
        let Some((starts, ends)) = self.days("period_start").zip(self.days("period_end")) else {
            return;
        };
        let letters = self.text("frequency");
        // Files repeat few periods.
        let mut last = None;
        for row in 0..self.count() {
            if starts.is_null(row) || ends.is_null(row) {
                continue;
            }
            let (start, end) = (
                Day::from_epoch(starts.value(row)),
                Day::from_epoch(ends.value(row)),
            );
            let given = letters.filter(|letters| letters.is_valid(row));
            let given = given.map(|letters| letters.value(row));
            if last == Some((start, end, given)) {
                continue;
            }
            if end < start {
                self.broken(
                    row,
                    "period_end",
                    format!("must not lie before period_start, {start}"),
                );
                continue;
            }
            let letter = Frequency::of(start, end).letter();
            if given.is_some_and(|given| given != letter) {
                self.broken(
                    row,
                    "frequency",
                    format!("must be {letter} for {start} to {end}"),
                );
                continue;
            }
            last = Some((start, end, given));
        }
    }

    fn measures(&mut self, measures: &[Measure]) {
        let Some((names, units)) = self.text("measure").zip(self.text("unit")) else {
            return;
        };
        let bases = self.text("basis");
        let values = VALUES.map(|name| (name, self.double(name)));
        let mut last: Option<(Stated<'_>, &Measure)> = None;
        for row in 0..self.count() {
            if names.is_null(row) || units.is_null(row) {
                continue;
            }
            let basis = bases.filter(|bases| bases.is_valid(row));
            let given = (
                names.value(row),
                units.value(row),
                basis.map(|bases| bases.value(row)),
            );
            let measure = match last {
                Some((known, measure)) if known == given => measure,
                _ => match measure_of(measures, given) {
                    Ok(measure) => measure,
                    Err((column, rule)) => {
                        self.broken(row, column, rule);
                        continue;
                    }
                },
            };
            last = Some((given, measure));
            let Some(min) = measure.min else { continue };
            for (column, values) in values {
                let below = values.is_some_and(|it| it.is_valid(row) && it.value(row) < min);
                if below {
                    self.broken(
                        row,
                        column,
                        format!("{} must not be less than {min}", given.0),
                    );
                }
            }
        }
    }

    fn bounds(&mut self) {
        let Some((lows, highs)) = self.double("value_low").zip(self.double("value_high")) else {
            return;
        };
        for (row, (low, high)) in lows.iter().zip(highs).enumerate() {
            if let (Some(low), Some(high)) = (low, high)
                && high < low
            {
                self.broken(
                    row,
                    "value_high",
                    format!("must not be less than value_low, {low}"),
                );
            }
        }
    }

    fn statements(&mut self, now_ms: i64) {
        self.words("status", &Status::ALL.map(Status::word));
        self.words("published_precision", &PRECISIONS);
        let numbers = self.rows().column_by_name("statement");
        if let Some(numbers) = numbers.and_then(|numbers| numbers.as_primitive_opt::<Int64Type>()) {
            for (row, number) in numbers.iter().enumerate() {
                if number.is_some_and(|number| number < 1) {
                    self.broken(row, "statement", "must be 1 or more".to_owned());
                }
            }
        }
        let today = Day::at_ms(now_ms);
        // Somewhere east of here it is tomorrow already.
        let latest = today.days_from_epoch() + 1;
        let Some(days) = self.days("published_on") else {
            return;
        };
        for (row, day) in days.iter().enumerate() {
            if day.is_some_and(|day| day > latest) {
                let rule = format!("must not lie in the future, today is {today}");
                self.broken(row, "published_on", rule);
            }
        }
    }
}

/// The rows that say nothing: NULL, or an empty text.
fn empty(values: &ArrayRef) -> Vec<usize> {
    let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
    let texts = values.as_string_opt::<i32>();
    match (nulls, texts) {
        (None, None) => Vec::new(),
        (None, Some(texts)) => {
            let ends = texts.value_offsets().windows(2).enumerate();
            ends.filter_map(|(row, ends)| (ends[0] == ends[1]).then_some(row))
                .collect()
        }
        (Some(nulls), _) => {
            let is_empty = |row: &usize| {
                nulls.is_null(*row) || texts.is_some_and(|texts| texts.value(*row).is_empty())
            };
            (0..values.len()).filter(is_empty).collect()
        }
    }
}

/// The declared measure of a row, or the column and the rule that it breaks.
fn measure_of<'m>(
    measures: &'m [Measure],
    (name, unit, basis): Stated<'_>,
) -> Result<&'m Measure, (&'static str, String)> {
    let of_name = || measures.iter().filter(|measure| measure.measure == name);
    if let Some(measure) = of_name().find(|m| m.states((name, unit, basis))) {
        return Ok(measure);
    }
    let allowed = of_name().map(|m| match &m.basis {
        Some(basis) => format!("{} {basis}", m.unit),
        None => m.unit.clone(),
    });
    let allowed = allowed.collect::<Vec<_>>();
    if allowed.is_empty() {
        let mut known: Vec<_> = measures.iter().map(|m| m.measure.as_str()).collect();
        known.dedup();
        return Err(("measure", format!("must be one of {}", known.join(", "))));
    }
    let given = [Some(unit), basis].into_iter().flatten();
    let given = given.collect::<Vec<_>>().join(" ");
    let allowed = allowed.join(" or ");
    Err((
        "unit",
        format!("{name} is measured in {allowed}, not in {given}"),
    ))
}
