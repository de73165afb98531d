//! The right side of an as-of join, read forward only.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DynComparator, Int64Array, RecordBatch, make_comparator,
};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Int64Type};
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
    keys: Vec<ArrayRef>,
    /// Rows of which a key is NULL match nothing.
    null_keys: Vec<ArrayRef>,
    times: Int64Array,
    lower: Option<Int64Array>,
}

impl Side {
    pub(super) fn of(batch: RecordBatch, exprs: &SideExprs) -> Result<Self> {
        let rows = batch.num_rows();
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(rows);
        let keys = exprs.keys.iter().map(column).collect::<Result<Vec<_>>>()?;
        let number = |expr| -> Result<Int64Array> {
            let numbers = cast(&column(expr)?, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().clone())
        };
        let times = number(&exprs.time)?;
        let lower = exprs.lower.as_ref().map(number).transpose()?;
        let null_keys = keys.iter().filter(|key| key.null_count() > 0);
        Ok(Self {
            null_keys: null_keys.cloned().collect(),
            keys,
            times,
            lower,
            batch,
        })
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

/// Compares the keys of rows of one side with those of another.
#[derive(Clone)]
struct KeyOrder(Arc<[DynComparator]>);

impl KeyOrder {
    fn of(one: &Side, other: &Side) -> Result<Self> {
        let keys = one.keys.iter().zip(&other.keys);
        let comparators = keys.map(|(one, other)| make_comparator(one, other, ASCENDING));
        Ok(Self(comparators.collect::<Result<_, _>>()?))
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        let mut each = self.0.iter().map(|compare| compare(one, other));
        each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyOrder of {} keys", self.0.len())
    }
}

/// The newest right row so far that a left row may match.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) side: Arc<Side>,
    pub(super) row: usize,
    time: i64,
    /// Whether another right row has its key and time.
    pub(super) is_tied: bool,
    /// The left rows' keys beside its own.
    of_left: KeyOrder,
}

/// Right rows that came together, and their keys beside those of others.
#[derive(Debug)]
struct Ahead {
    side: Arc<Side>,
    /// The first of them that has not been passed.
    next: usize,
    of_left: KeyOrder,
    of_own: KeyOrder,
    /// Of the candidate, which may be one of the rows before.
    of_candidate: Option<KeyOrder>,
}

/// The right rows, of which those that are not after the left ones have been passed.
pub(super) struct Right {
    input: SendableRecordBatchStream,
    exprs: SideExprs,
    /// `None` before the first rows and after the last.
    ahead: Option<Ahead>,
    ended: bool,
    candidate: Option<Candidate>,
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

    /// Turns to the left rows that come next.
    pub(super) fn face(&mut self, left: &Side) -> Result<()> {
        if let Some(ahead) = &mut self.ahead {
            ahead.of_left = KeyOrder::of(left, &ahead.side)?;
        }
        if let Some(candidate) = &mut self.candidate {
            candidate.of_left = KeyOrder::of(left, &candidate.side)?;
        }
        Ok(())
    }

    /// Passes all rows of keys before a left row's, and those of its key up to a time, with it or without;
    /// gives the last that has its key.
    pub(super) async fn pass(
        &mut self,
        left: &Side,
        row: usize,
        time: i64,
        is_strict: bool,
    ) -> Result<Option<&Candidate>> {
        while !self.pass_known(row, time, is_strict) {
            let Some(batch) = self.input.next().await.transpose()? else {
                self.ahead = None;
                self.ended = true;
                continue;
            };
            let side = Side::of(batch, &self.exprs)?;
            let candidate = self.candidate.as_ref();
            self.ahead = Some(Ahead {
                of_left: KeyOrder::of(left, &side)?,
                of_own: KeyOrder::of(&side, &side)?,
                of_candidate: candidate
                    .map(|candidate| KeyOrder::of(&candidate.side, &side))
                    .transpose()?,
                side: Arc::new(side),
                next: 0,
            });
        }
        let candidate = self.candidate.as_ref();
        Ok(candidate.filter(|found| found.of_left.compare(row, found.row).is_eq()))
    }

    /// As far as rows have come; false where more may have to be passed.
    fn pass_known(&mut self, left: usize, time: i64, is_strict: bool) -> bool {
        let Some(ahead) = &mut self.ahead else {
            return self.ended;
        };
        let rows = ahead.side.batch.num_rows();
        while ahead.next < rows {
            let row = ahead.next;
            let right_time = ahead.side.time(row);
            let is_passed = match ahead.of_left.compare(left, row) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => right_time.is_none_or(|right_time| match is_strict {
                    true => right_time < time,
                    false => right_time <= time,
                }),
            };
            if !is_passed {
                return true;
            }
            if let Some(time) = right_time {
                ahead.offer(row, time, &mut self.candidate);
            }
            ahead.next += 1;
        }
        false
    }
}

impl Ahead {
    /// Puts one of the rows in the place of the candidate.
    fn offer(&mut self, row: usize, time: i64, candidate: &mut Option<Candidate>) {
        let Some(last) = candidate else {
            *candidate = Some(Candidate {
                side: Arc::clone(&self.side),
                row,
                time,
                is_tied: false,
                of_left: self.of_left.clone(),
            });
            return;
        };
        let order = self.of_candidate.as_ref().unwrap_or(&self.of_own);
        last.is_tied = last.time == time && order.compare(last.row, row).is_eq();
        if !Arc::ptr_eq(&last.side, &self.side) {
            last.side = Arc::clone(&self.side);
            last.of_left = self.of_left.clone();
            self.of_candidate = None;
        }
        last.row = row;
        last.time = time;
    }
}
