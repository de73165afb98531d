//! Loads under way, whichever protocol they came by.

use std::sync::Arc;

use didymium_engine::ErrorKind;
use didymium_store::{Declaration, Faults, LoadRequest, Loaded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::caller::{Caller, Role};
use crate::desk::Desk;
use crate::status::{failed, refused};

/// What a client should know whose load took too long.
pub(crate) const MAY_LAND: &str =
    " and may still land: load again under the same id, a load lands only once";

/// The memory that loads may take together.
#[derive(Debug)]
pub(crate) struct Loads {
    bytes: usize,
    /// A permit for each byte.
    memory: Arc<Semaphore>,
}

/// The memory that one load has taken, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<OwnedSemaphorePermit>);

/// Why a load has changed nothing.
pub(crate) enum Refused {
    /// Its files have faults.
    Faulty(Faults),
    Failed(Status),
}

impl Loads {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            memory: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Takes memory for so many bytes more.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED.
    pub(crate) fn hold(&self, bytes: usize, held: &mut Held) -> Result<(), Status> {
        let permit = u32::try_from(bytes)
            .ok()
            .and_then(|count| Arc::clone(&self.memory).try_acquire_many_owned(count).ok());
        let Some(permit) = permit else {
            return Err(refused(
                ErrorKind::OverLimit,
                "the loads under way are larger than what the server takes at once (--load-memory): load in parts, or later",
            ));
        };
        match &mut held.0 {
            Some(held) => held.merge(permit),
            held @ None => *held = Some(permit),
        }
        Ok(())
    }
}

impl Desk {
    /// Loads into a table, or makes one with `create`.
    ///
    /// # Errors
    /// What the store says of it.
    pub(crate) async fn load(
        &self,
        caller: &Caller,
        table: &str,
        mut request: LoadRequest,
        create: bool,
        held: Held,
    ) -> Result<(Loaded, Option<Declaration>), Refused> {
        caller.require(Role::Write)?;
        let store = Arc::clone(self.engine.store());
        if create {
            let granted = self.engine.refuse_ungranted(table, &caller.grants);
            granted.map_err(|error| failed(&error))?;
        }
        if !caller.grants.allows(table) {
            let unknown = self.engine.unknown(table, &caller.grants).await;
            return Err(failed(&unknown).into());
        }
        let (files, dry_run) = (request.inputs.len(), request.options.dry_run);
        tracing::info!(table, caller = caller.name, files, dry_run, "load");
        // A small file may be a large one, packed.
        request.options.unpacked_bytes = Some(self.loads.bytes as u64);
        let into = table.to_owned();
        #[expect(
            clippy::disallowed_methods,
            reason = "a client that leaves stops no load half way: it lands, or it leaves nothing behind"
        )]
        let load = tokio::spawn(async move {
            let loaded = store.load(&into, request, create).await;
            drop(held);
            loaded
        });
        let loaded = load
            .await
            .map_err(|error| refused(ErrorKind::Internal, format!("the load stopped: {error}")))?;
        let (loaded, declaration) = match loaded {
            Ok(loaded) => loaded,
            Err(didymium_store::Error::Faulty(faults)) => return Err(Refused::Faulty(faults)),
            Err(error) => return Err(failed(&error.into()).into()),
        };
        let (rows, version) = (loaded.rows, loaded.version);
        tracing::info!(table, load_id = loaded.load_id, rows, version, "load done");
        // A job may wait for it.
        self.jobs.wake();
        Ok((loaded, declaration))
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Faulty(faults) => failed(&didymium_store::Error::Faulty(faults).into()),
            Refused::Failed(status) => status,
        }
    }
}
