//! What all services of a server share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use didymium_engine::Engine;
use didymium_jobs::Scheduler;
use tokio_util::sync::CancellationToken;

use crate::Role;
use crate::caps::{Caps, RoleCaps};
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
    pub(crate) jobs: Arc<Scheduler>,
    pub(crate) seal: Seal,
    pub(crate) metrics: Metrics,
    pub(crate) memory: Memory,
    pub(crate) role_caps: RoleCaps,
    /// Cancelled when the server takes no more queries.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the server has waited long enough for running queries.
    pub(crate) stop: CancellationToken,
}

/// How often it is looked whether those whose queries run may still be here.
const ROUND: Duration = Duration::from_secs(1);

impl Desk {
    /// What queries of a role may use.
    pub(crate) fn caps(&self, role: Role) -> Caps {
        self.role_caps.get(&role).copied().unwrap_or_default()
    }

    /// Ends the queries of tokens that were revoked or whose time has passed, and forgets those that are
    /// over, for as long as it is polled.
    pub(crate) async fn dismiss(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.running.forget();
            let Door::Guarded(tokens, _) = &self.door else {
                continue;
            };
            for owner in self.running.owners() {
                // Where the store can't be asked, calls are refused as well; what runs goes on.
                if let Ok(false) = tokens.opens(&owner, self.engine.now_ms()).await {
                    self.running.dismiss(&owner);
                }
            }
        }
    }

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
