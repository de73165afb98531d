//! How much a load's files may hold once they are unpacked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::LoadOptions;
use crate::{Error, Result};

/// Rows in memory may take so many times what their files state: Parquet writes a word that repeats but
/// once, and a long run of one number as two.
const REPEATS: u64 = 4;

/// What one reading of a load's files may take.
#[derive(Debug)]
pub(super) struct Room {
    most: Option<u64>,
    unpacked: AtomicU64,
    decoded: AtomicU64,
}

impl Room {
    pub(super) fn of(options: &LoadOptions) -> Self {
        Self {
            most: options.unpacked_bytes,
            unpacked: AtomicU64::new(0),
            decoded: AtomicU64::new(0),
        }
    }

    /// Counts what a file states that it unpacks to, before it is.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(super) fn unpack(&self, file: &str, bytes: u64) -> Result<()> {
        self.count(&self.unpacked, 1, file, bytes)
    }

    /// Counts rows of a file as they are decoded.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(super) fn decode(&self, file: &str, bytes: u64) -> Result<()> {
        self.count(&self.decoded, REPEATS, file, bytes)
    }

    fn count(&self, counted: &AtomicU64, times: u64, file: &str, bytes: u64) -> Result<()> {
        let Some(most) = self.most else {
            return Ok(());
        };
        let most = most.saturating_mul(times);
        // What is more than all of it is too much in any case, and must not make the sum wrap.
        let bytes = bytes.min(most.saturating_add(1));
        let before = counted.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) <= most {
            true => Ok(()),
            false => Err(Error::TooLarge(format!(
                "{file}: unpacked it is larger than what the server takes at once (--load-memory): load it in parts"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_hold_together_counts() {
        let room = Room::of(&LoadOptions {
            unpacked_bytes: Some(100),
            ..LoadOptions::default()
        });
        assert!(room.unpack("a", 60).is_ok());
        assert!(room.decode("a", 390).is_ok(), "rows have room of their own");
        assert!(room.unpack("b", 40).is_ok());
        for refused in [
            room.unpack("c", 1),
            room.unpack("c", u64::MAX),
            room.decode("b", 11),
        ] {
            assert!(matches!(refused, Err(Error::TooLarge(_))));
        }
    }

    #[test]
    fn there_is_no_limit_where_none_is_set() {
        let room = Room::of(&LoadOptions::default());
        assert!(room.unpack("a", u64::MAX).is_ok());
        assert!(room.unpack("b", u64::MAX).is_ok());
    }
}
