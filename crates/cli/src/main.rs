//! The `didymium` command: makes a store, fills it, serves it, asks it.

mod args;
mod builtin;
mod config;
mod failure;
mod functions;
mod health;
mod init;
mod job;
mod load;
mod moment;
mod output;
mod role_caps;
mod rows;
mod serve;
mod serve_jobs;
mod sql;
mod store;
mod table;
mod tables;
mod target;
mod telemetry;
mod token;
mod view;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use args::Command;
use failure::Failure;
use telemetry::Telemetry;

/// Gives memory back that a query has freed: the system's own keeps it, and the ceiling would count it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether the command is done, and what still runs for it is broken off.
static ENDING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let done = config::parse().and_then(|args| run(args.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.code != 0 {
                eprintln!("error: {}", failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::own(format!("can't start threads: {error}")))?;
    let (result, telemetry) = runtime.block_on(async {
        let telemetry = Telemetry::start(&command)?;
        let result = tokio::select! {
            result = dispatch(command) => result,
            () = interrupted() => Err(Failure::interrupted()),
        };
        Ok::<_, Failure>((result, telemetry))
    })?;
    telemetry.end();
    ENDING.store(true, Ordering::Relaxed);
    // A query that does not yield must not hold the exit up.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Serve(args) => Box::pin(serve::run(*args)).await,
        Command::Health(args) => health::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        Command::Tables(args) => tables::list(args).await,
        Command::Functions(args) => functions::run(&args),
        Command::Table(command) => table::run(command).await,
        Command::View(command) => view::run(command).await,
        Command::Store(command) => store::run(command).await,
        Command::Token(command) => token::run(command).await,
        Command::Job(command) => job::run(command).await,
        Command::Describe(args) => tables::describe(args).await,
    }
}

/// Ready at Ctrl-C, except in a server, which ends by itself then.
async fn interrupted() {
    if serve::is_running() || tokio::signal::ctrl_c().await.is_err() || serve::is_running() {
        std::future::pending::<()>().await;
    }
}

/// Milliseconds since 1970: the one place that reads the clock.
fn now_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "everything else is told the time"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
