//! The results of period functions, a row at a time.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Float64Builder, StringBuilder, StructArray,
};
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
            Self::Flow(flow) => ScalarValue::Struct(Arc::new(flows_to_array(&[flow])?)),
        })
    }
}

/// Results as they come, until they are a column.
#[derive(Debug)]
pub(crate) enum CellColumn {
    Numbers(Float64Builder),
    Words(StringBuilder),
    Flows(Vec<Option<Flow>>),
}

impl CellColumn {
    pub(crate) fn with_capacity(cell_type: CellType, rows: usize) -> Self {
        match cell_type {
            CellType::Number => Self::Numbers(Float64Builder::with_capacity(rows)),
            CellType::Word => Self::Words(StringBuilder::new()),
            CellType::Flow => Self::Flows(Vec::with_capacity(rows)),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, cell: Cell) -> Result<()> {
        match (self, cell) {
            (Self::Numbers(numbers), Cell::Number(number)) => numbers.append_option(number),
            (Self::Words(words), Cell::Word(word)) => words.append_option(word),
            (Self::Flows(flows), Cell::Flow(flow)) => flows.push(flow),
            (_, other) => return internal_err!("{other:?} does not belong into its column"),
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Numbers(mut numbers) => Arc::new(numbers.finish()),
            Self::Words(mut words) => Arc::new(words.finish()),
            Self::Flows(flows) => Arc::new(flows_to_array(&flows)?),
        })
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
