//! `didymium serve`: a store over gRPC.

use std::convert::Infallible;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use didymium_engine::{Engine, Limits};
use didymium_server::Server;
use didymium_store::{Store, Upkeep};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{LimitArgs, ServeArgs, UpkeepArgs};
use crate::failure::Failure;

/// How old a file must be that no commit names before it is deleted: no load takes so long.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Whether this process is a server, which handles Ctrl-C itself.
static RUNNING: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// Serves until SIGTERM or Ctrl-C, then lets running queries end.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    RUNNING.store(true, Ordering::Relaxed);
    refuse_open_address(&args.listen)?;
    let store = Arc::new(Store::open(args.store.clone()).await?);
    let engine = Engine::new(Arc::clone(&store), limits(&args.limits), crate::now_ms)?;
    let engine = Arc::new(engine);
    let server = Server::bind(&args.listen, engine)
        .await
        .map_err(listen_failure)?;
    let address = server.address().map_err(listen_failure)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    #[expect(clippy::print_stdout, reason = "the line that says where to connect")]
    {
        println!("listening on grpc://{address}");
    }
    // A round that is broken off is one that a kill breaks off: it happened, or it did not.
    tokio::select! {
        served = server.run(shutdown) => served.map_err(listen_failure),
        never = look_after(&store, &args.upkeep) => match never {},
    }
}

/// Rounds of upkeep, for as long as it is polled.
async fn look_after(store: &Store, args: &UpkeepArgs) -> Infallible {
    let upkeep = Upkeep {
        loose_files: args.compact_files,
        grace: GRACE,
        history: args.history_retention,
    };
    loop {
        match args.upkeep_interval {
            Duration::ZERO => std::future::pending().await,
            interval => tokio::time::sleep(interval).await,
        }
        if let Err(error) = store.look_after(&upkeep, crate::now_ms()).await {
            tracing::warn!(%error, "upkeep");
        }
    }
}

/// There is no authentication yet, so only this machine may connect.
fn refuse_open_address(listen: &str) -> Result<(), Failure> {
    let addresses = listen
        .to_socket_addrs()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => Failure::usage(format!(
                "{listen}: an address is HOST:PORT, such as 127.0.0.1:50051"
            )),
            _ => Failure::own(format!("can't listen on {listen}: {error}")),
        })?;
    match addresses
        .into_iter()
        .find(|address| !address.ip().is_loopback())
    {
        None => Ok(()),
        Some(address) => Err(Failure::own(format!(
            "{address} can be reached from other machines, and there is no authentication: listen on 127.0.0.1 and reach it through a tunnel"
        ))),
    }
}

fn limits(args: &LimitArgs) -> Limits {
    let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    Limits {
        memory_bytes: bytes(args.memory),
        timeout: args.query_timeout,
        load_bytes: bytes(args.load_memory),
        ..Limits::default()
    }
}

fn listen_failure(error: didymium_server::ServerError) -> Failure {
    Failure::own(error.to_string())
}
