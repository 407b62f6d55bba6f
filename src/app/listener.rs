//! Takes connections: no more than a listener may have, each through its TLS handshake in time, and hands them to what
//! speaks HTTP. Pingora's own listening service has one fixed patience for every handshake, and counts nothing.

use std::{
    io,
    net::{SocketAddr, TcpListener as Bound, TcpStream as Taken},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::{
    apps::ServerApp,
    protocols::{GetSocketDigest, SocketDigest, Stream, l4},
    server::{ListenFds, ShutdownWatch},
    services::Service,
};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{
    buffered_stream::BufferedStream,
    connection_limit::{ConnectionLimit, ConnectionPermit},
    start_error::StartError,
    tls::Tls,
    workers::Workers,
};
use crate::{proxy::drain::Drain, telemetry::metrics::ListenerMetrics};

/// Enough for every probe, scraper and operator.
pub(super) const ADMIN_CONNECTIONS: usize = 256;

/// Connections that wait to be taken; the system has a bound of its own below this.
const BACKLOG: i32 = 65_535;
/// After so long without a word a quiet connection's other end is asked whether it is still there.
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// What failed for want of something, mostly open files, would fail again at once.
const BREATH: Duration = Duration::from_millis(250);
/// Between two lines of the log that say the same.
const SELDOM: Duration = Duration::from_secs(60);

/// How patient a listener is.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For a TLS handshake.
    pub(super) handshake: Duration,
    /// For what was written to be read.
    pub(super) write: Duration,
}

/// One address that connections come to.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    bound: Option<Bound>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    metrics: Arc<ListenerMetrics>,
    patience: Patience,
}

impl Port {
    /// Takes the address; connections wait until the service runs.
    pub(super) fn open(
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
        max_connections: usize,
        metrics: Arc<ListenerMetrics>,
        patience: Patience,
        drain: Arc<Drain>,
    ) -> Result<Self, StartError> {
        let bound = bind(address).map_err(|source| StartError::Listen { address, source })?;
        Ok(Self {
            address,
            bound: Some(bound),
            tls,
            connection_limit: Arc::new(ConnectionLimit::new(
                max_connections,
                Arc::clone(&metrics),
                drain,
            )),
            metrics,
            patience,
        })
    }
}

fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A service on one or more ports.
pub(super) struct Listening<A> {
    name: &'static str,
    app: Arc<A>,
    ports: Vec<Port>,
    /// That its connections are served on.
    threads: usize,
    /// Told once the ports are open.
    on_open: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<A> Listening<A> {
    pub(super) fn new(name: &'static str, app: A, ports: Vec<Port>) -> Self {
        Self {
            name,
            app: Arc::new(app),
            ports,
            threads: 1,
            on_open: None,
        }
    }

    pub(super) fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    pub(super) fn on_open(mut self, tell: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_open = Some(Box::new(tell));
        self
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Listening<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, shutdown: ShutdownWatch, _: usize) {
        let workers = Arc::new(Workers::start(self.name, self.threads));
        let mut ports = tokio::task::JoinSet::new();
        for port in self.ports.drain(..) {
            let workers = Arc::clone(&workers);
            ports.spawn(port.serve(Arc::clone(&self.app), workers, shutdown.clone()));
        }
        if let Some(tell) = self.on_open.take() {
            tell();
        }
        while ports.join_next().await.is_some() {}
        self.app.cleanup().await;
    }

    fn name(&self) -> &str {
        self.name
    }

    /// The one that connections are taken on.
    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

impl Port {
    /// Takes connections until the server ends.
    async fn serve<A: ServerApp + Send + Sync + 'static>(
        mut self,
        app: Arc<A>,
        workers: Arc<Workers>,
        mut shutdown: ShutdownWatch,
    ) {
        let bound = self.bound.take().map(TcpListener::from_std);
        let Some(Ok(listener)) = bound else {
            tracing::error!(event = "listen_failed", listener = %self.address, "could not listen on the address");
            return;
        };
        let port = Arc::new(self);
        let mut told: Option<Instant> = None;
        loop {
            let arrived = tokio::select! {
                biased;
                changed = shutdown.changed() => match changed {
                    Ok(()) if !*shutdown.borrow() => continue,
                    _ => return,
                },
                arrived = listener.accept() => arrived.and_then(|(it, from)| Ok((it.into_std()?, from))),
            };
            match arrived {
                Ok((stream, from)) => match port.connection_limit.take() {
                    Some(permit) => {
                        let (port, app, shutdown) =
                            (Arc::clone(&port), Arc::clone(&app), shutdown.clone());
                        // Watched from now on by the thread that serves it.
                        workers.next().spawn(async move {
                            if let Some(stream) = port.enter(stream, from, permit).await {
                                talk(stream, app, shutdown).await;
                            }
                        });
                    }
                    None if told.is_some_and(|told| told.elapsed() < SELDOM) => {}
                    None => {
                        told = Some(Instant::now());
                        let (listener, most) = (port.address, port.connection_limit.taken());
                        tracing::warn!(event = "listener_full", %listener, connections = most, "the listener has reached listeners[].max_connections: new connections are closed at once; raise the limit, or find the client that opens so many");
                    }
                },
                Err(error) => {
                    tracing::warn!(event = "accept_failed", listener = %port.address, %error, "could not accept a connection");
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// Makes a connection ready to be spoken on; `None` where nothing comes of it.
    async fn enter(
        &self,
        taken: Taken,
        from: SocketAddr,
        permit: ConnectionPermit,
    ) -> Option<Stream> {
        let stream = match self.prepare(taken) {
            Ok(stream) => stream,
            Err(error) => {
                // It has gone already.
                tracing::debug!(event = "connection_lost", %from, %error, "a connection was lost before its first request");
                return None;
            }
        };
        let digest = SocketDigest::from_raw_fd(std::os::fd::AsRawFd::as_raw_fd(&stream));
        let _ = digest.peer_addr.set(Some(from.into()));
        let mut stream = l4::stream::Stream::from(stream);
        stream.set_socket_digest(digest);
        let patience = self.patience.handshake;
        let stream: Stream = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let acceptor = tls.acceptor();
                // In a box, or each connection would keep room for a handshake as long as it lasts: 8 KiB, with or without TLS.
                let handshake = Box::pin(acceptor.tls_handshake(stream));
                let failed = match timeout(patience, handshake).await {
                    Ok(Ok(stream)) => {
                        return Some(Box::new(BufferedStream::new(Box::new(stream), permit)));
                    }
                    Ok(Err(error)) => Some(error),
                    Err(_) => None,
                };
                self.metrics.count_failed_handshake(failed.is_none());
                let error = failed.map_or("timed out".to_owned(), |error| error.to_string());
                tracing::debug!(event = "tls_handshake_failed", listener = %self.address, %from, error, "a client's TLS handshake failed");
                return None;
            }
        };
        Some(Box::new(BufferedStream::new(stream, permit)))
    }

    /// Bounds how long a peer may leave unread, or unacknowledged, what was written to it: the system sees every byte
    /// that moves, whichever protocol speaks above, and ends the connection where none does.
    fn prepare(&self, taken: Taken) -> io::Result<TcpStream> {
        taken.set_nodelay(true)?;
        let socket = SockRef::from(&taken);
        socket.set_tcp_user_timeout(Some(self.patience.write))?;
        let alive = TcpKeepalive::new()
            .with_time(ALIVE_AFTER)
            .with_interval(ALIVE_EVERY);
        socket.set_tcp_keepalive(&alive)?;
        TcpStream::from_std(taken)
    }
}

async fn talk<A: ServerApp + Send + Sync + 'static>(
    stream: Stream,
    app: Arc<A>,
    shutdown: ShutdownWatch,
) {
    let mut next = Some(stream);
    while let Some(stream) = next {
        next = app.process_new(stream, &shutdown).await;
    }
}
