//! What all services of a server share.

use std::sync::Arc;
use std::time::Instant;

use didymium_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::door::Door;
use crate::loads::Loads;
use crate::memory::Memory;
use crate::metrics::{Metrics, Moment};
use crate::running::Running;
use crate::seal::Seal;
use crate::slots::Slots;

/// One engine, who may ask it, and what it is doing.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) started: Instant,
    pub(crate) engine: Arc<Engine>,
    pub(crate) door: Door,
    pub(crate) running: Arc<Running>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) loads: Loads,
    pub(crate) seal: Seal,
    pub(crate) metrics: Metrics,
    pub(crate) memory: Memory,
    /// Cancelled when the server takes no more queries.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the server has waited long enough for running queries.
    pub(crate) stop: CancellationToken,
}

impl Desk {
    /// What the server is doing now.
    pub(crate) fn moment(&self) -> Moment {
        let waiting = self.slots.waiting();
        Moment {
            running: self.running.count().saturating_sub(waiting),
            waiting,
            pool_bytes: self.engine.reserved_bytes(),
            resident_bytes: self.memory.resident(),
        }
    }
}
