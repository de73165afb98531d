//! The queries that are running or wait to, by their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use didymium_engine::{ErrorKind, QueryResult, Read, Reading, RunningQuery, Share};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::caller::Caller;
use crate::metrics::Protocol;
use crate::status::{refused, turned_away};

/// Every query on its way and the means to stop it.
#[derive(Debug, Default)]
pub(crate) struct Running {
    next: AtomicU64,
    queries: Mutex<BTreeMap<u64, Arc<Entry>>>,
}

/// A query on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) query_id: String,
    pub(crate) owner: Caller,
    pub(crate) protocol: Protocol,
    pub(crate) sql: String,
    pub(crate) arrived: Instant,
    pub(crate) arrived_ms: i64,
    pub(crate) cancelled: CancellationToken,
    /// How long it waited, once it waits no longer.
    queued: OnceLock<Duration>,
    /// When its time has passed, once it runs.
    ends: OnceLock<Instant>,
    rows: AtomicU64,
    /// What it reads, once it is planned.
    reading: OnceLock<Reading>,
    /// The memory that it may reserve, once it is planned.
    share: OnceLock<Arc<Share>>,
    /// Why it is stopped, where neither its owner nor its time stops it.
    stopped_for: OnceLock<StoppedFor>,
}

/// Why the server stops a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoppedFor {
    /// Nothing else gives memory back.
    Memory,
    /// Its token opens nothing any more.
    Token,
}

/// A query's place among those on their way, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    running: Arc<Running>,
    number: u64,
    pub(crate) entry: Arc<Entry>,
}

/// Who asks what, and under which id.
#[derive(Debug, Clone)]
pub(crate) struct Arrival<'a> {
    pub(crate) owner: &'a Caller,
    /// The client's id for it; empty for one of our own.
    pub(crate) chosen: &'a str,
    pub(crate) protocol: Protocol,
    pub(crate) sql: &'a str,
    pub(crate) now_ms: i64,
}

/// The most queries of one caller's that may be on their way: those that are not yet asked for their
/// rows have no place in the queue.
const MOST_OF_ONE: usize = 512;

/// When whoever has more may come again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long after its time a query may still tell its client that it has passed.
const GONE: Duration = Duration::from_secs(1);

/// The longest id that a client may choose.
const LONGEST_ID: usize = 64;

impl Running {
    /// A place for a query, under the client's id or one of our own.
    pub(crate) fn enter(self: &Arc<Self>, arrival: &Arrival<'_>) -> Result<Place, Status> {
        let chosen = arrival.chosen;
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
        let entry = Arc::new(Entry {
            query_id,
            owner: arrival.owner.clone(),
            protocol: arrival.protocol,
            sql: arrival.sql.to_owned(),
            arrived: Instant::now(),
            arrived_ms: arrival.now_ms,
            cancelled: CancellationToken::new(),
            queued: OnceLock::new(),
            ends: OnceLock::new(),
            rows: AtomicU64::new(0),
            reading: OnceLock::new(),
            share: OnceLock::new(),
            stopped_for: OnceLock::new(),
        });
        let mut queries = self.queries();
        // Ids are each owner's own: another's id is none that one could know of.
        let is_taken = |known: &Arc<Entry>| {
            known.query_id == entry.query_id && known.owner.id == entry.owner.id
        };
        let own = queries.values().filter(|it| it.owner.id == entry.owner.id);
        if own.count() >= MOST_OF_ONE {
            return Err(turned_away(
                "too many queries of yours are on their way",
                AGAIN,
            ));
        }
        if queries.values().any(is_taken) {
            return Err(refused(
                ErrorKind::AlreadyExists,
                format!("a query {} is running", entry.query_id),
            ));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        queries.insert(number, Arc::clone(&entry));
        drop(queries);
        Ok(Place {
            running: Arc::clone(self),
            number,
            entry,
        })
    }

    /// Tells a query to stop; false where none of this id is running that the caller may stop.
    pub(crate) fn cancel(&self, query_id: &str, caller: &Caller) -> bool {
        let queries = self.queries();
        let meant = queries
            .values()
            .filter(|query| query.query_id == query_id && caller.oversees(&query.owner.id));
        meant.map(|query| query.cancelled.cancel()).count() > 0
    }

    /// The queries that the caller may know of, in the order in which they came.
    pub(crate) fn seen_by(&self, caller: &Caller) -> Vec<Arc<Entry>> {
        let queries = self.queries();
        let seen = queries
            .values()
            .filter(|query| caller.oversees(&query.owner.id));
        seen.cloned().collect()
    }

    /// The same, as `system.queries` shows them.
    pub(crate) fn listed(&self, caller: &Caller) -> Vec<RunningQuery> {
        let listed = self.seen_by(caller).into_iter().map(|query| RunningQuery {
            query_id: query.query_id.clone(),
            caller: query.owner.name.clone(),
            sql: query.sql.clone(),
            phase: if query.is_queued() {
                "queued"
            } else {
                "running"
            },
            arrived_ms: query.arrived_ms,
            rows: query.rows(),
        });
        listed.collect()
    }

    /// How many run and wait.
    pub(crate) fn count(&self) -> usize {
        self.queries().len()
    }

    /// The one that has reserved the most memory; none while one that was stopped for it is still letting
    /// go.
    pub(crate) fn largest(&self) -> Option<Arc<Entry>> {
        let queries = self.queries();
        if queries
            .values()
            .any(|query| query.stopped_for() == Some(StoppedFor::Memory))
        {
            return None;
        }
        let running = queries.values().filter(|query| query.reserved() > 0);
        running.max_by_key(|query| query.reserved()).cloned()
    }

    /// Forgets those whose time has passed: they do nothing any more, but a client that does not read keeps
    /// their streams for as long as its connection.
    pub(crate) fn forget(&self) {
        let now = Instant::now();
        let is_over = |it: &Entry| it.ends.get().is_some_and(|end| now > *end + GONE);
        self.queries().retain(|_, query| !is_over(query));
    }

    /// Those whose queries are on their way.
    pub(crate) fn owners(&self) -> BTreeSet<String> {
        let queries = self.queries();
        queries
            .values()
            .map(|query| query.owner.id.clone())
            .collect()
    }

    /// Stops all that a token's owner has on the way.
    pub(crate) fn dismiss(&self, owner: &str) {
        let queries = self.queries();
        let theirs = queries.values().filter(|query| query.owner.id == owner);
        theirs.for_each(|query| query.stop_for(StoppedFor::Token));
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// It waits no longer, and has so much time left.
    pub(crate) fn starts(&self, left: Duration) {
        self.queued.get_or_init(|| self.arrived.elapsed());
        // A time that no clock reaches is refused where it would begin.
        if let Some(end) = Instant::now().checked_add(left) {
            self.ends.get_or_init(|| end);
        }
    }

    /// Whether it waits for others to end.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.get().is_none()
    }

    /// How long it waited.
    pub(crate) fn queued(&self) -> Duration {
        self.queued.get().copied().unwrap_or_default()
    }

    /// So many rows more have been sent; all so far.
    pub(crate) fn sent(&self, rows: usize) -> u64 {
        let rows = rows as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed) + rows
    }

    /// It is planned.
    pub(crate) fn planned(&self, result: &QueryResult) {
        if let Some(reading) = result.reading() {
            self.reading.get_or_init(|| reading.clone());
        }
        if let Some(share) = result.share() {
            self.share.get_or_init(|| Arc::clone(share));
        }
    }

    /// The memory that it has reserved.
    pub(crate) fn reserved(&self) -> usize {
        self.share.get().map_or(0, |share| share.held())
    }

    /// Stops it, and lets its client know why.
    pub(crate) fn stop_for(&self, why: StoppedFor) {
        self.stopped_for.get_or_init(|| why);
        self.cancelled.cancel();
    }

    pub(crate) fn stopped_for(&self) -> Option<StoppedFor> {
        self.stopped_for.get().copied()
    }

    /// What has been read so far.
    pub(crate) fn read(&self) -> Read {
        self.reading.get().map(Reading::read).unwrap_or_default()
    }

    /// The rows that have been sent.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.queries().remove(&self.number);
    }
}
