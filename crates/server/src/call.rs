//! One query's way through the server, whichever protocol it came by.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use didymium_engine::{
    Description, Error, ErrorKind, Known, ListedJob, QueryRequest, QueryResult, Read, RunningQuery,
    RunsOf, SQL_BYTES, TRACE, Warning,
};
use tonic::{Code, Status};
use tracing::{Instrument, Span};

use crate::caller::Caller;
use crate::desk::Desk;
use crate::metrics::{Protocol, QueryEnd};
use crate::request::invalid;
use crate::running::{Arrival, Entry, Place, StoppedFor};
use crate::slots::Slot;
use crate::status::{overloaded, status, turned_away, unauthenticated};

/// When a client who found the queue full may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// A query that has arrived.
pub(crate) struct Call {
    desk: Arc<Desk>,
    place: Place,
    request: QueryRequest,
    span: Span,
}

/// A query that is planned and gives its rows.
pub(crate) struct Answer {
    desk: Arc<Desk>,
    place: Place,
    result: QueryResult,
    /// Bytes of the rows that have been given, where they are limited.
    bytes: u64,
    /// How it ended, if it did before its client had gone.
    ended: OnceLock<Code>,
    /// Its part of its caller's trace.
    span: Span,
}

impl Desk {
    /// Notes a query's arrival. Its caller's rights go with it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT or ALREADY_EXISTS for an id that can't be had.
    pub(crate) fn call(
        self: &Arc<Self>,
        caller: &Caller,
        protocol: Protocol,
        chosen: &str,
        mut request: QueryRequest,
    ) -> Result<Call, Status> {
        if request.sql.len() > SQL_BYTES {
            return Err(invalid(format!(
                "the statement has {} bytes, {SQL_BYTES} are allowed: load long lists as a table",
                request.sql.len()
            )));
        }
        let arrival = Arrival {
            owner: caller,
            chosen,
            protocol,
            sql: &request.sql,
            now_ms: self.engine.now_ms(),
        };
        let place = self.running.enter(&arrival)?;
        // Where nothing runs, waiting frees nothing.
        if self.memory.is_short() && self.running.count() > 1 {
            return Err(turned_away("the server is short of memory", COME_AGAIN));
        }
        caller.lend_rights(&mut request);
        request.known = Some(Arc::new(Seen {
            desk: Arc::clone(self),
            caller: caller.clone(),
        }));
        self.caps(caller.role).hold(&mut request);
        let query_id = &place.entry.query_id;
        let span = tracing::info_span!(
            target: TRACE,
            "query",
            db.system.name = "didymium",
            db.query.id = query_id,
            db.response.returned_rows = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        tracing::info!(
            query_id,
            caller = caller.name,
            bytes = request.sql.len(),
            "query"
        );
        Ok(Call {
            desk: Arc::clone(self),
            place,
            request,
            span,
        })
    }
}

impl Caller {
    /// Asks in the caller's name.
    fn lend_rights(&self, request: &mut QueryRequest) {
        request.grants = self.grants.clone();
        request.may_write = self.role >= crate::Role::Write;
        request.author.clone_from(&self.name);
        request.runs_of = match self.role {
            crate::Role::Admin => RunsOf::Everybody,
            _ => RunsOf::Owner(self.id.clone()),
        };
    }
}

impl Call {
    /// The query among those on their way.
    pub(crate) fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.place.entry)
    }

    /// Waits for the query's turn, plans and starts it.
    ///
    /// # Errors
    /// Whatever fails, with the query's id.
    pub(crate) async fn start(self) -> Result<Answer, Status> {
        let Self {
            desk,
            place,
            mut request,
            span,
        } = self;
        let work = Box::pin(async {
            let slot = turn(&desk, &place.entry, &mut request).await?;
            Ok(desk.engine.query_holding(request, slot).await?)
        })
        .instrument(span.clone());
        let result = unless_stopped(&desk, &place, work).await?;
        place.entry.planned(&result);
        Ok(Answer {
            desk,
            place,
            result,
            bytes: 0,
            ended: OnceLock::new(),
            span,
        })
    }

    /// Waits for the query's turn and plans it only.
    ///
    /// # Errors
    /// Whatever fails, with the query's id.
    pub(crate) async fn describe(self) -> Result<Described, Status> {
        let Self {
            desk,
            place,
            mut request,
            span,
        } = self;
        let work = Box::pin(async {
            let slot = turn(&desk, &place.entry, &mut request).await?;
            Ok(desk.engine.describe(request, slot).await?)
        })
        .instrument(span);
        let description = unless_stopped(&desk, &place, work).await?;
        let grants = &place.entry.owner.grants;
        let mut seen = description.versions.clone();
        seen.retain(|name, _| grants.allows(name));
        Ok(Described {
            query_id: place.entry.query_id.clone(),
            seen,
            description,
        })
    }
}

/// Waits for the query's turn. The time that is left is the query's own; waiting has taken its part.
async fn turn(desk: &Desk, entry: &Entry, request: &mut QueryRequest) -> Result<Slot, Turned> {
    let limit = desk.engine.limits().timeout;
    let limit = request.timeout.map_or(limit, |asked| asked.min(limit));
    let turn = desk.slots.enter(&entry.owner.id);
    let slot = match tokio::time::timeout(limit, turn).await {
        Ok(Ok(slot)) => slot,
        Ok(Err(_)) => return Err(Turned::Away),
        Err(_) => {
            return Err(Turned::Failed(Error::new(
                ErrorKind::Deadline,
                format!("the query waited {limit:?} for others to end: allow more time"),
            )));
        }
    };
    let left = limit.saturating_sub(entry.arrived.elapsed());
    entry.starts(left);
    request.timeout = Some(left);
    Ok(slot)
}

/// What a caller sees of the server.
struct Seen {
    desk: Arc<Desk>,
    caller: Caller,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seen").field(&self.caller).finish()
    }
}

#[async_trait]
impl Known for Seen {
    fn queries(&self) -> Vec<RunningQuery> {
        self.desk.running.listed(&self.caller)
    }

    async fn jobs(&self) -> Result<Vec<ListedJob>, Error> {
        let listed = self
            .desk
            .jobs
            .listed(|job| self.caller.oversees(&job.owner));
        let listed = listed.await;
        listed.map_err(|error| Error::new(error.kind(), error.to_string()))
    }
}

/// A statement's description, and the id that its run is to have.
pub(crate) struct Described {
    pub(crate) query_id: String,
    pub(crate) description: Description,
    /// The versions of the tables that the caller sees.
    pub(crate) seen: BTreeMap<String, u64>,
}

/// Why a query has not run.
enum Turned {
    /// The queue is full.
    Away,
    Failed(Error),
}

impl From<Error> for Turned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The work's outcome, unless the query is cancelled or the server stops. What fails here has no answer
/// whose end could be noted.
async fn unless_stopped<T>(
    desk: &Desk,
    place: &Place,
    work: impl Future<Output = Result<T, Turned>>,
) -> Result<T, Status> {
    let entry = &place.entry;
    let query_id = &entry.query_id;
    let done = tokio::select! {
        biased;
        stopped = stopped(desk, place) => Err(stopped),
        done = work => done.map_err(|turned| match turned {
            Turned::Failed(error) => status(&error, query_id),
            Turned::Away => overloaded(query_id, COME_AGAIN),
        }),
    };
    done.inspect_err(|status| note_end(desk, entry, status.code()))
}

/// One line and one count for every query.
fn note_end(desk: &Desk, entry: &Entry, code: Code) {
    let (rows, read, elapsed) = (entry.rows(), entry.read(), entry.arrived.elapsed());
    let end = QueryEnd {
        elapsed,
        rows,
        read_bytes: read.bytes,
    };
    desk.metrics.query_ended(entry.protocol, code, &end);
    tracing::info!(
        query_id = entry.query_id,
        caller = entry.owner.name,
        ?code,
        rows,
        bytes_read = read.bytes,
        ?elapsed,
        "query done"
    );
}

/// Ready when the query must end before its time, with what its client is told.
async fn stopped(desk: &Desk, place: &Place) -> Status {
    let query_id = &place.entry.query_id;
    let error = tokio::select! {
        () = place.entry.cancelled.cancelled() => match place.entry.stopped_for() {
            None => Error::new(ErrorKind::Cancelled, format!("query {query_id} was cancelled")),
            Some(StoppedFor::Token) => {
                return unauthenticated(format!(
                    "query {query_id} was stopped: its token was revoked, or its time has passed"
                ));
            }
            Some(StoppedFor::Memory) => Error::new(
                ErrorKind::OverLimit,
                format!(
                    "query {query_id} was stopped: the server had no more memory, and it took the most; ask for less at once"
                ),
            ),
        },
        () = desk.stop.cancelled() => Error::new(
            ErrorKind::Unavailable,
            format!("the server is shutting down; query {query_id} was stopped"),
        ),
    };
    status(&error, query_id)
}

impl Answer {
    pub(crate) fn query_id(&self) -> &str {
        &self.place.entry.query_id
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.result.schema()
    }

    /// The version of each table that is read, of those that the caller sees: ranks and rates are read
    /// for everybody.
    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        let grants = &self.place.entry.owner.grants;
        let versions = self.result.versions().iter();
        let seen = versions.filter(|(name, _)| grants.allows(name));
        seen.map(|(name, version)| (name.clone(), *version))
            .collect()
    }

    /// What its author may not have meant.
    pub(crate) fn warnings(&self) -> &[Warning] {
        self.result.warnings()
    }

    /// What has been read so far.
    pub(crate) fn read(&self) -> Read {
        self.place.entry.read()
    }

    /// How long it waited, and how long planning took.
    pub(crate) fn beginning(&self) -> (Duration, Duration) {
        (self.place.entry.queued(), self.result.planning())
    }

    /// The rows that have been given, and the time since the query arrived.
    pub(crate) fn so_far(&self) -> (u64, Duration) {
        (self.place.entry.rows(), self.place.entry.arrived.elapsed())
    }

    /// The next rows; `None` after the last ones.
    ///
    /// # Errors
    /// Whatever fails, with the query's id. A stream that merely ended would look complete.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        let next = tokio::select! {
            biased;
            stopped = stopped(&self.desk, &self.place) => {
                self.ended.get_or_init(|| stopped.code());
                return Err(stopped);
            }
            next = self.result.next() => next,
        };
        let entry = &self.place.entry;
        match next {
            None => {
                self.ended.get_or_init(|| Code::Ok);
                Ok(None)
            }
            Some(Ok(rows)) => {
                let all_rows = entry.sent(rows.num_rows());
                let role = entry.owner.role;
                let caps = self.desk.caps(role);
                let allowed = caps.spend(role, &rows, all_rows, &mut self.bytes);
                match allowed {
                    Ok(()) => Ok(Some(rows)),
                    Err(error) => Err(self.failed(&error)),
                }
            }
            Some(Err(error)) => Err(self.failed(&error)),
        }
    }

    /// A failure of this query, as its client is told.
    pub(crate) fn failed(&self, error: &Error) -> Status {
        let status = status(error, self.query_id());
        self.ended.get_or_init(|| status.code());
        status
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let code = self.ended.get().copied().unwrap_or(Code::Cancelled);
        let entry = &self.place.entry;
        self.span.record("db.response.returned_rows", entry.rows());
        if code != Code::Ok {
            self.span.record("error.type", code.description());
        }
        note_end(&self.desk, entry, code);
    }
}

/// How long a unary call may take so that it can still be told that its time has passed: the transport
/// would call it a cancellation.
const TELLING: Duration = Duration::from_millis(20);

/// A unary call's outcome within its own deadline.
///
/// # Errors
/// DEADLINE_EXCEEDED, with what else the caller should know.
pub(crate) async fn within<T>(
    deadline: Option<Duration>,
    call: impl Future<Output = Result<T, Status>>,
    hint: &str,
) -> Result<T, Status> {
    let Some(time) = deadline else {
        return call.await;
    };
    let arrived = Instant::now();
    match tokio::time::timeout(time.saturating_sub(TELLING), call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(crate::status::refused(
            ErrorKind::Deadline,
            format!(
                "it took longer than {:?}{hint}",
                arrived.elapsed().max(time)
            ),
        )),
    }
}
