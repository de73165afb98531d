//! What the log's tags say of columns with long values: of so many bytes that a batch of them takes much memory.
//!
//! A file's size does not tell: a text that repeats itself takes no room there.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

/// By column, the bytes of a value on average, in the part of the file where they are the longest.
const LONG_COLUMNS: &str = "didymium.long_columns";

/// Values that are shorter are not worth a tag.
const SHORT_BYTES: usize = 256;

/// The rows of a part: as many as a batch has.
const PART_ROWS: usize = 8192;

/// Bytes of the long values of a batch that is read.
const BATCH_BYTES: usize = 1024 * 1024;

/// The columns whose values are long, and how long.
pub(crate) type LongColumns = BTreeMap<String, usize>;

/// What tags say.
pub(crate) fn of_tags(tags: &HashMap<String, Option<String>>) -> LongColumns {
    let tag = tags.get(LONG_COLUMNS).and_then(Option::as_deref);
    tag.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

/// The rows of a batch of these columns, out of files with these; `None` where they are short.
pub(crate) fn batch_rows<'a>(
    files: impl Iterator<Item = &'a LongColumns>,
    schema: &Schema,
    places: Option<&Vec<usize>>,
) -> Option<usize> {
    let is_read = |name: &str| match (schema.index_of(name), places) {
        (Ok(place), Some(places)) => places.contains(&place),
        (found, _) => found.is_ok(),
    };
    let bytes = files.map(|columns| {
        let read = columns.iter().filter(|(name, _)| is_read(name));
        read.map(|(_, bytes)| bytes).sum::<usize>()
    });
    let longest = bytes.max().filter(|bytes| *bytes > 0)?;
    Some((BATCH_BYTES / longest).clamp(1, PART_ROWS))
}

/// Finds out how long a file's values are while they are written.
#[derive(Debug, Default)]
pub(crate) struct LengthWatch {
    longest: LongColumns,
}

impl LengthWatch {
    /// Takes the rows that come next.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        for first in (0..rows.num_rows()).step_by(PART_ROWS) {
            let part = rows.slice(first, PART_ROWS.min(rows.num_rows() - first));
            for (field, column) in part.schema_ref().fields().iter().zip(part.columns()) {
                // Types without a size are not stored.
                let bytes = column.to_data().get_slice_memory_size().unwrap_or_default();
                let each = bytes / part.num_rows();
                if each > SHORT_BYTES {
                    let longest = self.longest.entry(field.name().clone()).or_default();
                    *longest = each.max(*longest);
                }
            }
        }
    }

    /// The tag of a file with long values.
    pub(crate) fn tag(&self) -> Option<(String, Option<String>)> {
        let json = serde_json::to_string(&self.longest).ok();
        (!self.longest.is_empty()).then(|| (LONG_COLUMNS.to_owned(), json))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn few_rows_are_read_at_once_where_the_columns_are_long_that_are_read() {
        let rows = |length: usize| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
            let texts = (0..100).map(|_| "x".repeat(length));
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            RecordBatch::try_from_iter([("id", ids), ("text", texts)]).expect("rows")
        };
        let mut watch = LengthWatch::default();
        watch.add(&rows(100));
        assert_eq!(watch.tag(), None);
        watch.add(&rows(10_000));
        let tags = watch.tag().into_iter().collect();
        let long = of_tags(&tags);
        let schema = rows(1).schema();
        let at_once =
            |places: Option<&Vec<usize>>| batch_rows([&long].into_iter(), &schema, places);
        assert_eq!(at_once(None), Some(BATCH_BYTES / 10_004));
        assert_eq!(at_once(Some(&vec![0, 1])), Some(BATCH_BYTES / 10_004));
        assert_eq!(at_once(Some(&vec![0])), None);
        assert_eq!(
            batch_rows([&of_tags(&HashMap::new())].into_iter(), &schema, None),
            None
        );
    }
}
