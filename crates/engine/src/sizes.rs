//! How many bytes rows take themselves: a slice shares its buffers with others.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;

/// The bytes of the rows.
///
/// # Errors
/// For types without a size.
pub(crate) fn slice_bytes(rows: &RecordBatch) -> Result<usize, ArrowError> {
    rows.columns().iter().map(bytes).sum()
}

/// The bytes of an array's own values, those within its lists counted.
fn bytes(array: &ArrayRef) -> Result<usize, ArrowError> {
    let within: Vec<ArrayRef> = match array.data_type() {
        DataType::List(_) => vec![values(
            array.as_list::<i32>().values(),
            array.as_list::<i32>().value_offsets(),
        )],
        DataType::LargeList(_) => vec![values(
            array.as_list::<i64>().values(),
            array.as_list::<i64>().value_offsets(),
        )],
        DataType::Map(..) => {
            let map = array.as_map();
            vec![values(
                &(std::sync::Arc::new(map.entries().clone()) as ArrayRef),
                map.value_offsets(),
            )]
        }
        DataType::Struct(_) => array.as_struct().columns().to_vec(),
        // The words are everybody's.
        DataType::Dictionary(_, _) => return Ok(array.len() * size_of::<i64>()),
        _ => return array.to_data().get_slice_memory_size(),
    };
    let own = array.len() * size_of::<i64>();
    within
        .iter()
        .map(bytes)
        .try_fold(own, |sum, bytes| Ok(sum + bytes?))
}

/// The values that lists hold, of all that lie beside them.
pub(crate) fn values<O: Copy + TryInto<usize>>(values: &ArrayRef, offsets: &[O]) -> ArrayRef {
    let end = |offset: Option<&O>| {
        offset
            .and_then(|offset| (*offset).try_into().ok())
            .unwrap_or(0)
    };
    let (first, last) = (end(offsets.first()), end(offsets.last()));
    values.slice(first, last - first)
}

/// Whether values of a type may be of any length.
pub(crate) fn is_long(data_type: &DataType) -> bool {
    !(data_type.is_primitive() || matches!(data_type, DataType::Boolean | DataType::Null))
}

/// The bytes of each value.
pub(crate) fn row_bytes(array: &ArrayRef) -> Vec<u64> {
    fn lengths<O: Copy + Into<i64>>(offsets: &[O], each: u64) -> Vec<u64> {
        let length = |pair: &[O]| (pair[1].into() - pair[0].into()) as u64;
        offsets
            .windows(2)
            .map(|pair| length(pair).saturating_mul(each))
            .collect()
    }
    match array.data_type() {
        DataType::Utf8 => lengths(array.as_string::<i32>().value_offsets(), 1),
        DataType::LargeUtf8 => lengths(array.as_string::<i64>().value_offsets(), 1),
        DataType::Binary => lengths(array.as_binary::<i32>().value_offsets(), 1),
        DataType::LargeBinary => lengths(array.as_binary::<i64>().value_offsets(), 1),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).collect(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).collect(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            lengths(
                list.value_offsets(),
                mean_bytes(&values(list.values(), list.value_offsets())),
            )
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            lengths(
                list.value_offsets(),
                mean_bytes(&values(list.values(), list.value_offsets())),
            )
        }
        _ => vec![mean_bytes(array); array.len()],
    }
}

/// The bytes of all long values of each row.
pub(crate) fn long_row_bytes(rows: &RecordBatch) -> Vec<u64> {
    let mut sums = vec![0_u64; rows.num_rows()];
    for column in rows.columns().iter().filter(|it| is_long(it.data_type())) {
        for (sum, bytes) in sums.iter_mut().zip(row_bytes(column)) {
            *sum = sum.saturating_add(bytes);
        }
    }
    sums
}

/// The bytes of a value on average; at least 1, for what an empty one takes.
fn mean_bytes(values: &ArrayRef) -> u64 {
    let all = bytes(values).unwrap_or(usize::MAX);
    (all / values.len().max(1)).max(1) as u64
}

/// How many elements each list has; `None` for what is no list.
pub(crate) fn list_lengths(array: &ArrayRef) -> Option<Vec<u64>> {
    let lengths = match array.data_type() {
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => length(array).ok()?,
        _ => return None,
    };
    let counted = |length: Option<i64>| {
        length
            .and_then(|it| u64::try_from(it).ok())
            .unwrap_or_default()
    };
    Some(match lengths.data_type() {
        DataType::Int32 => lengths
            .as_primitive::<Int32Type>()
            .iter()
            .map(|it| counted(it.map(i64::from)))
            .collect(),
        _ => lengths
            .as_primitive::<Int64Type>()
            .iter()
            .map(counted)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn lists() -> ArrayRef {
        let rows = (0..1000).map(|row| Some(vec![Some(row); 100]));
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows))
    }

    #[test]
    fn a_slice_is_not_counted_as_the_whole() {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..1000).map(|it| format!("{it:0100}")),
        ));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        for (column, each) in [(texts, 104), (numbers, 8), (lists(), 408)] {
            let slice = column.slice(500, 10);
            let whole = bytes(&column).expect("a size");
            assert!((1000 * each..1100 * each).contains(&whole), "{whole}");
            let part = bytes(&slice).expect("a size");
            assert!((10 * each..20 * each).contains(&part), "{part} of {whole}");
        }
    }

    #[test]
    fn each_row_is_as_long_as_its_values() {
        let lists = lists().slice(10, 2);
        assert_eq!(row_bytes(&lists), [400, 400]);
        assert_eq!(list_lengths(&lists), Some(vec![100, 100]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["abc", "", "äö"]));
        assert_eq!(row_bytes(&texts), [3, 0, 4]);
        assert_eq!(list_lengths(&texts), None);
        let rows =
            RecordBatch::try_from_iter([("a", Arc::clone(&texts)), ("b", texts)]).expect("rows");
        assert_eq!(long_row_bytes(&rows), [6, 0, 8]);
    }
}
