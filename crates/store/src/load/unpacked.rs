//! How many bytes an Arrow stream unpacks to, by what it states.
//!
//! A compressed buffer begins with its length once it is unpacked, and a decoder takes as much memory before
//! anything can be counted. So the messages are walked first, and nothing of them is decoded.

use std::io::{self, Read};

use arrow::error::ArrowError;
use arrow::ipc::{CompressionType, RecordBatch as BatchMessage, root_as_message};
use lz4_flex::frame::FrameDecoder;

/// What a message may begin with, before its length.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// What a buffer states that was left as it is, though its message is compressed.
const NOT_COMPRESSED: i64 = -1;

/// Bytes of a row that the load itself adds: its number.
const ROW_NUMBER_BYTES: u64 = 8;

/// The bytes of all rows and words of a stream, which lies in memory as the decoder will read it. What is cut
/// off is left out: the decoder comes to no message behind it either.
///
/// # Errors
/// Where a message is malformed.
pub(super) fn of_stream(mut stream: &[u8]) -> Result<u64, ArrowError> {
    let mut bytes = 0_u64;
    while let Some((header, rest)) = header(stream) {
        let message = root_as_message(header)
            .map_err(|error| ArrowError::IpcError(format!("a message is malformed: {error}")))?;
        let body = usize::try_from(message.bodyLength()).ok();
        let Some((body, rest)) = body.and_then(|length| rest.split_at_checked(length)) else {
            break;
        };
        let rows = message.header_as_record_batch();
        let words = message.header_as_dictionary_batch();
        for batch in rows.into_iter().chain(words.and_then(|it| it.data())) {
            bytes = bytes.saturating_add(of_batch(&batch, body));
        }
        stream = rest;
    }
    Ok(bytes)
}

/// The next message's header, and what follows it; `None` at the end.
fn header(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut rest) = stream.split_first_chunk::<4>()?;
    if *length == CONTINUATION {
        (length, rest) = rest.split_first_chunk::<4>()?;
    }
    match u32::from_le_bytes(*length) {
        // The mark of the end.
        0 => None,
        length => rest.split_at_checked(usize::try_from(length).ok()?),
    }
}

fn of_batch(batch: &BatchMessage<'_>, body: &[u8]) -> u64 {
    let codec = batch.compression().map(|compression| compression.codec());
    let buffers = batch.buffers().into_iter().flatten();
    let buffers = buffers.filter_map(|buffer| {
        // One that lies outside is the decoder's to refuse.
        let start = usize::try_from(buffer.offset()).ok()?;
        let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
        Some(of_buffer(body.get(start..end)?, codec))
    });
    let bytes = buffers.fold(0, u64::saturating_add);
    // A column of nulls has rows without a buffer.
    let rows = u64::try_from(batch.length()).unwrap_or_default();
    bytes.max(rows.saturating_mul(ROW_NUMBER_BYTES))
}

fn of_buffer(buffer: &[u8], codec: Option<CompressionType>) -> u64 {
    let Some(codec) = codec else {
        return buffer.len() as u64;
    };
    let Some((stated, packed)) = buffer.split_first_chunk::<8>() else {
        return 0;
    };
    let stated = match i64::from_le_bytes(*stated) {
        NOT_COMPRESSED => return packed.len() as u64,
        // Less than nothing is the decoder's to refuse.
        stated => u64::try_from(stated).unwrap_or_default(),
    };
    match codec == CompressionType::LZ4_FRAME {
        true => of_lz4(packed, stated),
        // No decoder of Zstandard goes beyond what is stated.
        false => stated,
    }
}

/// What a decoder takes for an LZ4 frame: it goes on to the frame's end, whatever was stated.
fn of_lz4(frame: &[u8], stated: u64) -> u64 {
    let mut rows = FrameDecoder::new(frame).take(stated.saturating_add(1));
    // A frame that can't be read is the decoder's to refuse.
    match io::copy(&mut rows, &mut io::sink()) {
        Ok(held) if held > stated => u64::MAX,
        _ => stated,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
    use arrow::buffer::Buffer;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
    use lz4_flex::frame::FrameEncoder;

    use super::*;

    /// What a stream of the column states, and the stream.
    fn stated(column: ArrayRef, codec: Option<CompressionType>) -> (u64, Buffer) {
        let rows = RecordBatch::try_from_iter([("column", column)]).expect("rows");
        let options = IpcWriteOptions::default().try_with_compression(codec);
        let options = options.expect("a codec of ours");
        let writer = StreamWriter::try_new_with_options(Vec::new(), &rows.schema(), options);
        let mut writer = writer.expect("a writer");
        writer.write(&rows).expect("written");
        writer.write(&rows).expect("written");
        // In memory of its own, which is aligned.
        let stream = Buffer::from(writer.into_inner().expect("a stream").as_slice());
        (of_stream(&stream).expect("sound"), stream)
    }

    #[test]
    fn what_compressed_rows_take_is_known_before_they_are_unpacked() {
        const ROWS: usize = 1 << 17;
        let zeros = || Arc::new(Int64Array::from(vec![0; ROWS])) as ArrayRef;
        let plain = 2 * 8 * ROWS as u64;
        for codec in [
            None,
            Some(CompressionType::LZ4_FRAME),
            Some(CompressionType::ZSTD),
        ] {
            let (bytes, stream) = stated(zeros(), codec);
            // Beside the values there may be a bit for each, and padding.
            let range = plain..=plain + plain / 50;
            assert!(range.contains(&bytes), "{codec:?}: {bytes} of {plain}");
            let is_small = (stream.len() as u64) < plain / 50;
            assert_eq!(is_small, codec.is_some(), "{codec:?}");
        }
    }

    #[test]
    fn a_frame_that_holds_more_than_it_states_is_too_large() {
        let mut frame = FrameEncoder::new(Vec::new());
        frame.write_all(&[0; 1 << 20]).expect("written");
        let frame = frame.finish().expect("a frame");
        assert_eq!(of_lz4(&frame, 1 << 20), 1 << 20);
        assert_eq!(of_lz4(&frame, 8), u64::MAX);
        assert_eq!(of_lz4(&frame[..frame.len() / 2], 1 << 20), 1 << 20);
        assert_eq!(of_lz4(b"no frame at all", 7), 7);
    }

    #[test]
    fn what_does_not_compress_counts_as_it_is() {
        let words = Arc::new(StringArray::from(vec!["a", "bc"])) as ArrayRef;
        let (bytes, stream) = stated(words, Some(CompressionType::ZSTD));
        assert!(bytes > 0 && bytes < stream.len() as u64, "{bytes}");
    }

    #[test]
    fn rows_without_a_buffer_count() {
        let (bytes, _) = stated(Arc::new(NullArray::new(1000)), None);
        assert_eq!(bytes, 2 * 1000 * 8);
    }

    #[test]
    fn what_is_cut_off_is_left_out_and_what_is_malformed_refused() {
        let (_, stream) = stated(Arc::new(Int64Array::from(vec![7; 100])), None);
        for end in 0..stream.len() {
            assert!(of_stream(&stream[..end]).is_ok(), "cut at {end}");
        }
        let mut malformed = vec![0xff; 4];
        malformed.extend(16_u32.to_le_bytes());
        malformed.extend([0xee; 64]);
        let malformed = Buffer::from(malformed.as_slice());
        assert!(of_stream(&malformed).is_err());
    }
}
