//! The right side of an as-of join, read forward only.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use datafusion_common::Result;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_expr::PhysicalExpr;
use futures::StreamExt;

/// The order in which both sides come.
pub(super) const ASCENDING: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

/// The expressions of one side.
#[derive(Debug, Clone)]
pub(super) struct SideExprs {
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) time: Arc<dyn PhysicalExpr>,
    /// What the lower bound compares.
    pub(super) lower: Option<Arc<dyn PhysicalExpr>>,
}

/// Rows of one side with what they are matched by.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) batch: RecordBatch,
    keys: Option<Rows>,
    /// Rows of which a key is NULL match nothing.
    null_keys: Vec<ArrayRef>,
    times: Int64Array,
    lower: Option<Int64Array>,
}

impl Side {
    pub(super) fn of(batch: RecordBatch, exprs: &SideExprs, converter: &Converter) -> Result<Self> {
        let rows = batch.num_rows();
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(rows);
        let keys = exprs.keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        let number = |expr| -> Result<Int64Array> {
            let numbers = cast(&column(expr)?, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().clone())
        };
        let times = number(&exprs.time)?;
        let lower = exprs.lower.as_ref().map(number).transpose()?;
        Ok(Self {
            keys: converter.rows(&keys)?,
            null_keys: keys
                .into_iter()
                .filter(|key| key.null_count() > 0)
                .collect(),
            times,
            lower,
            batch,
        })
    }

    pub(super) fn key(&self, row: usize) -> Option<Row<'_>> {
        self.keys.as_ref().map(|keys| keys.row(row))
    }

    /// The time of a row that can match.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        let can_match =
            self.times.is_valid(row) && self.null_keys.iter().all(|key| key.is_valid(row));
        can_match.then(|| self.times.value(row))
    }

    /// What the lower bound compares; `None` where it is NULL.
    pub(super) fn lower(&self, row: usize) -> Option<i64> {
        let lower = self.lower.as_ref()?;
        lower.is_valid(row).then(|| lower.value(row))
    }
}

/// Makes keys comparable between both sides.
#[derive(Debug)]
pub(super) struct Converter(Option<RowConverter>);

impl Converter {
    pub(super) fn new(types: Vec<DataType>) -> Result<Self> {
        if types.is_empty() {
            return Ok(Self(None));
        }
        let fields = types
            .into_iter()
            .map(|data_type| SortField::new_with_options(data_type, ASCENDING))
            .collect();
        Ok(Self(Some(RowConverter::new(fields)?)))
    }

    fn rows(&self, keys: &[ArrayRef]) -> Result<Option<Rows>> {
        let rows = self.0.as_ref().map(|it| it.convert_columns(keys));
        Ok(rows.transpose()?)
    }
}

/// The newest right row so far that a left row may match.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) side: Arc<Side>,
    pub(super) row: usize,
    pub(super) time: i64,
    key: Option<OwnedRow>,
    /// Whether another right row has its key and time.
    pub(super) is_tied: bool,
}

impl Candidate {
    pub(super) fn has_key(&self, key: Option<Row<'_>>) -> bool {
        self.key.as_ref().map(OwnedRow::row) == key
    }
}

/// The right rows, of which those that are not after the left ones have been passed.
pub(super) struct Right {
    input: SendableRecordBatchStream,
    exprs: SideExprs,
    /// The rows that come next, and the first of them.
    ahead: Option<(Arc<Side>, usize)>,
    ended: bool,
    pub(super) candidate: Option<Candidate>,
}

impl Right {
    pub(super) fn new(input: SendableRecordBatchStream, exprs: SideExprs) -> Self {
        Self {
            input,
            exprs,
            ahead: None,
            ended: false,
            candidate: None,
        }
    }

    /// Passes all rows of earlier keys, and those of this key up to a time, with it or without.
    pub(super) async fn pass(
        &mut self,
        key: Option<Row<'_>>,
        time: i64,
        is_strict: bool,
        converter: &Converter,
    ) -> Result<()> {
        loop {
            let Some((side, row)) = self.peek(converter).await? else {
                return Ok(());
            };
            let right_time = side.time(row);
            let is_passed = match side.key(row).cmp(&key) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => match right_time {
                    None => true,
                    Some(right_time) if is_strict => right_time < time,
                    Some(right_time) => right_time <= time,
                },
            };
            if !is_passed {
                return Ok(());
            }
            if let Some(time) = right_time {
                let right_key = side.key(row);
                let is_tied = self
                    .candidate
                    .as_ref()
                    .is_some_and(|last| last.time == time && last.has_key(right_key));
                self.candidate = Some(Candidate {
                    key: right_key.map(|key| key.owned()),
                    row,
                    time,
                    is_tied,
                    side: Arc::clone(&side),
                });
            }
            self.ahead = (row + 1 < side.batch.num_rows()).then_some((side, row + 1));
        }
    }

    async fn peek(&mut self, converter: &Converter) -> Result<Option<(Arc<Side>, usize)>> {
        while self.ahead.is_none() && !self.ended {
            match self.input.next().await.transpose()? {
                None => self.ended = true,
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    let side = Side::of(batch, &self.exprs, converter)?;
                    self.ahead = Some((Arc::new(side), 0));
                }
            }
        }
        Ok(self.ahead.clone())
    }
}
