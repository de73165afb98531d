//! The gRPC server: requests become engine calls, engine errors become statuses.

mod query;
mod request;
mod serve;
mod status;

pub use serve::{Server, ServerError};
