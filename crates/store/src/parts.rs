//! A sorted table cut into parts of about the same size, for as many threads; none parts a series.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics};

use crate::data_file::DataFile;

/// Rows that follow one another, and no value of whose first sort column is in another part.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// The least value of the first sort column; `None` in the first part.
    pub(crate) first: Option<ScalarValue>,
    pub(crate) slices: Vec<Slice<'a>>,
}

/// Some rows of a file.
#[derive(Debug)]
pub(crate) struct Slice<'a> {
    pub(crate) file: &'a DataFile,
    pub(crate) rows: Range<usize>,
}

/// Cuts files that follow one another in the table's order into at most so many parts; `column` is the
/// first sort column. `None` where the log does not say how many rows the files have.
pub(crate) fn cut<'a>(
    files: &[&'a DataFile],
    column: usize,
    parts: usize,
) -> Option<Vec<Part<'a>>> {
    let rows = files.iter().map(|file| file.rows());
    let rows: Vec<usize> = rows.collect::<Option<_>>()?;
    let all: usize = rows.iter().sum();
    let mut found: Vec<Part<'a>> = Vec::new();
    let mut before = 0;
    for (file, count) in files.iter().zip(rows) {
        let splits = &file.order.splits;
        let ends = splits.iter().map(|split| split.row).chain([count]);
        let starts = splits.iter().map(|split| (split.row, Some(&split.first)));
        let low = file.bounds(column).map(|(low, _)| low);
        for ((start, first), end) in [(0, low)].into_iter().chain(starts).zip(ends) {
            // A part begins as near as may be to where its share of the rows does.
            let share = (before + start + (end - start) / 2) * parts / all.max(1);
            let begins = found.is_empty() || (share >= found.len() && found.len() < parts);
            if begins && let Some(first) = first {
                found.push(Part {
                    first: (!found.is_empty()).then(|| first.clone()),
                    slices: Vec::new(),
                });
            }
            let slices = &mut found.last_mut()?.slices;
            match slices.last_mut() {
                Some(last) if std::ptr::eq(last.file, *file) => last.rows.end = end,
                _ => slices.push(Slice {
                    file,
                    rows: start..end,
                }),
            }
        }
        before += count;
    }
    Some(found)
}

impl<'a> Slice<'a> {
    pub(crate) fn whole(file: &'a DataFile) -> Self {
        let rows = 0..file.rows().unwrap_or_default();
        Self { file, rows }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.rows.start == 0 && self.rows.end == self.file.rows().unwrap_or_default()
    }

    /// What is known of these rows: a file's bounds are theirs as well, but may lie outside of them.
    pub(crate) fn statistics(&self) -> Arc<Statistics> {
        if self.is_whole() {
            return Arc::clone(&self.file.statistics);
        }
        let mut statistics = Statistics::clone(&self.file.statistics);
        statistics.num_rows = Precision::Exact(self.rows.len());
        for column in &mut statistics.column_statistics {
            if column.null_count != Precision::Exact(0) {
                column.null_count = Precision::Absent;
            }
            let is_constant = column.min_value == column.max_value;
            if !is_constant || column.null_count != Precision::Exact(0) {
                column.min_value = column.min_value.clone().to_inexact();
                column.max_value = column.max_value.clone().to_inexact();
            }
        }
        Arc::new(statistics)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ColumnStatistics;

    use super::*;
    use crate::file_order::{FileOrder, Split};
    use crate::long_rows::LongColumns;

    fn file(rows: usize, low: &str, splits: &[(usize, &str)]) -> DataFile {
        let bound = Precision::Exact(ScalarValue::from(low));
        let splits = splits.iter().map(|(row, first)| Split {
            row: *row,
            first: ScalarValue::from(*first),
        });
        DataFile {
            path: low.to_owned(),
            bytes: 0,
            modified_ms: 0,
            statistics: Arc::new(Statistics {
                num_rows: Precision::Exact(rows),
                total_byte_size: Precision::Absent,
                column_statistics: vec![ColumnStatistics {
                    null_count: Precision::Exact(0),
                    min_value: bound.clone(),
                    max_value: bound,
                    ..ColumnStatistics::new_unknown()
                }],
            }),
            order: FileOrder {
                splits: splits.collect(),
                ..FileOrder::default()
            },
            long_columns: LongColumns::new(),
        }
    }

    #[test]
    fn parts_are_even_and_hold_every_row_once() {
        let one = file(100, "a", &[(25, "b"), (50, "c"), (75, "d")]);
        let other = file(20, "e", &[]);
        for parts in 1..8 {
            let found = cut(&[&one, &other], 0, parts).expect("rows are known");
            assert!(found.len() <= parts);
            let slices = found.iter().flat_map(|part| &part.slices);
            let mut ends: Vec<_> = slices
                .map(|it| (it.file.path.as_str(), it.rows.clone()))
                .collect();
            assert_eq!(ends.pop(), Some(("e", 0..20)));
            let starts = ends.iter().map(|(_, rows)| rows.start);
            let before = [0].into_iter().chain(ends.iter().map(|(_, rows)| rows.end));
            assert!(starts.eq(before.take(ends.len())));
            let firsts = found.iter().map(|part| part.first.clone());
            assert!(firsts.skip(1).all(|first| first.is_some()));
        }
        let two = cut(&[&one, &other], 0, 2).expect("rows are known");
        assert_eq!(two[1].first, Some(ScalarValue::from("c")));
        assert_eq!(two[1].slices[0].rows, 50..100);
        assert_eq!(two[1].slices[0].statistics().num_rows, Precision::Exact(50));
    }

    #[test]
    fn one_series_is_one_part() {
        let one = file(1_000_000, "a", &[]);
        assert_eq!(cut(&[&one], 0, 4).map(|parts| parts.len()), Some(1));
        assert!(cut(&[], 0, 4).expect("no rows").is_empty());
    }
}
