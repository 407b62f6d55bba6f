//! Checks whether an address accepts connections.
//!
//! Pingora's own check brings a whole connector with it, which reads the system's authorities for itself: two milliseconds
//! and half a megabyte an instance, for connections without TLS.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use pingora::{Error, ErrorType, Result, protocols::l4::socket};
use pingora_load_balancing::{Backend, health_check::HealthCheck};
use tokio::{net::TcpStream, time};

use super::local_limits;

/// For a connection to come about, where nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The check of an address that is in use.
pub(super) struct TcpHealthCheck;

#[async_trait]
impl HealthCheck for TcpHealthCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        match by_number(&target.addr) {
            // What fails for want of something here says nothing of who is there.
            Some(address) => at(address, PATIENCE).await.or_else(|error| {
                let wanting = local_limits::of_connecting_to(address.ip(), &error);
                wanting.map_or(Err(error), |_| Ok(()))
            }),
            None => Error::e_explain(ErrorType::ConnectError, "not an address of a network"),
        }
    }

    /// One check is enough to tell, either way.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

/// Opens a connection, and leaves it.
pub(super) async fn at(address: SocketAddr, patience: Duration) -> Result<()> {
    let connected = match time::timeout(patience, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => return Error::e_explain(ErrorType::ConnectTimedout, "no answer"),
    };
    match connected {
        Ok(_) => Ok(()),
        Err(error) => Error::e_because(ErrorType::ConnectError, "no answer", error),
    }
}

pub(super) fn by_number(address: &socket::SocketAddr) -> Option<SocketAddr> {
    match address {
        socket::SocketAddr::Inet(address) => Some(*address),
        socket::SocketAddr::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_is_alive_while_somebody_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Backend::new(&listener.local_addr().unwrap().to_string()).unwrap();
        assert!(TcpHealthCheck.check(&backend).await.is_ok());
        drop(listener);
        assert!(TcpHealthCheck.check(&backend).await.is_err());
    }
}
