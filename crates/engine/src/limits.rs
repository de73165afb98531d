//! Every limit on a query, by name.

use std::time::Duration;

/// What a query may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all queries' sorts, joins and aggregates together.
    pub memory_bytes: usize,
    /// Bytes of one of them.
    pub query_memory_bytes: usize,
    /// Bytes of the files that they spill to.
    pub spill_bytes: u64,
    /// Time of one query, from its arrival to its last row.
    pub timeout: Duration,
    /// Threads that run queries.
    pub threads: usize,
    /// Whether they give way to all others of the machine.
    pub in_background: bool,
    /// Rows of a batch inside the engine.
    pub batch_rows: usize,
    /// Time for which a client may leave the rows of its query unread.
    pub idle: Duration,
    /// Bytes of the files of all loads that a server takes at once.
    pub load_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1024 * 1024 * 1024,
            query_memory_bytes: 512 * 1024 * 1024,
            spill_bytes: 4 * 1024 * 1024 * 1024,
            timeout: Duration::from_secs(300),
            idle: Duration::from_secs(60),
            in_background: false,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            batch_rows: 8192,
            load_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// Bytes of a statement's text.
pub const SQL_BYTES: usize = 256 * 1024;

/// Operators that follow one another without a comma or parenthesis between them. Planning takes
/// a stack frame for each, and time that grows with their square.
pub(crate) const CHAINED_OPERATORS: usize = 1024;

/// Operators around any one place of a statement, all levels of parentheses together.
pub(crate) const NESTED_OPERATORS: usize = 4096;

/// UNION, INTERSECT and EXCEPT of one statement.
pub(crate) const SET_OPERATORS: usize = 128;

/// Items of one IN list.
pub(crate) const IN_LIST_ITEMS: usize = 4096;

/// Levels of parentheses and subqueries.
pub(crate) const NESTING: usize = 50;

/// Tables and table functions that one query reads, common tables counted wherever they are named.
pub(crate) const RELATIONS: usize = 128;

/// Tables and table functions in a statement's plan, those of its views and relations counted.
pub(crate) const PLANNED_RELATIONS: usize = 1024;

/// Views that read one another.
pub(crate) const VIEW_LEVELS: usize = 8;

/// Columns of a CUBE, which makes 2 to their number groupings.
pub(crate) const CUBE_COLUMNS: usize = 8;

/// Expressions of one SELECT list.
pub(crate) const SELECTED_COLUMNS: usize = 1024;

/// Stack of a thread that plans and runs queries: enough for all of the above at once. Only what is
/// used of it takes memory.
pub(crate) const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of one value that a function makes.
pub(crate) const VALUE_BYTES: u64 = 1024 * 1024;

/// Bytes of one value that a function makes of constants alone: it stands in every row of a batch.
pub(crate) const CONSTANT_BYTES: u64 = 256 * 1024;

/// Bytes of all constants that functions make for one statement, whose plan holds each several times.
pub(crate) const CONSTANTS_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of all values that functions make for one batch.
pub(crate) const FUNCTION_BATCH_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of a text that a subquery gives for a value: it may stand in each row of a batch.
pub(crate) const SUBQUERY_BYTES: usize = 32 * 1024;

/// Bytes of a delimiter, which stands between all values that are joined.
pub(crate) const DELIMITER_BYTES: usize = 1024;

/// Bytes of the values of one list over a window: as many as there may be in each row of a batch.
pub(crate) const WINDOW_LIST_BYTES: usize = 32 * 1024;

/// Centroids of an approximate percentile, for which memory is taken at once.
pub(crate) const CENTROIDS: i64 = 10_000;
