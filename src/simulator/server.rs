//! Listening: ports that open and close, connections, TLS, and HTTP/1.1 or HTTP/2 on either.
//!
//! A [`Listener`] is one port. Closed, it refuses connections and has dropped all it had; opened again, it is the same
//! port. What a request is answered with is the [`Service`]'s matter.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Mutex, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    body::Body,
    config::Tls,
    connection::{self, Connection, ConnectionFate, Socket},
    deviation::BrokenOff,
    raw_answer::{Raw, RawEnd},
};

/// What stands behind a port.
pub(crate) trait Service: Send + Sync + 'static {
    /// Whether a connection is let in; a refused one is reset.
    fn lets_in(&self) -> bool {
        true
    }

    /// An answer, or an end without one.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        fate: ConnectionFate,
    ) -> impl Future<Output = Result<Response<Body>, BrokenOff>> + Send;
}

/// Far more than any token request or fault needs.
const MOST_BODY: usize = 1 << 20;

/// A request's body, for services whose requests are small.
pub(crate) async fn read(incoming: Incoming) -> Result<Bytes, BrokenOff> {
    let body = Limited::new(incoming, MOST_BODY).collect().await;
    Ok(body.map_err(|_| BrokenOff)?.to_bytes())
}

/// An answer that no instance counts.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    bytes: Vec<u8>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes, None));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Scheme and authority of a service, as its caller knows it.
pub(crate) fn origin(tls: Option<&Tls>, uri: &Uri, headers: &HeaderMap) -> String {
    let by_header = || headers.get(header::HOST)?.to_str().ok();
    let host = uri.authority().map(|it| it.as_str()).or_else(by_header);
    format!("{}://{}", scheme(tls), host.unwrap_or_default())
}

pub(crate) fn scheme(tls: Option<&Tls>) -> &'static str {
    tls.map_or("http", |_| "https")
}

/// One port and what goes through it.
pub(crate) struct Listener<S> {
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    service: Arc<S>,
    open: Mutex<Option<Open>>,
}

/// A listening port: dropping `close` ends it, and everything that came through it.
struct Open {
    close: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl<S: Service> Listener<S> {
    /// Binds the port, any one for port 0, and lets callers in.
    pub(crate) async fn open(
        address: SocketAddr,
        tls: Option<&Tls>,
        service: Arc<S>,
    ) -> io::Result<Self> {
        let acceptor = tls.map(acceptor).transpose()?;
        let listener = bind(address).await?;
        let this = Self {
            address: listener.local_addr()?,
            acceptor,
            service,
            open: Mutex::new(None),
        };
        *this.open.lock().await = Some(this.accept(listener));
        Ok(this)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and every connection; nothing is left when this returns.
    pub(crate) async fn down(&self) {
        if let Some(open) = self.open.lock().await.take() {
            drop(open.close);
            // An error would mean that it has ended already.
            let _ = open.accepting.await;
        }
    }

    /// Opens the same port again.
    pub(crate) async fn up(&self) -> io::Result<()> {
        let mut open = self.open.lock().await;
        if open.is_none() {
            *open = Some(self.accept(bind(self.address).await?));
        }
        Ok(())
    }

    fn accept(&self, listener: TcpListener) -> Open {
        let (close, closed) = oneshot::channel();
        let accepting = tokio::spawn(accept(
            listener,
            self.acceptor.clone(),
            self.service.clone(),
            closed,
        ));
        Open { close, accepting }
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
    })
}

async fn accept<S: Service>(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    service: Arc<S>,
    mut closed: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut closed => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if !service.lets_in() => connection::reset_on_close(&stream),
                Ok((stream, _)) => { connections.spawn(serve(stream, acceptor.clone(), service.clone())); }
                // Out of file descriptors, most likely: a pause lets some come back.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve<S: Service>(stream: TcpStream, acceptor: Option<TlsAcceptor>, service: Arc<S>) {
    let _ = stream.set_nodelay(true);
    let stream: Socket = match acceptor {
        None => Box::new(stream),
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(error) => return tracing::debug!(event = "tls_handshake_failed", %error, "no TLS"),
        },
    };
    let mut next = Some(stream);
    while let Some(stream) = next {
        let fate = ConnectionFate::default();
        let answer = service_fn(|request| service.clone().answer(request, fate.clone()));
        let connection = TokioIo::new(Connection::new(stream, fate.clone()));
        let builder = auto::Builder::new(TokioExecutor::new());
        // An error is a client that left, or a fault that was asked for.
        let _ = builder
            .serve_connection_with_upgrades(connection, answer)
            .await;
        if let Some(takeover) = fate.takeover() {
            return takeover.await;
        }
        next = after_hyper(&fate).await;
    }
}

/// Sends what is sent past hyper; the connection, if it goes on after that.
async fn after_hyper(fate: &ConnectionFate) -> Option<Socket> {
    let (raw, mut socket) = fate.take_raw()?;
    // The client may have left: that is no matter of the simulation's.
    let sent = send_raw(&raw, &mut socket).await;
    match raw.end {
        RawEnd::Keep => sent.ok().map(|()| socket),
        RawEnd::Reset => {
            connection::let_it_arrive().await;
            connection::reset_on_close(socket.tcp());
            None
        }
        RawEnd::Close => {
            let _ = socket.shutdown().await;
            None
        }
    }
}

/// Sends it all; whoever reads it may leave before.
async fn send_raw(raw: &Raw, socket: &mut Socket) -> io::Result<()> {
    socket.write_all(raw.head.as_bytes()).await?;
    for piece in &raw.pieces {
        if !piece.pause.is_zero() {
            socket.flush().await?;
            tokio::time::sleep(piece.pause).await;
        }
        socket.write_all(&piece.bytes).await?;
    }
    socket.flush().await
}

fn acceptor(tls: &Tls) -> io::Result<TlsAcceptor> {
    let unreadable = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        io::Error::other(format!("{}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&tls.certificate, &error))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unreadable(&tls.key, &error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(io::Error::other)?
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .map_err(|error| unreadable(&tls.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
