//! The right to run a store's jobs, which one server has at a time.
//!
//! It is a row of numbered files that are put where there is none: whoever made the newest one has the right.
//! They keep it by making the next one. Where the newest stays the same for the length of the lease, by one's
//! own clock that no one sets, its holder has gone and the next one is there for the taking. A holder that was
//! stopped and goes on finds that its next number is taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use didymium_store::{OwnFolder, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{Error, Result};

/// One server's part in it.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    /// What tells our files from others'.
    holder: String,
    length: Duration,
    state: Mutex<State>,
}

/// What a file says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// Who made it.
    holder: String,
    /// Whether it is the last of a server that stops.
    given_up: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the file that we made last, and when, where it is the newest as far as we know.
    held: Option<(u64, Instant)>,
    /// The newest file of another server's, and since when we have seen no newer one.
    seen: Option<(u64, Instant)>,
}

impl Lease {
    pub(crate) fn of(store: Arc<Store>, length: Duration) -> Self {
        Self {
            store,
            holder: uuid::Uuid::new_v4().to_string(),
            length,
            state: Mutex::default(),
        }
    }

    /// Whether the right is ours, taking or keeping it where that can be.
    pub(crate) async fn hold(&self) -> Result<bool> {
        let mut state = self.state.lock().await;
        let newest = self.newest().await?;
        if let Some((number, since)) = state.held {
            if newest == Some(number + 1) && self.is_ours(number + 1).await? {
                // Made, though the answer did not come back.
                state.held = Some((number + 1, Instant::now()));
                return Ok(true);
            }
            if newest != Some(number) {
                state.held = None;
                state.seen = newest.map(|newest| (newest, Instant::now()));
                return Ok(false);
            }
            if since.elapsed() < self.length / 3 {
                return Ok(true);
            }
            return self.take(&mut state, number + 1).await;
        }
        let Some(newest) = newest else {
            return self.take(&mut state, 1).await;
        };
        match state.seen {
            Some((seen, since)) if seen == newest && since.elapsed() >= self.length => {
                self.take(&mut state, newest + 1).await
            }
            Some((seen, _)) if seen == newest => Ok(false),
            _ if self.was_given_up(newest).await? => self.take(&mut state, newest + 1).await,
            _ => {
                state.seen = Some((newest, Instant::now()));
                Ok(false)
            }
        }
    }

    /// Makes sure of the right just before something is written.
    ///
    /// # Errors
    /// [`Error::Superseded`] where another server has it.
    pub(crate) async fn confirm(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let Some((number, _)) = state.held else {
            return Err(Error::Superseded);
        };
        match self.take(&mut state, number + 1).await? {
            true => Ok(()),
            false => Err(Error::Superseded),
        }
    }

    /// Lets the next one take it at once.
    pub(crate) async fn give_up(&self) {
        let mut state = self.state.lock().await;
        let Some((number, _)) = state.held.take() else {
            return;
        };
        let left = self.put(number + 1, true).await;
        if let Err(error) = left {
            tracing::warn!(%error, "the right to run jobs is given up by waiting");
        }
    }

    async fn take(&self, state: &mut State, number: u64) -> Result<bool> {
        let began = Instant::now();
        let is_made = self.put(number, false).await? || self.is_ours(number).await?;
        // A number that was taken long ago is deleted by now, and free again; its successors are not.
        let newest = self.newest().await?;
        if !is_made || newest != Some(number) {
            state.held = None;
            state.seen = newest.map(|newest| (newest, Instant::now()));
            return Ok(false);
        }
        state.held = Some((number, began));
        state.seen = None;
        self.forget_before(number).await;
        Ok(true)
    }

    async fn put(&self, number: u64, given_up: bool) -> Result<bool> {
        let held = Held {
            holder: self.holder.clone(),
            given_up,
        };
        let content = serde_json::to_vec(&held).map_err(|_| Error::Superseded)?;
        let name = name(number);
        let put = self
            .store
            .put_own_file(OwnFolder::Leases, &name, content, false);
        Ok(put.await?)
    }

    async fn read(&self, number: u64) -> Result<Option<Held>> {
        let name = name(number);
        let file = self.store.own_file(OwnFolder::Leases, &name).await?;
        Ok(file.and_then(|file| serde_json::from_slice(&file).ok()))
    }

    async fn is_ours(&self, number: u64) -> Result<bool> {
        let held = self.read(number).await?;
        Ok(held.is_some_and(|held| held.holder == self.holder))
    }

    async fn newest(&self) -> Result<Option<u64>> {
        let names = self.store.own_names(OwnFolder::Leases).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).max())
    }

    async fn was_given_up(&self, number: u64) -> Result<bool> {
        let held = self.read(number).await?;
        Ok(held.is_some_and(|held| held.given_up))
    }

    /// Deletes what is of no use. The one before the newest stays: a reader may have just listed it.
    async fn forget_before(&self, number: u64) {
        let Ok(names) = self.store.own_names(OwnFolder::Leases).await else {
            return;
        };
        for old in names {
            if old.parse().is_ok_and(|old: u64| old + 1 < number) {
                // The next one deletes what stays.
                let _ = self.store.delete_own_file(OwnFolder::Leases, &old).await;
            }
        }
    }
}

/// A name that sorts as its number does.
fn name(number: u64) -> String {
    format!("{number:020}")
}
