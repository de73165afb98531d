//! The tests that need more than one crate: real stores, a real server, a real client.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what it did not expect"
)]

mod algebra;
mod catalog;
mod corpus;
mod data;
mod docs;
mod embargo;
mod figures;
mod flight;
mod ingest;
mod jobs;
mod parts;
mod plan;
mod server;
mod service;
mod sql;
mod store;
mod tidy;
mod upkeep;
mod views;
mod wire;
