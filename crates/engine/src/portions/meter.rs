//! What functions have made of the rows that their operator was handed last.
//!
//! A function sees its own arguments and not what the others of its operator make of the same rows; so
//! whoever hands an operator rows opens an account, on the thread on which it then works.

use std::cell::Cell;

use tokio::task::{Id, try_id};

use crate::limits::FUNCTION_BATCH_BYTES;

thread_local! {
    static MADE: Cell<Option<Account>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Account {
    /// Whose: a task that goes on elsewhere leaves its account behind.
    task: Option<Id>,
    bytes: u64,
}

/// Opens an account for the rows that are handed over next.
pub(crate) fn open() {
    MADE.set(Some(Account {
        task: try_id(),
        bytes: 0,
    }));
}

/// Closes it: what was made since, if it was made on this thread.
pub(crate) fn close() -> Option<u64> {
    let account = MADE.take().filter(|account| account.task == try_id());
    account.map(|account| account.bytes)
}

/// How many bytes a function may make.
pub(crate) fn room() -> u64 {
    let made = own().map_or(0, |account| account.bytes);
    FUNCTION_BATCH_BYTES.saturating_sub(made)
}

/// Puts what a function has made on the account, where one is open.
pub(crate) fn add(bytes: u64) {
    if let Some(account) = own() {
        let bytes = account.bytes.saturating_add(bytes);
        MADE.set(Some(Account { bytes, ..account }));
    }
}

fn own() -> Option<Account> {
    MADE.get().filter(|account| account.task == try_id())
}
