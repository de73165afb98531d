//! What the log's tags say of files with long rows: so many bytes that a batch of them takes much memory.
//!
//! A file's size does not tell: a text that repeats itself takes no room there.

use std::collections::HashMap;

use arrow::array::RecordBatch;

/// The bytes of a row on average, in the part of the file where they are the longest.
const ROW_BYTES: &str = "didymium.row_bytes";

/// Rows that are shorter are not worth a tag.
const SHORT_BYTES: usize = 512;

/// The rows of a part: as many as a batch has.
const PART_ROWS: usize = 8192;

/// What tags say; 0 where they say nothing.
pub(crate) fn of_tags(tags: &HashMap<String, Option<String>>) -> usize {
    let tag = tags.get(ROW_BYTES).and_then(Option::as_deref);
    tag.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

/// Finds out how long a file's rows are while they are written.
#[derive(Debug, Default)]
pub(crate) struct LengthWatch {
    longest: usize,
}

impl LengthWatch {
    /// Takes the rows that come next.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        for first in (0..rows.num_rows()).step_by(PART_ROWS) {
            let part = rows.slice(first, PART_ROWS.min(rows.num_rows() - first));
            let columns = part.columns().iter();
            let sizes = columns.map(|column| column.to_data().get_slice_memory_size());
            // Types without a size are not stored.
            let bytes: usize = sizes.map(|size| size.unwrap_or_default()).sum();
            self.longest = self.longest.max(bytes / part.num_rows());
        }
    }

    /// The tag of a file with long rows.
    pub(crate) fn tag(&self) -> Option<(String, Option<String>)> {
        let is_long = self.longest > SHORT_BYTES;
        is_long.then(|| (ROW_BYTES.to_owned(), Some(self.longest.to_string())))
    }
}
