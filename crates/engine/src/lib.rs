//! One DataFusion session over the store and the functions.
//!
//! [`Engine::query`] takes the text of one SELECT statement: it is checked against limits before
//! anything is planned, planned over one snapshot of each table that it names, and run on threads
//! of its own under a memory limit and a deadline. Its rows come as plain Arrow types, and
//! [`IpcEncoder`] cuts them into messages for the wire.

mod asof;
mod bounded;
mod catalog;
mod checked_sum;
mod command;
mod conform;
mod describe;
mod encode;
mod engine;
mod error;
mod exchange;
mod format;
mod functions;
mod given;
mod grants;
mod guard;
mod job_tables;
mod known;
mod limits;
mod objects;
mod operators;
mod optional;
mod options;
mod parameters;
mod passage;
mod planner;
mod portions;
mod qualify;
mod query;
mod reading;
mod relations;
mod session;
mod share;
mod sizes;
mod system;
mod views;
mod warnings;
mod whole_numbers;
mod window_lists;
mod yielding;

pub use catalog::{CATALOG_NAME, CatalogTable, SCHEMA_NAMES};
pub use describe::Description;
pub(crate) use encode::pieces;
pub use encode::{IpcEncoder, MESSAGE_BYTES, bytes_of};
pub use engine::{Clock, Engine};
pub use error::{Error, ErrorKind, Result};
pub use format::{Format, FormatEncoder};
pub use functions::{FunctionDoc, functions};
pub use given::Given;
pub use grants::Grants;
pub use job_tables::{ListedJob, RunsOf};
pub use known::Known;
pub use limits::{Limits, SQL_BYTES};
pub use parameters::{Parameters, Value};
pub use query::{QueryRequest, QueryResult};
pub use reading::{Read, Reading};
pub use session::TRACE;
pub use share::Share;
pub use system::RunningQuery;
pub use views::DescribedView;
pub use warnings::Warning;
