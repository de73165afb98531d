//! The queries that are running, by their ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use didymium_engine::ErrorKind;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::status::refused;

/// Every running query's id and the way to stop it.
#[derive(Debug, Default)]
pub(crate) struct Running {
    queries: Mutex<HashMap<String, CancellationToken>>,
}

/// A query's place among the running ones, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    running: Arc<Running>,
    pub(crate) query_id: String,
    pub(crate) cancelled: CancellationToken,
}

/// The longest id that a client may choose.
const LONGEST_ID: usize = 64;

impl Running {
    /// A place for a query, under the client's id or one of our own.
    pub(crate) fn enter(self: &Arc<Self>, chosen: &str) -> Result<Place, Status> {
        let is_id = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if chosen.len() > LONGEST_ID || !chosen.chars().all(is_id) {
            return Err(refused(
                ErrorKind::InvalidInput,
                format!("query_id: must be 1 to {LONGEST_ID} letters, digits, '-', '_' or '.'"),
            ));
        }
        let query_id = match chosen {
            "" => Uuid::new_v4().to_string(),
            chosen => chosen.to_owned(),
        };
        let cancelled = CancellationToken::new();
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if queries.contains_key(&query_id) {
            return Err(refused(
                ErrorKind::AlreadyExists,
                format!("a query {query_id} is running"),
            ));
        }
        queries.insert(query_id.clone(), cancelled.clone());
        Ok(Place {
            running: Arc::clone(self),
            query_id,
            cancelled,
        })
    }

    /// Tells a query to stop; false where none of this id is running.
    pub(crate) fn cancel(&self, query_id: &str) -> bool {
        let queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries
            .get(query_id)
            .map(CancellationToken::cancel)
            .is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queries = self
            .running
            .queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        queries.remove(&self.query_id);
    }
}
