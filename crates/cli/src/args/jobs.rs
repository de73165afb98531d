//! What is typed about jobs: `didymium job`, and how `serve` runs them.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Subcommand;
use didymium_model::Day;
use didymium_store::Location;

use super::{OutputArgs, ServerArgs, at_least_one, day};
use crate::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Make jobs as TOML files define them
    Create {
        /// The definitions, one in each file
        #[arg(required = true, value_name = "FILE.toml")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give jobs other definitions; their owners and runs stay
    Update {
        /// The whole definitions, one in each file
        #[arg(required = true, value_name = "FILE.toml")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a job; what its runs have written stays
    Delete {
        /// The job
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the jobs
    List {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a job's definition, as a TOML file has it, and how it fares
    Show {
        /// The job
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a job rest until it is resumed
    Pause {
        /// The job
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a job go on that rests or was suspended
    Resume {
        /// The job
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Run a job and wait for it; 1 if the run fails
    Run {
        /// The job
        name: String,
        /// The time that the run stands for [default: now]
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        at: Option<i64>,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Run a job for every time of a span at which it was due, and wait; 1 if a run fails
    Backfill {
        /// The job
        name: String,
        /// The first day, in the zone of the job's schedule
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
        from: Day,
        /// The last day, itself included
        #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
        to: Day,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// List the runs, newest first
    Runs {
        /// The job [default: all]
        name: Option<String>,
        /// The most runs
        #[arg(long, value_name = "RUNS", default_value_t = 20, value_parser = at_least_one)]
        limit: usize,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Stop a run that is under way
    Cancel {
        /// The job
        name: String,
        /// The time that the run stands for
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        at: i64,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Run a run's query again over what it read, and compare; 1 if it gives something else
    Replay {
        /// The job
        name: String,
        /// The time that the run stands for, as `job runs` shows it
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        at: i64,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show when a job, or a schedule that is none's yet, is due next
    Preview {
        /// The job
        #[arg(required_unless_present = "cron", conflicts_with = "cron")]
        name: Option<String>,
        /// Minute, hour, day of the month, month, day of the week
        #[arg(long, value_name = "EXPR")]
        cron: Option<String>,
        /// The zone of the expression, such as Asia/Shanghai [default: UTC]
        #[arg(long, requires = "cron")]
        zone: Option<String>,
        /// How many times
        #[arg(long, value_name = "TIMES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// How scheduled queries run.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Jobs")]
pub(crate) struct JobArgs {
    /// Jobs that run at once; with 0 this server runs none that are due
    #[arg(long, value_name = "JOBS", default_value_t = 2)]
    pub(crate) job_slots: usize,
    /// Memory of their sorts, joins and aggregates together, beside that of queries
    /// [default: a quarter of --memory]
    #[arg(long, value_name = "SIZE")]
    pub(crate) job_memory: Option<ByteSize>,
    /// After how long without a sign of life of the server that runs jobs another one does
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = lease)]
    pub(crate) job_lease: Duration,
    /// How long the history of runs is kept
    #[arg(long, value_name = "TIME", default_value = "90days", value_parser = humantime::parse_duration)]
    pub(crate) job_history: Duration,
    /// A folder of TOML files, each of which declares a job [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) job_files: Option<PathBuf>,
    /// Where runs that write files write them [default: _didymium/exports in the store]
    #[arg(long, value_name = "DIR|s3://…")]
    pub(crate) exports: Option<Location>,
    /// The addresses below which jobs may tell of their runs, by commas [default: none]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        requires = "webhook_key"
    )]
    pub(crate) webhook_allow: Vec<String>,
    /// The file of the key that signs what they tell
    #[arg(long, value_name = "FILE", requires = "webhook_allow")]
    pub(crate) webhook_key: Option<PathBuf>,
}

/// Shorter ones would change hands while a disk is slow.
fn lease(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match lease >= SHORTEST {
        true => Ok(lease),
        false => Err("it must be at least 1s".to_owned()),
    }
}
