//! `didymium serve`: a store over gRPC.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use didymium_engine::{Engine, Limits};
use didymium_server::{Access, Server, Settings, TlsFiles};
use didymium_store::{Store, Upkeep};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Auth, LimitArgs, ServeArgs, UpkeepArgs};
use crate::config;
use crate::failure::Failure;
use crate::serve_jobs::Jobs;

/// How old a file must be that no commit names before it is deleted: no load takes so long.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Whether this process is a server, which handles Ctrl-C itself.
static RUNNING: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// SIGTERM and Ctrl-C as they come.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until SIGTERM or Ctrl-C, then lets running queries end; a second signal ends them.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    config::environment::warn_of_unknown();
    if args.config.print_config {
        return config::print::print(&args.config.settings);
    }
    if args.config.check_config {
        return check(&args).await.map_err(Failure::of_configuration);
    }
    RUNNING.store(true, Ordering::Relaxed);
    let settings = settings(&args)?;
    let store = Arc::new(Store::open(args.store.clone()).await?);
    let engine = Engine::new(Arc::clone(&store), limits(&args.limits), crate::now_ms)?;
    let engine = Arc::new(engine);
    let scheme = settings.tls.as_ref().map_or("grpc", |_| "grpcs");
    let server = Server::bind(&args.listen, engine, settings);
    let server = server.await.map_err(listen_failure)?;
    let jobs = Jobs::of(&args, &store).await?;
    let server = server.running_jobs(jobs.engine, jobs.settings, jobs.declared);
    let address = server.address().map_err(listen_failure)?;
    let (mut once, mut twice) = (Signals::new()?, Signals::new()?);
    let shutdown = async move { once.next().await };
    let forced = async {
        twice.next().await;
        twice.next().await;
    };
    #[expect(clippy::print_stdout, reason = "the line that says where to connect")]
    {
        println!("listening on {scheme}://{address}");
    }
    // A round that is broken off is one that a kill breaks off: it happened, or it did not.
    tokio::select! {
        served = server.run(shutdown) => served.map_err(listen_failure),
        // What a kill breaks off as well.
        () = forced => Ok(()),
        never = look_after(&store, &args.upkeep) => match never {},
    }
}

/// Everything that can stop a server from starting, short of taking its address.
async fn check(args: &ServeArgs) -> Result<(), Failure> {
    if let Some(tls) = settings(args)?.tls {
        tls.check()
            .map_err(|error| Failure::own(format!("TLS: {error}")))?;
    }
    let store = Arc::new(Store::open(args.store.clone()).await?);
    Jobs::of(args, &store).await?;
    Engine::new(store, limits(&args.limits), crate::now_ms)?;
    Ok(())
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

/// Who may come in. A server that others can reach asks who calls, and speaks so that nobody listens.
fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let open = address_of_others(&args.listen)?;
    let access = &args.access;
    let tls = access.tls_cert.clone().zip(access.tls_key.clone());
    if let Some(address) = open {
        let refused = |what: &str| {
            let told = format!("{address} can be reached from other machines: {what}");
            Err(Failure::own(told).of_configuration())
        };
        if access.auth == Some(Auth::None) {
            return refused("callers must show a token there (--auth token)");
        }
        if tls.is_none() && !access.plaintext {
            return refused(
                "give the server a certificate (--tls-cert, --tls-key), or say --plaintext where a proxy speaks TLS",
            );
        }
    }
    let is_guarded = match access.auth {
        Some(auth) => auth == Auth::Token,
        None => open.is_some(),
    };
    Ok(Settings {
        access: if is_guarded {
            Access::Tokens
        } else {
            Access::Open
        },
        running: args.limits.max_running,
        waiting: args.limits.max_waiting,
        connections: args.limits.max_connections,
        refused_per_minute: args.access.max_refused,
        memory_ceiling: args.limits.memory_ceiling.map(|size| size.as_u64()),
        role_caps: args
            .limits
            .role_limits
            .as_ref()
            .map(|text| text.0.clone())
            .unwrap_or_default(),
        tls: tls.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_authorities: access.tls_client_ca.clone(),
        }),
    })
}

/// The first of the addresses that can be reached from other machines.
fn address_of_others(listen: &str) -> Result<Option<SocketAddr>, Failure> {
    let mut addresses = listen
        .to_socket_addrs()
        // Names may be found later.
        .map_err(|error| Failure::own(format!("can't listen on {listen}: {error}")))?;
    Ok(addresses.find(|address| !address.ip().is_loopback()))
}

pub(crate) fn limits(args: &LimitArgs) -> Limits {
    let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    Limits {
        memory_bytes: bytes(args.memory),
        query_memory_bytes: args.query_memory.map_or(bytes(args.memory) / 2, bytes),
        timeout: args.query_timeout,
        idle: args.idle_timeout,
        load_bytes: bytes(args.load_memory),
        ..Limits::default()
    }
}

fn listen_failure(error: didymium_server::ServerError) -> Failure {
    Failure::own(error.to_string())
}
