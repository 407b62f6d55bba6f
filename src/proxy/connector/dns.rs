//! The addresses an instance's name stands for, by the system's own configuration of DNS, for as long as their records
//! say. What the system says is read again for each look-up: a laptop moves, a container's resolver is replaced.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, ResolveHosts},
    lookup_ip::LookupIp,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use parking_lot::Mutex;
use pingora::{Error, ErrorType, Result};
use pingora_load_balancing::{Backend, discovery::ServiceDiscovery};
use thiserror::Error;

use super::health_check;
use crate::domain::deployment::Instance;

/// A record may say less, even nothing at all; nobody is asked more often.
const SHORTEST: Duration = Duration::from_secs(1);
/// A record may say more; an instance that has moved is found within this time all the same.
const LONGEST: Duration = Duration::from_secs(300);
/// For what says nothing of how long it holds: the hosts file, and the system's own call.
const UNSAID: Duration = Duration::from_secs(10);
/// After a look-up that failed; twice as long after each further one, up to `SLOWEST_RETRY`.
const RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(30);
/// Among several new addresses those are used at once that take a connection in this time: a network without IPv6 says
/// so at once or never.
const FIRST_GLANCE: Duration = Duration::from_millis(300);

/// Addresses, and how long they hold.
struct Found {
    addresses: BTreeSet<IpAddr>,
    holds: Duration,
}

#[derive(Debug, Error)]
enum LookUpError {
    #[error(transparent)]
    Dns(#[from] hickory_resolver::net::NetError),
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error("the name resolves to no address")]
    Nothing,
}

/// One instance's name; a clone is the same.
#[derive(Clone)]
pub(super) struct DnsDiscovery {
    instance: Arc<Instance>,
    /// Of an instance that needs no look-up.
    fixed: Option<SocketAddr>,
    state: Arc<Mutex<DnsState>>,
}

struct DnsState {
    known: BTreeSet<SocketAddr>,
    next: Instant,
    failures: u32,
    error: Option<String>,
}

impl DnsDiscovery {
    pub(super) fn new(instance: Arc<Instance>) -> Self {
        let number = || instance.endpoint.host().parse().ok();
        let by_number = || number().map(|ip| SocketAddr::new(ip, instance.endpoint.port()));
        Self {
            fixed: instance.connect_to.or_else(by_number),
            instance,
            state: Arc::new(Mutex::new(DnsState {
                known: BTreeSet::new(),
                next: Instant::now(),
                failures: 0,
                error: None,
            })),
        }
    }

    /// When to look again; `None`: never.
    pub(super) fn next(&self) -> Option<Instant> {
        self.fixed.is_none().then(|| self.state.lock().next)
    }

    /// Takes in what a look-up brought. A failed one changes nothing but when to look again.
    fn learn(
        &self,
        found: std::result::Result<Found, LookUpError>,
    ) -> Result<BTreeSet<SocketAddr>> {
        let (now, instance) = (Instant::now(), &self.instance.name);
        let mut state = self.state.lock();
        match found {
            Ok(found) => {
                let port = self.instance.endpoint.port();
                let addresses = found
                    .addresses
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .collect();
                if state.error.take().is_some() {
                    tracing::info!(event = "dns_recovered", %instance, "the instance's host name resolves again");
                }
                if !state.known.is_empty() && state.known != addresses {
                    tracing::info!(event = "dns_changed", %instance, ?addresses, "the instance's host name now resolves to other addresses");
                }
                state.known.clone_from(&addresses);
                (state.failures, state.next) = (0, now + found.holds);
                Ok(addresses)
            }
            Err(error) => {
                state.next = now + (RETRY * 2_u32.pow(state.failures.min(5))).min(SLOWEST_RETRY);
                state.failures = state.failures.saturating_add(1);
                let text = error.to_string();
                if state.error.as_ref() != Some(&text) {
                    let kept = state.known.len();
                    tracing::warn!(event = "dns_failed", %instance, error = text, kept, "could not resolve the instance's host name: the last known addresses are still used; check DNS");
                    state.error = Some(text);
                }
                Error::e_because(
                    ErrorType::ConnectNoRoute,
                    "looking up an instance's name",
                    error,
                )
            }
        }
    }

    /// Of new addresses beside others, which take no connection at a first glance.
    async fn silent(&self, addresses: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
        let known = self.state.lock().known.clone();
        let news: Vec<_> = addresses.difference(&known).copied().collect();
        if news.is_empty() || addresses.len() == 1 {
            return Vec::new();
        }
        let glances = news.iter().map(|address| async move {
            let answered = health_check::at(*address, FIRST_GLANCE).await;
            answered.is_err().then_some(*address)
        });
        let silent: Vec<_> = futures_util::future::join_all(glances)
            .await
            .into_iter()
            .flatten()
            .collect();
        if silent.len() == addresses.len() {
            // None is better than another.
            Vec::new()
        } else {
            silent
        }
    }
}

#[async_trait]
impl ServiceDiscovery for DnsDiscovery {
    async fn discover(&self) -> Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let found = match self.fixed {
            Some(address) => {
                let backend = Backend::new(&address.to_string())?;
                return Ok((BTreeSet::from([backend]), HashMap::new()));
            }
            None => look_up(self.instance.endpoint.host()).await,
        };
        let found = match found {
            Ok(found) if found.addresses.is_empty() => Err(LookUpError::Nothing),
            found => found,
        };
        let port = self.instance.endpoint.port();
        let silent = match &found {
            Ok(found) => {
                let addresses = found
                    .addresses
                    .iter()
                    .map(|ip| SocketAddr::new(*ip, port))
                    .collect();
                self.silent(&addresses).await
            }
            Err(_) => Vec::new(),
        };
        let (mut backends, mut enabled) = (BTreeSet::new(), HashMap::new());
        for address in self.learn(found)? {
            let backend = Backend::new(&address.to_string())?;
            enabled.insert(key(&backend), !silent.contains(&address));
            backends.insert(backend);
        }
        Ok((backends, enabled))
    }
}

/// What `pingora-load-balancing` calls a backend by.
fn key(backend: &Backend) -> u64 {
    let mut hasher = DefaultHasher::new();
    backend.hash(&mut hasher);
    hasher.finish()
}

/// The hosts file first, as the system's own call does, then DNS: both families at once.
async fn look_up(host: &str) -> std::result::Result<Found, LookUpError> {
    if let Some(found) = in_hosts_file(host) {
        return Ok(found);
    }
    let Ok(mut builder) = Resolver::builder_tokio() else {
        // There is no resolv.conf, or none that names a server: what else the system knows is its own.
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        return Ok(Found {
            addresses: addresses.map(|address| address.ip()).collect(),
            holds: UNSAID,
        });
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    let found = builder.build()?.lookup_ip(host).await?;
    Ok(Found {
        addresses: found.iter().map(|ip| ip.to_canonical()).collect(),
        holds: holds(&found),
    })
}

/// As long as the record that holds for the shortest time, those on the way to the address among them.
fn holds(found: &LookupIp) -> Duration {
    let records = found.as_lookup().answers().iter();
    let shortest = records.map(|record| u64::from(record.ttl)).min();
    let said = shortest.map_or(UNSAID, Duration::from_secs);
    said.clamp(SHORTEST, LONGEST)
}

fn in_hosts_file(host: &str) -> Option<Found> {
    let hosts = Hosts::from_system().ok()?;
    let name = Name::from_utf8(host).ok()?;
    let found = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|family| {
            let found = hosts.lookup_static_host(&Query::query(name.clone(), family))?;
            Some(LookupIp::from(found).iter().collect::<Vec<_>>())
        });
    let addresses: BTreeSet<_> = found.flatten().collect();
    (!addresses.is_empty()).then_some(Found {
        addresses,
        holds: UNSAID,
    })
}
