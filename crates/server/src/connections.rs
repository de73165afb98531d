//! Connections as they come, plain or encrypted, and never more than are allowed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::tls::Tls;

/// How long the server waits when it can take no connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take to say what it speaks: the transport would wait for ever, and a thousand
/// silent ones would keep everybody out.
const OPENING: Duration = Duration::from_secs(10);

/// What HTTP/2 begins with; a request of HTTP/1 is no shorter.
const PREFACE_BYTES: usize = 24;

/// One client's connection. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    io: Io,
    peer: TcpConnectInfo,
    /// Until when it must have said what it speaks; gone once it has.
    opening: Option<Pin<Box<Sleep>>>,
    heard: usize,
    _counted: OwnedSemaphorePermit,
}

impl Connection {
    fn new(io: Io, peer: TcpConnectInfo, counted: OwnedSemaphorePermit) -> Self {
        Self {
            io,
            peer,
            opening: Some(Box::pin(tokio::time::sleep(OPENING))),
            heard: 0,
            _counted: counted,
        }
    }
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

type Handshake = BoxFuture<'static, Option<Connection>>;

/// What takes connections.
struct Accepting {
    listener: TcpListener,
    tls: Option<Tls>,
    limit: Arc<Semaphore>,
    handshakes: FuturesUnordered<Handshake>,
}

/// Connections as they come, up to so many at once; the others wait in the system's queue.
pub(crate) fn connections(
    listener: TcpListener,
    tls: Option<Tls>,
    limit: usize,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    let accepting = Accepting {
        listener,
        tls,
        limit: Arc::new(Semaphore::new(limit)),
        handshakes: FuturesUnordered::new(),
    };
    stream::unfold(accepting, |mut accepting| async move {
        let connection = accepting.next().await;
        Some((Ok(connection), accepting))
    })
}

impl Accepting {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(agreed) = self.handshakes.next(), if !self.handshakes.is_empty() => {
                    if let Some(connection) = agreed {
                        return connection;
                    }
                }
                (tcp, counted) = accept(&self.listener, &self.limit) => {
                    let peer = tcp.connect_info();
                    let Some(tls) = &self.tls else {
                        return Connection::new(Io::Plain(tcp), peer, counted);
                    };
                    let agreed = tls.acceptor().accept(tcp);
                    let handshake = async move {
                        match tokio::time::timeout(HANDSHAKE, agreed).await {
                            Ok(Ok(tls)) => {
                                let io = Io::Encrypted(Box::new(tls));
                                Some(Connection::new(io, peer, counted))
                            }
                            Ok(Err(error)) => {
                                tracing::debug!(%error, "no TLS was agreed on");
                                None
                            }
                            Err(_) => None,
                        }
                    };
                    self.handshakes.push(handshake.boxed());
                }
            }
        }
    }
}

/// Where none can be taken, for want of file descriptors for example, the server waits instead of asking
/// again at once.
async fn accept(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(counted) = Arc::clone(limit).acquire_owned().await else {
            // It is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((tcp, _)) => {
                // Answers are small and wait for nothing.
                let _ = tcp.set_nodelay(true);
                return (tcp, counted);
            }
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Io::Encrypted(io) => Pin::new(io).poll_read(cx, buffer),
        };
        self.heard += buffer.filled().len() - before;
        if self.heard >= PREFACE_BYTES {
            self.opening = None;
        }
        if polled.is_pending()
            && let Some(opening) = &mut self.opening
            && opening.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Encrypted(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Encrypted(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Encrypted(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
