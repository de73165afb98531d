//! The results of period functions, a row at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::{Result, ScalarValue, internal_err};
use didymium_model::Flow;

/// One result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell {
    Number(Option<f64>),
    Word(Option<&'static str>),
    Flow(Option<Flow>),
}

/// What a function's results are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellType {
    Number,
    Word,
    Flow,
}

impl CellType {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Number => DataType::Float64,
            Self::Word => DataType::Utf8,
            Self::Flow => DataType::Struct(flow_fields()),
        }
    }
}

impl Cell {
    pub(crate) fn to_scalar(self) -> Result<ScalarValue> {
        Ok(match self {
            Self::Number(number) => ScalarValue::Float64(number),
            Self::Word(word) => ScalarValue::Utf8(word.map(str::to_owned)),
            Self::Flow(_) => {
                ScalarValue::try_from_array(&cells_to_array(CellType::Flow, &[self])?, 0)?
            }
        })
    }
}

/// The results as a column.
pub(crate) fn cells_to_array(cell_type: CellType, cells: &[Cell]) -> Result<ArrayRef> {
    match cell_type {
        CellType::Number => {
            let numbers = cells.iter().map(|cell| match cell {
                Cell::Number(number) => Ok(*number),
                other => internal_err!("{other:?} is no number"),
            });
            Ok(Arc::new(numbers.collect::<Result<Float64Array>>()?))
        }
        CellType::Word => {
            let words = cells.iter().map(|cell| match cell {
                Cell::Word(word) => Ok(*word),
                other => internal_err!("{other:?} is no word"),
            });
            Ok(Arc::new(words.collect::<Result<StringArray>>()?))
        }
        CellType::Flow => {
            let flows = cells
                .iter()
                .map(|cell| match cell {
                    Cell::Flow(flow) => Ok(*flow),
                    other => internal_err!("{other:?} is no flow"),
                })
                .collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(flows_to_array(&flows)?))
        }
    }
}

fn flow_fields() -> Fields {
    Fields::from(vec![
        Field::new("value", DataType::Float64, true),
        Field::new("period_start", DataType::Date32, true),
        Field::new("period_end", DataType::Date32, true),
    ])
}

fn flows_to_array(flows: &[Option<Flow>]) -> Result<StructArray> {
    let values: Float64Array = flows
        .iter()
        .map(|flow| flow.and_then(|it| it.value))
        .collect();
    let starts: Date32Array = flows
        .iter()
        .map(|flow| flow.map(|it| it.start.days_from_epoch()))
        .collect();
    let ends: Date32Array = flows
        .iter()
        .map(|flow| flow.map(|it| it.end.days_from_epoch()))
        .collect();
    let nulls = flows.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let columns: Vec<ArrayRef> = vec![Arc::new(values), Arc::new(starts), Arc::new(ends)];
    Ok(StructArray::try_new(flow_fields(), columns, Some(nulls))?)
}
