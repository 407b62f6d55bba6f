//! A small request leaves in one packet. Pingora sends the head before it looks at the body, which costs a second packet
//! and wakes the deployment twice; the system's own cork (`TCP_CORK`, tcp(7)) holds the head until the body is behind it.
//! Should nothing ever be pushed, the system sends what it holds after 200 ms.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr, Result,
    connectors::l4::Connect,
    http::ResponseHeader,
    protocols::{
        Digest, GetProxyDigest,
        l4::{ext, socket, stream::Stream},
        raw_connect::ProxyDigest,
    },
};
use socket2::{SockRef, Socket};

/// The cork of one connection.
#[derive(Debug)]
pub(crate) struct Cork {
    /// A second handle to the connection's socket, of which Pingora shows nothing but the number.
    socket: Socket,
    is_in: AtomicBool,
}

impl Cork {
    /// From here on what is written waits to be pushed, or does not.
    pub(crate) fn put(&self, is_in: bool) {
        if self.is_in.load(Ordering::Relaxed) != is_in && self.socket.set_tcp_cork(is_in).is_ok() {
            self.is_in.store(is_in, Ordering::Relaxed);
        }
    }

    /// Sends what waits. The cork stays in: this is what `TCP_NODELAY` does beside it.
    pub(crate) fn push(&self) {
        if self.is_in.load(Ordering::Relaxed) {
            // A connection that can't be told is one that has ended.
            let _ = self.socket.set_tcp_nodelay(true);
        }
    }
}

/// The cork of the connection that this tells of. It ends with the connection: who keeps it would keep the socket open.
pub(crate) fn find(connection: Option<&Digest>) -> Weak<Cork> {
    let told = connection.and_then(|digest| digest.proxy_digest.as_ref());
    let cork = told.and_then(|told| told.user_data.as_ref()?.downcast_ref::<Arc<Cork>>());
    cork.map(Arc::downgrade).unwrap_or_default()
}

/// Makes connections that have a cork.
#[derive(Debug)]
pub(super) struct Corked;

#[async_trait]
impl Connect for Corked {
    async fn connect(&self, address: &socket::SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "not an address of a network");
        };
        // How long it may take the peer's `total_connection_timeout` says.
        let connection = ext::connect(address, None).await?;
        let socket = SockRef::from(&connection)
            .try_clone()
            .or_err(ErrorType::InternalError, "a second handle to a connection")?;
        let is_in = AtomicBool::new(false);
        let cork = Cork { socket, is_in };
        let mut stream = Stream::from(connection);
        let nothing = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(nothing, Some(Box::new(Arc::new(cork)))));
        Ok(stream)
    }
}
