//! One query's part of the memory that all of them share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{Result, resources_err};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// A pool that takes from the one that all queries share, and no more than a query may have.
#[derive(Debug)]
pub struct Share {
    all: Arc<dyn MemoryPool>,
    limit: usize,
    reserved: AtomicUsize,
}

impl Share {
    pub(crate) fn of(all: Arc<dyn MemoryPool>, limit: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            limit,
            reserved: AtomicUsize::new(0),
        })
    }

    /// Bytes that the query has reserved.
    pub fn held(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.all.grow(reservation, additional);
        self.reserved.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.all.shrink(reservation, shrink);
        self.reserved.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let held = self.reserved.fetch_add(additional, Ordering::Relaxed);
        let grown = match held.saturating_add(additional) > self.limit {
            true => resources_err!(
                "one query may hold {} bytes, {held} are held and {additional} more are asked for",
                self.limit
            ),
            false => self.all.try_grow(reservation, additional),
        };
        if grown.is_err() {
            self.reserved.fetch_sub(additional, Ordering::Relaxed);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.all.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.all.memory_limit()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share of {} bytes of {}", self.limit, self.all.name())
    }
}
