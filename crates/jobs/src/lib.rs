//! Scheduled queries: when they are due, that each lands exactly once, and what they were made of.
//!
//! A [`Definition`] says what a job is, [`Jobs`] keeps definitions in the store, and a [`Run`] is a row of the
//! history, a table of the store. The [`Scheduler`] of one server per store, the one that holds the lease, runs
//! what is due on an engine of its own. A run is named by its job and its logical time; the commit of its rows
//! carries that name, so that it can't land twice, whoever runs it and whenever it was killed.
//!
//! No gRPC here, and no clock of its own: the engine's is the only one.

mod claim;
mod declared;
mod definition;
mod digest;
mod due;
mod error;
mod executor;
mod jobs;
mod landing;
mod lease;
pub mod logical_time;
mod new_table;
mod overview;
mod path_template;
mod replay;
mod result;
mod run;
mod runs;
mod schedule;
mod scheduler;
mod settle;
mod webhook;

pub use declared::Declared;
pub use definition::{
    CatchUp, Check, Definition, Event, Knowledge, Mode, Notify, Overlap, ParameterValue, Policy,
    Target,
};
pub use error::{Error, Result};
pub use executor::Owners;
pub use jobs::{Job, Jobs, Owner};
pub use overview::{JobState, JobStatus, Overview};
pub use path_template::PathTemplate;
pub use replay::Replayed;
pub use run::{Run, RunKind, RunStatus};
pub use schedule::{Cron, Due, Every, Release, Schedule};
pub use scheduler::{Figures, Scheduler, Settings};
pub use webhook::Webhooks;
