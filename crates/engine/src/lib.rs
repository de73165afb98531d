//! One DataFusion session over the store and the functions.
//!
//! [`Engine::query`] takes the text of one SELECT statement: it is checked against limits before
//! anything is planned, planned over one snapshot of each table that it names, and run on threads
//! of its own under a memory limit and a deadline. Its rows come as plain Arrow types, and
//! [`IpcEncoder`] cuts them into messages for the wire.

mod asof;
mod bounded;
mod checked_sum;
mod conform;
mod encode;
mod engine;
mod error;
mod exchange;
mod functions;
mod guard;
mod limits;
mod objects;
mod operators;
mod options;
mod parameters;
mod planner;
mod qualify;
mod query;
mod relations;
mod session;
mod system;
mod views;
mod yielding;

pub use encode::IpcEncoder;
pub use engine::{Clock, Engine};
pub use error::{Error, ErrorKind, Result};
pub use functions::{FunctionDoc, functions};
pub use limits::Limits;
pub use parameters::{Parameters, Value};
pub use query::{QueryRequest, QueryResult};
pub use views::DescribedView;
