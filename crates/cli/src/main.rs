//! The `didymium` command: makes a store, fills it, serves it, asks it.

mod args;
mod builtin;
mod config;
mod failure;
mod functions;
mod health;
mod init;
mod load;
mod output;
mod rows;
mod serve;
mod sql;
mod store;
mod table;
mod tables;
mod target;
mod token;
mod view;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use args::Command;
use failure::Failure;

/// Gives memory back that a query has freed: the system's own keeps it, and the ceiling would count it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether the command is done, and what still runs for it is broken off.
static ENDING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let done = config::parse().and_then(|args| {
        log_to_stderr(&args.command);
        run(args.command)
    });
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
    let result = runtime.block_on(async {
        tokio::select! {
            result = dispatch(command) => result,
            () = interrupted() => Err(Failure::interrupted()),
        }
    });
    ENDING.store(true, Ordering::Relaxed);
    // A query that does not yield must not hold the exit up.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        Command::Tables(args) => tables::list(args).await,
        Command::Functions(args) => functions::run(&args),
        Command::Table(command) => table::run(command).await,
        Command::View(command) => view::run(command).await,
        Command::Store(command) => store::run(command).await,
        Command::Token(command) => token::run(command).await,
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

/// Text for people, JSON where another program reads. A server tells what it does; other commands
/// only what went wrong.
fn log_to_stderr(command: &Command) {
    use std::io::IsTerminal;
    let default = if matches!(command, Command::Serve(_)) {
        "warn,didymium=info"
    } else {
        "error"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("DIDYMIUM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    // A panic ends one query; the log has it, and the terminal stays readable.
    std::panic::set_hook(Box::new(|panic| match ENDING.load(Ordering::Relaxed) {
        false => tracing::error!(%panic, "panicked"),
        // Delta's reader panics where the runtime ends while it waits for it.
        true => tracing::debug!(%panic, "broken off at the end"),
    }));
}
