//! What functions have made of the rows that their operator was handed last.
//!
//! A function sees its own arguments and not what the others of its operator make of the same rows; so
//! whoever hands an operator rows opens an account, on the thread on which it then works.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{Id, try_id};

use crate::limits::FUNCTION_BATCH_BYTES;

thread_local! {
    /// The account that is open, and the task for which it is: one that goes on elsewhere leaves it behind.
    static OPEN: RefCell<Option<(Option<Id>, Account)>> = const { RefCell::new(None) };
}

/// The bytes that were made of some rows, and how many may be.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    made: Arc<AtomicU64>,
    limit: u64,
}

impl Account {
    pub(crate) fn of(limit: u64) -> Self {
        Self {
            made: Arc::default(),
            limit,
        }
    }

    /// Begins with the rows that are handed over next.
    pub(crate) fn open(&self) {
        self.made.store(0, Ordering::Relaxed);
        OPEN.replace(Some((try_id(), self.clone())));
    }

    /// What was made of them so far.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

/// Closes the account that is open: what is made from here on is not made of its rows.
pub(crate) fn close() {
    OPEN.replace(None);
}

/// How many bytes a function may make.
pub(crate) fn room() -> u64 {
    of_open(|account| account.limit.saturating_sub(account.made())).unwrap_or(FUNCTION_BATCH_BYTES)
}

/// Puts what a function has made on the account that is open.
pub(crate) fn add(bytes: u64) {
    of_open(|account| account.made.fetch_add(bytes, Ordering::Relaxed));
}

fn of_open<T>(what: impl FnOnce(&Account) -> T) -> Option<T> {
    OPEN.with_borrow(|open| match open {
        Some((task, account)) if *task == try_id() => Some(what(account)),
        _ => None,
    })
}
