//! What tells two results apart, whatever the order of their rows.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, SortField};
use sha2::{Digest, Sha256};

use crate::Result;

/// A digest of rows: of their columns, and the sum of the rows' own hashes, each 256 bits wide. A sum does not
/// depend on the order, and unlike an exclusive or it counts a row that stands twice.
pub(crate) fn rows_digest(schema: &Schema, batches: &[RecordBatch]) -> Result<String> {
    let mut columns = Sha256::new();
    for field in schema.fields() {
        columns.update(format!("{:?} {}\n", field.name(), field.data_type()));
    }
    let fields = schema.fields().iter();
    let fields = fields.map(|field| SortField::new(field.data_type().clone()));
    let of_arrow = |error| {
        didymium_engine::Error::new(
            didymium_engine::ErrorKind::Unsupported,
            format!("the rows can't be compared: {error}"),
        )
    };
    let converter = RowConverter::new(fields.collect()).map_err(of_arrow)?;
    let (mut sum, mut count) = ([0_u64; 4], 0_u64);
    for batch in batches {
        count += batch.num_rows() as u64;
        if batch.num_columns() == 0 {
            continue;
        }
        let rows = converter
            .convert_columns(batch.columns())
            .map_err(of_arrow)?;
        for row in &rows {
            let hash = Sha256::digest(row.data());
            for (part, bytes) in sum.iter_mut().zip(hash.chunks_exact(8)) {
                let bytes = <[u8; 8]>::try_from(bytes).unwrap_or_default();
                *part = part.wrapping_add(u64::from_le_bytes(bytes));
            }
        }
    }
    columns.update(count.to_le_bytes());
    for part in sum {
        columns.update(part.to_le_bytes());
    }
    Ok(hex(&columns.finalize()))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn digest(parts: &[&[i64]]) -> String {
        let batches = parts.iter().map(|values| {
            let column = Arc::new(Int64Array::from(values.to_vec())) as _;
            RecordBatch::try_from_iter([("x", column)]).unwrap()
        });
        let batches: Vec<_> = batches.collect();
        rows_digest(&batches[0].schema(), &batches).unwrap()
    }

    #[test]
    fn order_and_batches_do_not_matter_and_numbers_do() {
        let whole = digest(&[&[1, 2, 2, 3]]);
        assert_eq!(whole, digest(&[&[3, 2], &[2, 1]]));
        assert_ne!(whole, digest(&[&[1, 2, 3]]));
        assert_ne!(whole, digest(&[&[1, 3, 3, 2]]));
        assert_ne!(digest(&[&[]]), whole);
    }
}
