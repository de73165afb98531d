//! Transactions, of which there are none: what a client would do within one is refused, since it would be done
//! at once and for good.

use bytes::Bytes;
use didymium_engine::ErrorKind;
use tonic::Status;

use crate::request::invalid;
use crate::status::refused;

/// The actions that would begin and end them.
pub(super) const ACTIONS: [&str; 4] = [
    "BeginTransaction",
    "EndTransaction",
    "BeginSavepoint",
    "EndSavepoint",
];

const TOLD: &str = "there are no transactions: go on without one (autocommit), for each load is one commit, and each statement reads one snapshot";

/// What is said of such an action.
pub(super) fn unsupported() -> Status {
    refused(ErrorKind::Unsupported, TOLD)
}

/// Refuses a command that is to be part of one; an empty id names none.
///
/// # Errors
/// INVALID_ARGUMENT.
pub(super) fn refuse(transaction_id: Option<&Bytes>) -> Result<(), Status> {
    match transaction_id.is_some_and(|id| !id.is_empty()) {
        false => Ok(()),
        true => Err(invalid(format!("transaction_id: {TOLD}"))),
    }
}
