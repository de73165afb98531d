//! The memory of the whole process, watched from outside: the queries' own pool counts what they say
//! that they take, and not all of them say it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::running::{Running, StoppedFor};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The parts of the ceiling, in percent, from which on no query is taken, and the largest is stopped.
const SHORT: u64 = 85;
const OUT: u64 = 95;

/// How much memory the process has, and may have.
#[derive(Debug)]
pub(crate) struct Memory {
    ceiling: Option<u64>,
    resident: AtomicU64,
    is_short: AtomicBool,
}

impl Memory {
    /// Memory up to a ceiling in bytes; without one, all that the machine has.
    pub(crate) fn up_to(ceiling: Option<u64>) -> Self {
        Self {
            ceiling,
            resident: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        }
    }

    /// Whether no query should be begun.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Bytes of the process, as of the last look.
    pub(crate) fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }

    /// Watches for as long as it is polled.
    pub(crate) async fn watch(&self, running: &Arc<Running>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(resident) = resident_bytes() else {
                continue;
            };
            self.resident.store(resident, Ordering::Relaxed);
            let Some(ceiling) = self.ceiling else {
                continue;
            };
            let is_short = resident > ceiling / 100 * SHORT;
            if self.is_short.swap(is_short, Ordering::Relaxed) != is_short {
                tracing::warn!(resident, ceiling, is_short, "memory");
            }
            if resident > ceiling / 100 * OUT
                && let Some(largest) = running.largest()
            {
                let query_id = &largest.query_id;
                tracing::warn!(query_id, resident, ceiling, "the largest query is stopped");
                largest.stop_for(StoppedFor::Memory);
            }
        }
    }
}

/// The memory that the process holds, where the system tells it as Linux does.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
