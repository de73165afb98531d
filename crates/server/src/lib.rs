//! The server: requests of every protocol become engine calls, engine errors become statuses.

mod admin;
mod call;
mod caller;
mod caps;
mod catalog;
mod connections;
mod desk;
mod door;
mod failures;
mod flight;
mod http_api;
mod ingest;
mod jobs;
mod loads;
mod memory;
mod metrics;
mod note;
mod owners;
mod query;
mod request;
mod rules;
mod running;
mod seal;
mod serve;
mod session_options;
mod slots;
mod status;
mod tls;
mod tokens;
mod typed_rows;

pub use caller::Role;
pub use caps::{Caps, RoleCaps};
pub use jobs::{job_definition_of_proto, job_definition_to_proto};
pub use serve::{Access, JOB_HISTORY, JOB_LEASE, Server, ServerError, Settings};
pub use tls::{TlsError, TlsFiles};
pub use tokens::{NewToken, TokenError, TokenRecord, Tokens};
