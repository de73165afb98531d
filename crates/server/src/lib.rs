//! The gRPC server: requests become engine calls, engine errors become statuses.

mod catalog;
mod ingest;
mod query;
mod request;
mod running;
mod serve;
mod status;
mod typed_rows;

pub use serve::{Server, ServerError};
