//! Where series begin and end among rows that come series by series.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::compute::partition;
use datafusion_common::Result;

/// The rows of each series; without columns that tell series apart all rows are one.
pub(crate) fn series_ranges(keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    match keys.is_empty() {
        true => Ok(std::iter::once(0..rows).collect()),
        false => Ok(partition(keys)?.ranges()),
    }
}
