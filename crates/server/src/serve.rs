//! A listening server, from its socket to its last query.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use didymium_api::v1::admin_service_server::AdminServiceServer;
use didymium_api::v1::catalog_service_server::CatalogServiceServer;
use didymium_api::v1::ingest_service_server::IngestServiceServer;
use didymium_api::v1::job_service_server::JobServiceServer;
use didymium_api::v1::query_service_server::QueryServiceServer;
use didymium_api::{DESCRIPTOR_SET, FLIGHT_DESCRIPTOR_SET};
use didymium_engine::{Engine, Error, ErrorKind};
use didymium_jobs::{Declared, Scheduler, Webhooks};
use didymium_store::{Exports, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server as Transport;
use tonic_health::server::HealthReporter;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin::Admin;
use crate::caps::RoleCaps;
use crate::catalog::Catalog;
use crate::connections::connections;
use crate::desk::Desk;
use crate::door::{Door, guard};
use crate::failures::Failures;
use crate::flight::Flight;
use crate::http_api;
use crate::ingest::Ingest;
use crate::jobs::Scheduling;
use crate::loads::Loads;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::owners::TokenOwners;
use crate::query::Queries;
use crate::seal::Seal;
use crate::slots::Slots;
use crate::status::failed;
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::tokens::Tokens;

/// The largest request: a statement of the longest length, and what surrounds it.
const REQUEST_BYTES: usize = 1024 * 1024;

/// The largest message of a Flight client: ADBC sends batches of up to this by default.
const FLIGHT_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Calls of one connection at once.
const CONCURRENT_STREAMS: u32 = 200;

/// Headers of one call.
const HEADER_BYTES: u32 = 32 * 1024;

/// How often an idle connection is asked whether its client is there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long one connection lasts: those behind a balancer are spread anew, and its client connects again
/// without noticing.
const CONNECTION_AGE: Duration = Duration::from_secs(3600);

/// How long running queries may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long those that were stopped then have to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// After how long without a sign of life of the server that runs jobs another one does.
pub const JOB_LEASE: Duration = Duration::from_secs(15);

/// How long the history of jobs is kept.
pub const JOB_HISTORY: Duration = Duration::from_secs(90 * 24 * 3600);

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who reaches the server: for servers that listen to their own machine only.
    Open,
    /// Those who show a token of the store's.
    Tokens,
}

/// What a server allows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may come in.
    pub access: Access,
    /// Queries that run at once.
    pub running: usize,
    /// Queries that wait for others to end.
    pub waiting: usize,
    /// Connections at once.
    pub connections: usize,
    /// Calls without a valid token that one address may make within a minute.
    pub refused_per_minute: u32,
    /// Bytes that the process may hold: near them queries are refused, and at last stopped.
    pub memory_ceiling: Option<u64>,
    /// What queries of a role may use, where that is less.
    pub role_caps: RoleCaps,
    /// The files of its identity; none speaks in the clear.
    pub tls: Option<TlsFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access: Access::Open,
            running: 8,
            waiting: 32,
            connections: 1000,
            refused_per_minute: 300,
            memory_ceiling: None,
            role_caps: RoleCaps::new(),
            tls: None,
        }
    }
}

/// A server whose socket is open.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    seal: Seal,
    engine: Arc<Engine>,
    settings: Settings,
    jobs: Option<Jobs>,
}

/// How a server runs jobs.
#[derive(Debug)]
struct Jobs {
    engine: Arc<Engine>,
    settings: didymium_jobs::Settings,
    declared: Option<Vec<Declared>>,
}

/// Why a server can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address as given.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The transport failed.
    #[error("the server stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The interface can't be described to clients.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The jobs that files declare can't be had.
    #[error("jobs: {0}")]
    Jobs(#[from] didymium_jobs::Error),
    /// The server can't describe itself to clients of Flight SQL.
    #[error("Flight SQL: {0}")]
    Flight(#[from] arrow::error::ArrowError),
    /// TLS can't be had.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The store's keys can't be had.
    #[error("the store's keys: {0}")]
    Keys(#[from] crate::tokens::TokenError),
}

impl Server {
    /// Opens the socket: from here on clients can connect. Port 0 takes any free port.
    ///
    /// # Errors
    /// [`ServerError::Listen`], for example while another process has the port.
    pub async fn bind(
        address: &str,
        engine: Arc<Engine>,
        settings: Settings,
    ) -> Result<Self, ServerError> {
        let tls = settings.tls.clone().map(Tls::of).transpose()?;
        // Before anybody connects: a store that goes away later ends no server.
        let seal = Seal::open(engine.store()).await?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError::Listen {
                address: address.to_owned(),
                source,
            })?;
        Ok(Self {
            listener,
            tls,
            seal,
            engine,
            settings,
            jobs: None,
        })
    }

    /// Runs the store's jobs as well, by an engine of their own, while no other server does. Where files declare
    /// jobs, those are all that files have declared.
    #[must_use]
    pub fn running_jobs(
        self,
        engine: Arc<Engine>,
        settings: didymium_jobs::Settings,
        declared: Option<Vec<Declared>>,
    ) -> Self {
        Self {
            jobs: Some(Jobs {
                engine,
                settings,
                declared,
            }),
            ..self
        }
    }

    /// Where the server listens.
    ///
    /// # Errors
    /// [`ServerError::Listen`] where the system does not say.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        self.listener
            .local_addr()
            .map_err(|source| ServerError::Listen {
                address: "the socket".to_owned(),
                source,
            })
    }

    /// Serves until `shutdown` is ready, then lets running queries end for a while.
    ///
    /// # Errors
    /// [`ServerError::Transport`] where the socket fails.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let store = Arc::clone(self.engine.store());
        let owners = Arc::new(TokenOwners::of(self.settings.access, &self.engine));
        let jobs = self.jobs.unwrap_or_else(|| Jobs {
            engine: Arc::clone(&self.engine),
            settings: no_jobs(&store),
            declared: None,
        });
        let declared = jobs.declared;
        let jobs = Arc::new(Scheduler::new(jobs.engine, owners, jobs.settings));
        if let Some(declared) = declared {
            Box::pin(jobs.declare(declared)).await?;
        }
        let desk = Arc::new(Desk {
            started: Instant::now(),
            door: match self.settings.access {
                Access::Open => Door::Open,
                Access::Tokens => {
                    let failures = Failures::up_to(self.settings.refused_per_minute);
                    Door::Guarded(Tokens::of(Arc::clone(&store)), failures)
                }
            },
            running: Arc::default(),
            slots: Slots::new(self.settings.running, self.settings.waiting),
            jobs: Arc::clone(&jobs),
            loads: Loads::new(self.engine.limits().load_bytes),
            seal: self.seal,
            metrics: Metrics::new(),
            memory: Memory::up_to(self.settings.memory_ceiling),
            role_caps: self.settings.role_caps,
            stopping: CancellationToken::new(),
            stop: CancellationToken::new(),
            engine: self.engine,
        });
        let (stopping, stop) = (desk.stopping.clone(), desk.stop.clone());
        let watched = Arc::clone(&desk);
        let (health_reporter, routes) = routes(&desk).await?;
        let told = stopping.clone();
        let shutdown = async move {
            shutdown.await;
            tracing::info!("shutting down");
            health_reporter
                .set_not_serving::<QueryServiceServer<Queries>>()
                .await;
            health_reporter
                .set_service_status("", tonic_health::ServingStatus::NotServing)
                .await;
            told.cancel();
        };
        let served = Transport::builder()
            // Probes and curl speak it.
            .accept_http1(true)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_connection_age(CONNECTION_AGE)
            .max_concurrent_streams(CONCURRENT_STREAMS)
            .http2_max_header_list_size(HEADER_BYTES)
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                connections(self.listener, self.tls, self.settings.connections),
                shutdown,
            );
        // The transport waits for every connection, a silent one too; the drain does not.
        let drained = async {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            stop.cancel();
            tokio::time::sleep(FAREWELL).await;
        };
        let jobs_stop = stopping.clone();
        let jobs = async {
            Box::pin(jobs.run(jobs_stop)).await;
            Ok(())
        };
        tokio::select! {
            ended = async { tokio::try_join!(served, jobs) } => drop(ended?),
            () = drained => {}
            () = watched.memory.watch(&watched.running) => {}
            () = watched.dismiss() => {}
        }
        Ok(())
    }
}

/// Of a server that answers about jobs and runs none.
fn no_jobs(store: &Store) -> didymium_jobs::Settings {
    didymium_jobs::Settings {
        slots: 0,
        lease: JOB_LEASE,
        history: JOB_HISTORY,
        exports: Exports::within(store),
        webhooks: Webhooks::default(),
    }
}

/// Every service behind the one door.
async fn routes(desk: &Arc<Desk>) -> Result<(HealthReporter, Routes), ServerError> {
    let queries = QueryServiceServer::new(Queries {
        desk: Arc::clone(desk),
    });
    let catalog = CatalogServiceServer::new(Catalog {
        engine: Arc::clone(&desk.engine),
    });
    let ingest = IngestServiceServer::new(Ingest {
        desk: Arc::clone(desk),
    });
    let jobs = JobServiceServer::new(Scheduling {
        desk: Arc::clone(desk),
    });
    let admin = AdminServiceServer::new(Admin {
        desk: Arc::clone(desk),
    });
    // A message of a load is as long as its client makes it, up to this.
    let flight = FlightServiceServer::new(Flight::of(Arc::clone(desk))?)
        .max_decoding_message_size(FLIGHT_MESSAGE_BYTES);
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<QueryServiceServer<Queries>>()
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(FLIGHT_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut services = Routes::builder();
    services
        .add_service(queries.max_decoding_message_size(REQUEST_BYTES))
        .add_service(catalog)
        .add_service(ingest)
        .add_service(jobs)
        .add_service(admin)
        .add_service(flight)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let router = services
        .routes()
        .into_axum_router()
        .merge(http_api::router(Arc::clone(desk)))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(desk),
            guard,
        ));
    Ok((health_reporter, Routes::from(router)))
}

/// A panic in a service ends its call and nothing else.
fn panicked(panic: Box<dyn Any + Send>) -> http::Response<Body> {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let error = Error::new(ErrorKind::Internal, text.unwrap_or_default());
    failed(&error).into_http()
}
