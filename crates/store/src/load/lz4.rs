//! How much an LZ4 frame can unpack to.
//!
//! The decoder goes on to a frame's end, whatever the frame was said to hold: its blocks tell more.

const MAGIC: u32 = 0x184D_2204;

/// A frame of the first format: all that it has is blocks.
const LEGACY_MAGIC: u32 = 0x184C_2102;

/// The bytes of a legacy frame's blocks.
const LEGACY_BLOCK: u64 = 8 * 1024 * 1024;

/// Bits of the byte that describes a frame.
const HAS_BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const HAS_CONTENT_SIZE: u8 = 0b0000_1000;
const HAS_DICTIONARY_ID: u8 = 0b0000_0001;

/// The bit of a block's length that says that it is as it was.
const IS_PLAIN: u32 = 1 << 31;

/// A byte of a block stands for no more bytes than this.
const MOST_PER_BYTE: u64 = 255;

/// The bytes that a frame unpacks to, which it is said to be. All blocks but the last are full, in what writers
/// make in one go: where the blocks could hold more than that, what is said is not believed.
pub(super) fn unpacked(frame: &[u8], stated: u64) -> u64 {
    let Some(blocks) = Blocks::of(frame) else {
        // The decoder reads nothing of it either.
        return stated;
    };
    let most = blocks.most();
    match most <= stated.saturating_add(blocks.size) {
        true => stated,
        false => most,
    }
}

/// The blocks of a frame.
struct Blocks<'a> {
    bytes: &'a [u8],
    /// How much each of them may unpack to.
    size: u64,
    /// How many bytes follow each of them.
    checksum: usize,
}

impl<'a> Blocks<'a> {
    /// `None` for what is no frame.
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (magic, rest) = frame.split_first_chunk::<4>()?;
        match u32::from_le_bytes(*magic) {
            MAGIC => {}
            LEGACY_MAGIC => {
                return Some(Self {
                    bytes: rest,
                    size: LEGACY_BLOCK,
                    checksum: 0,
                });
            }
            _ => return None,
        }
        let ([described, sizes], rest) = rest.split_first_chunk::<2>()?;
        let has = |bit: u8| described & bit != 0;
        // A checksum of these bytes is the last of them.
        let more =
            1 + 8 * usize::from(has(HAS_CONTENT_SIZE)) + 4 * usize::from(has(HAS_DICTIONARY_ID));
        let kibibytes = match (sizes >> 4) & 0b111 {
            4 => 64,
            5 => 256,
            6 => 1024,
            7 => 4096,
            _ => return None,
        };
        Some(Self {
            bytes: rest.get(more..)?,
            size: kibibytes * 1024,
            checksum: 4 * usize::from(has(HAS_BLOCK_CHECKSUMS)),
        })
    }

    /// The most that they can unpack to.
    fn most(&self) -> u64 {
        let (mut most, mut bytes) = (0_u64, self.bytes);
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length);
            if length == 0 {
                break;
            }
            let packed = u64::from(length & !IS_PLAIN);
            most += match length & IS_PLAIN {
                0 => self.size.min(packed * MOST_PER_BYTE),
                _ => packed,
            };
            let end = usize::try_from(packed).ok();
            let end = end.and_then(|end| end.checked_add(self.checksum));
            let Some(next) = end.and_then(|end| rest.get(end..)) else {
                break;
            };
            bytes = next;
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 64 * 1024;

    /// A frame whose blocks have these lengths, with nothing in them.
    fn frame(described: u8, blocks: &[u32]) -> Vec<u8> {
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend([0b0100_0000 | described, 4 << 4]);
        let has = |bit: u8| described & bit != 0;
        frame.extend(vec![0; 8 * usize::from(has(HAS_CONTENT_SIZE))]);
        frame.extend(vec![0; 4 * usize::from(has(HAS_DICTIONARY_ID))]);
        frame.push(0);
        for length in blocks {
            frame.extend(length.to_le_bytes());
            frame.extend(vec![0; (length & !IS_PLAIN) as usize]);
            frame.extend(vec![0; 4 * usize::from(has(HAS_BLOCK_CHECKSUMS))]);
        }
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn a_frame_that_holds_what_it_states_is_believed() {
        for described in [0, HAS_CONTENT_SIZE, HAS_BLOCK_CHECKSUMS, 0b0001_1001] {
            let frame = frame(described, &[300, 300, 40]);
            for stated in [2 * BLOCK + 1, 3 * BLOCK] {
                assert_eq!(unpacked(&frame, stated), stated);
            }
        }
        assert_eq!(unpacked(&frame(0, &[60 | IS_PLAIN]), 60), 60);
        assert_eq!(unpacked(b"no frame at all", 7), 7);
    }

    #[test]
    fn a_frame_that_holds_more_than_it_states_counts_as_what_it_can_hold() {
        let bomb = frame(HAS_BLOCK_CHECKSUMS, &[300; 100]);
        assert_eq!(unpacked(&bomb, 8), 100 * BLOCK);
        // What follows the mark of the end is not read.
        let mut two = frame(0, &[300]);
        two.extend(frame(0, &[300; 100]));
        assert_eq!(unpacked(&two, BLOCK), BLOCK);
        // Nor is a frame that is cut off further than it goes.
        assert_eq!(unpacked(&bomb[..bomb.len() / 2], 8), 50 * BLOCK);
    }
}
