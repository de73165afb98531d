//! What the queries of one role may use: less than the server's own limits allow.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use didymium_engine::{Error, ErrorKind, QueryRequest, bytes_of};

use crate::Role;

/// What one query of a role may use; what is not set is limited as for everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Rows of its result.
    pub rows: Option<u64>,
    /// Bytes of its result, as the engine holds them.
    pub bytes: Option<u64>,
    /// Time from its arrival to its last row.
    pub time: Option<Duration>,
    /// Bytes of its sorts, joins and aggregates.
    pub memory: Option<usize>,
}

/// The caps of those roles that have some.
pub type RoleCaps = BTreeMap<Role, Caps>;

impl Caps {
    /// Holds a query to the time and the memory.
    pub(crate) fn hold(&self, request: &mut QueryRequest) {
        request.limit_time(self.time);
        request.memory_bytes = self.memory;
    }

    /// Takes more rows of a result into account: `rows` have been given with them, and `bytes` before
    /// them, which are counted where they are limited.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where a result is larger than the role allows.
    pub(crate) fn spend(
        &self,
        role: Role,
        more: &RecordBatch,
        rows: u64,
        bytes: &mut u64,
    ) -> Result<(), Error> {
        if self.bytes.is_some() {
            *bytes += bytes_of(more)? as u64;
        }
        let refused = |limit: u64, what: &str| {
            Err(Error::new(
                ErrorKind::OverLimit,
                format!(
                    "a query of the role '{role}' may give {limit} {what}, and this one gives more: aggregate, filter, or add LIMIT"
                ),
            ))
        };
        match (self.rows, self.bytes) {
            (Some(limit), _) if rows > limit => refused(limit, "rows"),
            (_, Some(limit)) if *bytes > limit => refused(limit, "bytes"),
            _ => Ok(()),
        }
    }
}
