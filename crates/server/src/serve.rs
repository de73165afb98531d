//! A listening server, from its socket to its last query.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use didymium_api::DESCRIPTOR_SET;
use didymium_api::v1::catalog_service_server::CatalogServiceServer;
use didymium_api::v1::ingest_service_server::IngestServiceServer;
use didymium_api::v1::query_service_server::QueryServiceServer;
use didymium_engine::Engine;
use futures::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server as Transport;

use crate::catalog::Catalog;
use crate::ingest::Ingest;
use crate::query::Queries;

/// The largest request: a statement of the longest length, and what surrounds it.
const REQUEST_BYTES: usize = 1024 * 1024;

/// How often an idle connection is asked whether its client is there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long running queries may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the server waits when it can take no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long those that were stopped then have to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A server whose socket is open.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    engine: Arc<Engine>,
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
}

impl Server {
    /// Opens the socket: from here on clients can connect. Port 0 takes any free port.
    ///
    /// # Errors
    /// [`ServerError::Listen`], for example while another process has the port.
    pub async fn bind(address: &str, engine: Arc<Engine>) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError::Listen {
                address: address.to_owned(),
                source,
            })?;
        Ok(Self { listener, engine })
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
        let stop = CancellationToken::new();
        let catalog = CatalogServiceServer::new(Catalog {
            engine: Arc::clone(&self.engine),
        });
        // A message of a load is as long as gRPC lets it be by default.
        let ingest = IngestServiceServer::new(Ingest::new(Arc::clone(&self.engine)));
        let queries = Queries {
            engine: self.engine,
            running: Arc::default(),
            stop: stop.clone(),
        };
        let queries = QueryServiceServer::new(queries).max_decoding_message_size(REQUEST_BYTES);
        let (health_reporter, health) = tonic_health::server::health_reporter();
        health_reporter
            .set_serving::<QueryServiceServer<Queries>>()
            .await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let stopping = CancellationToken::new();
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
            .http2_keepalive_interval(Some(KEEPALIVE))
            .add_service(queries)
            .add_service(catalog)
            .add_service(ingest)
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(connections(self.listener), shutdown);
        // The transport waits for every connection, a silent one too; the drain does not.
        let drained = async {
            stopping.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            stop.cancel();
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            served = served => served?,
            () = drained => {}
        }
        Ok(())
    }
}

/// Connections as they come. Where none can be taken, for want of file descriptors for example, the
/// server waits instead of asking again at once.
fn connections(
    listener: TcpListener,
) -> impl Stream<Item = Result<TcpStream, std::io::Error>> + Send + 'static {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Answers are small and wait for nothing.
                    let _ = connection.set_nodelay(true);
                    return Some((Ok(connection), listener));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}
