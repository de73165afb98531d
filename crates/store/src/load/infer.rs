//! A table's declaration, read off the files that it is to hold.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use didymium_model::{Day, PrintedNumber};

use super::prepare::sets;
use super::raw::{Raw, texts};
use super::room::Room;
use super::{Input, LoadOptions};
use crate::layout::internal;
use crate::standard_columns::{BASIS, LOAD_ID, SERIES, standard_columns};
use crate::{
    ColumnDeclaration, ColumnType, Declaration, Error, Faults, Measure, Result, TableKind,
};

/// A declaration that the files fit.
///
/// Files with a `value`, a period, a source and a vintage (in columns, or by the options) give a series
/// table, keyed by their other columns of text. Any other files give a plain table, keyed by the fewest
/// columns that tell its rows apart: texts first, then days.
///
/// # Errors
/// [`Error::Faulty`] where the files can't be read, [`Error::TooLarge`] where they hold too much,
/// [`Error::Invalid`] where no columns tell the rows apart.
pub(super) fn infer(name: &str, inputs: &[Input], options: &LoadOptions) -> Result<Declaration> {
    let mut faults = Faults::default();
    let room = Room::of(options);
    let mut files = Vec::new();
    for input in inputs {
        files.extend(sets(input, options, &room, &mut faults)?);
    }
    if !faults.is_empty() {
        return Err(Error::Faulty(faults));
    }
    let Some(first) = files.first() else {
        return Err(Error::Invalid(format!(
            "table {name}: there is no file to infer it from"
        )));
    };
    let columns = first.columns.iter().map(|(name, _)| {
        let arrays = files.iter().filter_map(|file| file.column(name));
        Ok(ColumnDeclaration {
            name: name.clone(),
            kind: kind(&arrays.collect::<Vec<_>>())?,
            nullable: true,
            values: Vec::new(),
            min: None,
            max: None,
            description: format!("The file's column {name}."),
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let declaration = match series(name, &columns, &files, options)? {
        Some(declaration) => declaration,
        None => plain(name, columns, &files)?,
    };
    declaration.check()?;
    Ok(declaration)
}

/// The narrowest type that holds every cell.
fn kind(columns: &[&ArrayRef]) -> Result<ColumnType> {
    let mut kinds = Vec::new();
    for column in columns {
        kinds.push(match column.data_type() {
            DataType::Boolean => ColumnType::Boolean,
            DataType::Date32 | DataType::Date64 => ColumnType::Date,
            DataType::Timestamp(_, _) => ColumnType::Timestamp,
            DataType::UInt64 => ColumnType::Int,
            given if given.is_integer() => ColumnType::Int,
            given if given.is_numeric() => ColumnType::Double,
            // It says nothing.
            _ if column.null_count() == column.len() => continue,
            _ => kind_of_texts(&texts(column)?),
        });
    }
    let first = kinds.first().copied().unwrap_or(ColumnType::Text);
    let numbers = [ColumnType::Int, ColumnType::Double];
    Ok(match kinds.iter().all(|kind| *kind == first) {
        true => first,
        false if kinds.iter().all(|kind| numbers.contains(kind)) => ColumnType::Double,
        false => ColumnType::Text,
    })
}

fn kind_of_texts(texts: &StringArray) -> ColumnType {
    let all = |is: fn(&str) -> bool| texts.iter().flatten().all(is);
    // 007 is a name.
    let is_int = |text: &str| {
        text.parse::<i64>()
            .is_ok_and(|number| number.to_string() == text)
    };
    if all(is_int) {
        ColumnType::Int
    } else if all(|text| {
        PrintedNumber::parse(text).is_some_and(|number| number.unit.is_none()) && !is_name(text)
    }) {
        ColumnType::Double
    } else if all(|text| Day::parse(text).is_some()) {
        ColumnType::Date
    } else if all(|text| text == "true" || text == "false") {
        ColumnType::Boolean
    } else if all(|text| super::cells::timestamp(text).is_some()) {
        ColumnType::Timestamp
    } else {
        ColumnType::Text
    }
}

/// Digits that begin with zeros, such as a tariff code.
fn is_name(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A series table, where the files have what one needs.
fn series(
    name: &str,
    columns: &[ColumnDeclaration],
    files: &[Raw],
    options: &LoadOptions,
) -> Result<Option<Declaration>> {
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    let is_dated = has("period") || (has("period_start") && has("period_end"));
    let has_vintage = (has("source_id") || options.source_id.is_some())
        && (has("published_on") || options.published_on.is_some());
    if !(has("value") && is_dated && has_vintage) {
        return Ok(None);
    }
    let standard = standard_columns();
    let is_own = |column: &&ColumnDeclaration| {
        ![SERIES, LOAD_ID, "period"].contains(&column.name.as_str())
            && (column.name == BASIS || !standard.iter().any(|it| it.name == column.name))
    };
    let own: Vec<ColumnDeclaration> = columns.iter().filter(is_own).cloned().collect();
    let key = own.iter().filter(|column| column.kind == ColumnType::Text);
    let key: Vec<String> = key.map(|column| column.name.clone()).collect();
    if key.is_empty() {
        return Ok(None);
    }
    Ok(Some(Declaration {
        name: name.to_owned(),
        kind: TableKind::Series,
        description: format!("The table {name}, declared from a file."),
        key,
        source_rank: None,
        columns: own,
        measures: measures(files)?,
        totals: Vec::new(),
    }))
}

/// Every measure, unit and basis that the files name together.
fn measures(files: &[Raw]) -> Result<Vec<Measure>> {
    let mut known: Vec<Measure> = Vec::new();
    for file in files {
        let column = |name: &str| file.column(name).map(texts).transpose();
        let (names, units, bases) = (column("measure")?, column("unit")?, column(BASIS)?);
        let text = |column: &Option<StringArray>, row: usize| {
            let column = column.as_ref().filter(|column| column.is_valid(row))?;
            Some(column.value(row).to_owned())
        };
        for row in 0..file.rows() {
            let measure = Measure {
                measure: text(&names, row).unwrap_or_else(|| "value".to_owned()),
                unit: text(&units, row).unwrap_or_else(|| "1".to_owned()),
                basis: text(&bases, row),
                min: None,
                description: "As the file states it.".to_owned(),
            };
            if known.last() != Some(&measure) && !known.contains(&measure) {
                known.push(measure);
            }
        }
    }
    if known.is_empty() {
        return Err(Error::Invalid(
            "a series table needs rows to infer its measures from".to_owned(),
        ));
    }
    Ok(known)
}

fn plain(name: &str, mut columns: Vec<ColumnDeclaration>, files: &[Raw]) -> Result<Declaration> {
    let place = |kind: ColumnType| {
        let order = [
            ColumnType::Text,
            ColumnType::Date,
            ColumnType::Timestamp,
            ColumnType::Int,
        ];
        order.iter().position(|it| *it == kind)
    };
    let full = |index: usize| {
        files
            .iter()
            .all(|file| file.columns[index].1.null_count() == 0)
    };
    let mut key: Vec<usize> = (0..columns.len())
        .filter(|index| place(columns[*index].kind).is_some() && full(*index))
        .collect();
    key.sort_by_key(|index| place(columns[*index].kind));
    if key.is_empty() || !tells_apart(&names(&columns, &key), files)? {
        return Err(Error::Invalid(format!(
            "table {name}: no columns without gaps tell the file's rows apart: mend the file, or declare a table whose key does"
        )));
    }
    // The last ones go first, so that a series' name stays before its days. No rows say nothing of what tells
    // them apart.
    let has_rows = files.iter().any(|file| file.rows() > 0);
    for index in key.clone().into_iter().rev() {
        let others: Vec<usize> = key.iter().copied().filter(|it| *it != index).collect();
        if has_rows && !others.is_empty() && tells_apart(&names(&columns, &others), files)? {
            key = others;
        }
    }
    let key_names = names(&columns, &key);
    for index in key {
        columns[index].nullable = false;
    }
    Ok(Declaration {
        name: name.to_owned(),
        kind: TableKind::Plain,
        description: format!("The table {name}, declared from a file."),
        key: key_names,
        source_rank: None,
        columns,
        measures: Vec::new(),
        totals: Vec::new(),
    })
}

fn names(columns: &[ColumnDeclaration], places: &[usize]) -> Vec<String> {
    places
        .iter()
        .map(|place| columns[*place].name.clone())
        .collect()
}

/// Whether no two rows have the same values in these columns.
fn tells_apart(columns: &[String], files: &[Raw]) -> Result<bool> {
    let fields = columns.iter().map(|_| SortField::new(DataType::Utf8));
    let converter = RowConverter::new(fields.collect()).map_err(internal)?;
    let mut seen = HashSet::new();
    for file in files {
        let values = columns
            .iter()
            .filter_map(|name| file.column(name))
            .map(|column| Ok(Arc::new(texts(column)?) as ArrayRef));
        let values: Vec<ArrayRef> = values.collect::<Result<_>>()?;
        let rows = converter.convert_columns(&values).map_err(internal)?;
        for row in rows.iter() {
            if !seen.insert(row.owned()) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
