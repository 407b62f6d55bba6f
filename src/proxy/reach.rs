//! How an instance is reached: the addresses its name stands for, found anew now and then and checked for
//! life by `pingora-load-balancing`, one balancer an instance. Which deployment is asked is not decided
//! here: the pool does that.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr, Result,
    protocols::{ALPN, l4::socket, tls::CaType},
    server::ShutdownWatch,
    services::background::BackgroundService,
    upstreams::peer::HttpPeer,
    utils::tls::WrappedX509,
};
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer, discovery::ServiceDiscovery, health_check::TcpHealthCheck,
    selection::RoundRobin,
};

use crate::{
    domain::deployment::{Bounds, Instance},
    identity::Credential,
};

/// How often a name is looked up again. The system's resolver keeps each answer's own time to live.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
/// How often each address is tried for a connection.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How long an unused connection is kept; Azure's side keeps them longer, so ours is the end that closes.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// For one slice of a request body to be taken. An answer given meanwhile is still read afterwards.
const SLICE_WRITE: Duration = Duration::from_secs(5);

/// An instance with its addresses and our credential for it.
pub(crate) struct Reach {
    pub(crate) instance: Arc<Instance>,
    pub(crate) credential: Arc<Credential>,
    balancer: LoadBalancer<RoundRobin>,
    ca: Option<Arc<CaType>>,
}

impl Reach {
    /// Fails if the instance's CA file can't be read; the plan had found it readable.
    pub(crate) fn new(instance: Arc<Instance>, credential: Arc<Credential>) -> io::Result<Self> {
        let ca = instance.ca.as_deref().map(authorities).transpose()?;
        let names = Names {
            fixed: fixed_address(&instance),
            instance: Arc::clone(&instance),
        };
        let mut balancer = LoadBalancer::from_backends(Backends::new(Box::new(names)));
        balancer.set_health_check(TcpHealthCheck::new());
        balancer.health_check_frequency = Some(CHECK_EVERY);
        balancer.update_frequency = fixed_address(&instance).is_none().then_some(LOOK_UP_EVERY);
        Ok(Self {
            instance,
            credential,
            balancer,
            ca,
        })
    }

    /// Looks the name up, once; the first requests should not be the first to ask.
    pub(crate) async fn discover(&self) {
        if let Err(error) = self.balancer.update().await {
            tracing::warn!(instance = %self.instance.name, %error, "no address found");
        }
    }

    /// Keeps the addresses fresh until the server ends.
    pub(crate) async fn keep_fresh(&self, shutdown: ShutdownWatch) {
        self.balancer.start(shutdown).await;
    }

    /// An address to connect to: a live one; if none is known to live, any, since the check may be behind.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let known = self.balancer.backends().get_backend();
        if known.len() == 1 {
            return by_number(&known.first()?.addr);
        }
        let chosen = self.balancer.select(b"", 16);
        by_number(&chosen.as_ref().or_else(|| known.first())?.addr)
    }

    /// Where Pingora connects to. Connections are pooled per deployment, which `group` stands for.
    pub(crate) fn peer(&self, address: SocketAddr, group: u64, bounds: &Bounds) -> Box<HttpPeer> {
        let endpoint = &self.instance.endpoint;
        let mut peer = HttpPeer::new(address, endpoint.tls(), endpoint.host().to_owned());
        peer.group_key = group;
        let options = &mut peer.options;
        options.connection_timeout = Some(bounds.connect_timeout);
        options.total_connection_timeout = Some(bounds.connect_timeout);
        // Silence is timed in the session's stand-in, which knows what of an answer is there already; this is
        // only what would end a wait that it can't see.
        options.read_timeout = Some(bounds.first_byte_timeout + bounds.idle_timeout);
        options.write_timeout = Some(SLICE_WRITE);
        options.idle_timeout = Some(KEEP_IDLE);
        options.ca.clone_from(&self.ca);
        options.max_h2_streams = 100;
        options.alpn = if endpoint.tls() { ALPN::H2H1 } else { ALPN::H1 };
        Box::new(peer)
    }
}

fn by_number(address: &socket::SocketAddr) -> Option<SocketAddr> {
    match address {
        socket::SocketAddr::Inet(address) => Some(*address),
        socket::SocketAddr::Unix(_) => None,
    }
}

/// The address of an instance that needs no look-up.
fn fixed_address(instance: &Instance) -> Option<SocketAddr> {
    let by_number = || {
        let ip: IpAddr = instance.endpoint.host().parse().ok()?;
        Some(SocketAddr::new(ip, instance.endpoint.port()))
    };
    instance.connect_to.or_else(by_number)
}

fn authorities(file: &std::path::Path) -> io::Result<Arc<CaType>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let invalid = |error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {error}", file.display()),
        )
    };
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| invalid(error.to_string()))?;
    let wrapped = certificates.map(|certificate| {
        let der = certificate.map_err(|error| invalid(error.to_string()))?;
        // Pingora panics on what is no certificate; rustls says so.
        rustls::RootCertStore::empty()
            .add(der.clone())
            .map_err(|error| invalid(error.to_string()))?;
        Ok(WrappedX509::new(
            der.to_vec(),
            pingora::utils::tls::parse_x509,
        ))
    });
    wrapped.collect::<io::Result<Vec<_>>>().map(Into::into)
}

/// DNS for one instance.
struct Names {
    instance: Arc<Instance>,
    fixed: Option<SocketAddr>,
}

#[async_trait]
impl ServiceDiscovery for Names {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let endpoint = &self.instance.endpoint;
        let addresses: Vec<SocketAddr> = match self.fixed {
            Some(address) => vec![address],
            None => {
                let found = tokio::net::lookup_host((endpoint.host(), endpoint.port())).await;
                found
                    .or_err(ErrorType::ConnectNoRoute, "looking up an instance's name")?
                    .collect()
            }
        };
        if addresses.is_empty() {
            return Error::e_explain(ErrorType::ConnectNoRoute, "the name stands for no address");
        }
        let backends = addresses
            .iter()
            .map(|address| Backend::new(&address.to_string()));
        Ok((backends.collect::<Result<_>>()?, HashMap::new()))
    }
}
