//! The memory that an operator needs for what it makes of long rows.

use arrow::array::RecordBatch;
use arrow::compute::partition;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

use crate::limits::WINDOW_LIST_BYTES;
use crate::sizes::{long_row_bytes, slice_bytes};

/// Bytes of a row of which a batch needs no reservation: as many as functions may make of a row on average.
const SHORT_ROW_BYTES: usize = 32 * 1024;

/// Bytes that one window makes of a row, at least.
const WINDOW_VALUE_BYTES: usize = 16;

/// What an operator makes of its rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Rows that come in small batches are put together again.
    Together,
    /// A row of each of its inputs may stand in each row of a batch, so many times.
    Batch { copies: usize, sides: usize },
    /// All rows are kept, and each gets the values of so many windows; of some, one as long as any row of its
    /// run, of others a list of the whole run, or of what differs in it.
    Whole {
        windows: usize,
        long: usize,
        lists: usize,
        sets: usize,
    },
}

/// What has come into an operator so far.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// Of each side.
    rows: [usize; 2],
    bytes: usize,
    /// The longest row of each side; on average of a batch, where rows are put together.
    longest: [usize; 2],
    /// Bytes of the values that stand in each row of their run.
    repeated: usize,
}

impl Came {
    /// Adds rows of one side.
    pub(super) fn add(&mut self, kind: Kind, side: usize, rows: &RecordBatch) -> Result<()> {
        let bytes = slice_bytes(rows)?;
        let side = side.min(1);
        self.rows[side] += rows.num_rows();
        self.bytes += bytes;
        let longest = &mut self.longest[side];
        *longest = (*longest).max(match kind {
            Kind::Together => bytes / rows.num_rows().max(1),
            // No row is longer than all of them are together.
            Kind::Batch { .. } if bytes > SHORT_ROW_BYTES.max(*longest) => {
                let longest = long_row_bytes(rows).into_iter().max();
                usize::try_from(longest.unwrap_or_default()).unwrap_or(usize::MAX)
            }
            Kind::Batch { .. } | Kind::Whole { .. } => 0,
        });
        Ok(())
    }

    pub(super) fn repeat(&mut self, bytes: usize) {
        self.repeated = self.repeated.saturating_add(bytes);
    }

    /// The bytes of what may be made of it, in so many batches at once of so many rows.
    pub(super) fn needed(&self, kind: Kind, batches: usize, batch_rows: usize) -> usize {
        let row = self.longest.iter().sum::<usize>();
        match kind {
            Kind::Together | Kind::Batch { .. } if row <= SHORT_ROW_BYTES => 0,
            Kind::Together => batches
                .saturating_mul(batch_rows)
                .saturating_mul(row)
                .min(self.bytes),
            Kind::Batch { copies, sides } => {
                let [left, right] = self.rows;
                let made = match sides {
                    1 => left,
                    _ => left.saturating_mul(right),
                };
                batches
                    .saturating_mul(batch_rows.min(made))
                    .saturating_mul(copies)
                    .saturating_mul(row)
            }
            // What it keeps is put together once more before it is worked on.
            Kind::Whole { windows, .. } => {
                let [rows, _] = self.rows;
                let values = rows.saturating_mul(windows * WINDOW_VALUE_BYTES);
                self.bytes
                    .saturating_mul(2)
                    .saturating_add(values)
                    .saturating_add(self.repeated)
            }
        }
    }
}

/// Rows of one stream that follow one another with the same keys, each of which gets what is made of all.
#[derive(Debug)]
pub(super) struct Runs {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    long: usize,
    lists: usize,
    sets: usize,
    rows: usize,
    longest: usize,
    bytes: usize,
    /// What the run that goes on has come to.
    counted: usize,
}

impl Runs {
    pub(super) fn of(kind: Kind, keys: &[Arc<dyn PhysicalExpr>]) -> Option<Self> {
        match kind {
            Kind::Whole {
                long, lists, sets, ..
            } if long + lists + sets > 0 => Some(Self {
                keys: keys.to_vec(),
                long,
                lists,
                sets,
                rows: 0,
                longest: 0,
                bytes: 0,
                counted: 0,
            }),
            _ => None,
        }
    }

    /// By how many bytes more rows make the values longer that stand in each row of their run. The first of
    /// them are taken to go on with the run before.
    pub(super) fn add(&mut self, rows: &RecordBatch) -> Result<usize> {
        let keys = self.keys.iter().map(|key| {
            let values = key.evaluate(rows)?;
            values.into_array(rows.num_rows())
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let ranges = match keys.is_empty() {
            true => std::iter::once(0..rows.num_rows()).collect(),
            false => partition(&keys)?.ranges(),
        };
        let sizes = long_row_bytes(rows);
        let mut more = 0_usize;
        for (number, range) in ranges.into_iter().enumerate() {
            if number > 0 {
                (self.rows, self.longest, self.bytes, self.counted) = (0, 0, 0, 0);
            }
            self.rows += range.len();
            for size in &sizes[range] {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                self.longest = self.longest.max(size);
                self.bytes = self.bytes.saturating_add(size).saturating_add(8);
            }
            let value = self.long.saturating_mul(self.longest);
            // One that is longer is refused as a list.
            let list = match self.bytes <= WINDOW_LIST_BYTES {
                true => self.lists.saturating_mul(self.bytes),
                false => 0,
            };
            let set = self.sets.saturating_mul(self.bytes.min(WINDOW_LIST_BYTES));
            let values = value.saturating_add(list).saturating_add(set);
            let all = self.rows.saturating_mul(values);
            more = more.saturating_add(all.saturating_sub(self.counted));
            self.counted = self.counted.max(all);
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    const KIB: usize = 1024;

    /// Rows with these keys and texts of these lengths.
    fn rows(rows: &[(i64, usize)]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|it| it.0)));
        let texts = rows.iter().map(|it| "x".repeat(it.1));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        RecordBatch::try_from_iter([("key", keys), ("text", texts)]).expect("rows")
    }

    fn needed(kind: Kind, sides: &[RecordBatch]) -> usize {
        let mut came = Came::default();
        for (side, rows) in sides.iter().enumerate() {
            came.add(kind, side, rows).expect("sizes");
        }
        came.needed(kind, 2, 8192)
    }

    #[test]
    fn a_join_asks_for_a_batch_of_its_longest_rows() {
        let kind = Kind::Batch {
            copies: 1,
            sides: 2,
        };
        let short = rows(&[(1, 20 * KIB), (2, 20 * KIB)]);
        let many = rows(&vec![(1, 30); 10_000]);
        assert_eq!(needed(kind, &[short.clone(), many.clone()]), 0);
        let long = rows(&[(1, 100 * KIB), (2, 10)]);
        assert_eq!(needed(kind, &[long.clone(), short]), 2 * 4 * 120 * KIB);
        assert_eq!(needed(kind, std::slice::from_ref(&long)), 0, "no pair yet");
        assert_eq!(needed(kind, &[long, many]), 2 * 8192 * (100 * KIB + 30));
    }

    #[test]
    fn an_exchange_asks_for_a_batch_of_its_rows_on_average() {
        let one_of_many = rows(
            &vec![(1, 10); 1000]
                .into_iter()
                .chain([(1, 1000 * KIB)])
                .collect::<Vec<_>>(),
        );
        assert_eq!(needed(Kind::Together, &[one_of_many]), 0);
        let long = needed(Kind::Together, &[rows(&[(1, 100 * KIB); 10])]);
        assert!(
            (1000 * KIB..1001 * KIB).contains(&long),
            "all that came: {long}"
        );
    }

    #[test]
    fn a_value_stands_in_each_row_of_its_own_run() {
        let kind = Kind::Whole {
            windows: 1,
            long: 1,
            lists: 0,
            sets: 0,
        };
        let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("key", 0));
        let mut runs = Runs::of(kind, &[key]).expect("long values");
        assert_eq!(
            runs.add(&rows(&[(1, 10), (1, 30), (2, 1000)]))
                .expect("sizes"),
            2 * 30 + 1000
        );
        assert_eq!(
            runs.add(&rows(&[(2, 10), (3, 5)])).expect("sizes"),
            1000 + 5
        );
        let mut everything = Runs::of(kind, &[]).expect("long values");
        assert_eq!(
            everything.add(&rows(&[(1, 10), (2, 1000)])).expect("sizes"),
            2 * 1000
        );
    }

    #[test]
    fn a_list_of_a_run_is_as_long_as_the_run() {
        let of = |lists, sets| {
            let kind = Kind::Whole {
                windows: 1,
                long: 0,
                lists,
                sets,
            };
            Runs::of(kind, &[]).expect("lists")
        };
        let (few, many) = (rows(&[(1, 2), (2, 4)]), rows(&vec![(1, 92); 998]));
        let (mut list, mut set) = (of(1, 0), of(0, 1));
        for runs in [&mut list, &mut set] {
            assert_eq!(runs.add(&few).expect("sizes"), 2 * (10 + 12));
        }
        assert_eq!(
            list.add(&many).expect("sizes"),
            0,
            "it is refused as a list"
        );
        let more = 1000 * WINDOW_LIST_BYTES - 2 * (10 + 12);
        assert_eq!(set.add(&many).expect("sizes"), more);
    }
}
