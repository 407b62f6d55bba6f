//! How an instance is reached: the addresses its name stands for, followed as its records change and checked for
//! life by `pingora-load-balancing`, one balancer an instance, and the authorities its certificate is verified by.
//! Which deployment is asked is not decided here: the pool does that.

mod authorities;
mod connect_error;
pub(super) mod cork;
mod dns;
mod health_check;
pub(crate) mod local_limits;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pingora::{
    Error,
    protocols::{ALPN, TcpKeepalive},
    server::ShutdownWatch,
    upstreams::peer::{HttpPeer, PeerOptions},
};
use pingora_load_balancing::{Backends, LoadBalancer, selection::RoundRobin};
use tokio::sync::Notify;

use crate::{
    domain::{
        deployment::{Bounds, Instance},
        outcome::Fault,
    },
    identity::Credential,
};
pub(crate) use authorities::{Authorities, AuthoritiesError};
use cork::Corked;
use dns::DnsDiscovery;
use health_check::{TcpHealthCheck, by_number};

/// How often each address is tried for a connection.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How often a file of authorities is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long an unused connection is kept; Azure's side keeps them longer, so ours is the end that closes.
const KEEP_IDLE: Duration = Duration::from_secs(60);
/// After so long without a word a connection's other end is asked whether it is still there: a deployment may think for
/// minutes, and what lies between forgets a connection on which nothing passes (at Azure after 4 minutes).
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How often before it is taken for gone.
const ALIVE_TRIES: usize = 4;
/// For one slice of a request body to be taken. An answer given meanwhile is still read afterwards.
const SLICE_WRITE: Duration = Duration::from_secs(5);

/// An instance with its addresses and our credential for it.
pub(crate) struct Connector {
    pub(crate) instance: Arc<Instance>,
    pub(crate) credential: Arc<Credential>,
    names: DnsDiscovery,
    balancer: LoadBalancer<RoundRobin>,
    authorities: Option<Arc<Authorities>>,
    /// How connections to it are made.
    connect: Arc<Corked>,
    /// What was last said of why no connection comes about; empty while they do.
    trouble: Mutex<String>,
    is_troubled: AtomicBool,
    /// Wakes the check of its addresses.
    doubt: Notify,
}

impl Connector {
    /// `authorities`: those of the instance's own file.
    pub(crate) fn new(
        instance: Arc<Instance>,
        credential: Arc<Credential>,
        authorities: Option<Arc<Authorities>>,
    ) -> Self {
        let names = DnsDiscovery::new(Arc::clone(&instance));
        let discovery = Box::new(names.clone());
        let mut balancer = LoadBalancer::from_backends(Backends::new(discovery));
        balancer.set_health_check(Box::new(TcpHealthCheck));
        Self {
            instance,
            credential,
            names,
            balancer,
            authorities,
            connect: Arc::new(Corked),
            trouble: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            doubt: Notify::new(),
        }
    }

    /// Looks the name up, once; the first requests should not be the first to ask. What goes wrong is said there.
    pub(crate) async fn discover(&self) {
        let _ = self.balancer.update().await;
    }

    /// Keeps the addresses and the authorities fresh until the server ends.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut shutdown: ShutdownWatch) {
        tokio::select! {
            _ = shutdown.changed() => {}
            () = self.follow_the_name() => {}
            () = self.check_addresses() => {}
            () = self.look_at_authorities() => {}
        }
    }

    async fn follow_the_name(&self) {
        loop {
            match self.names.next() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
            let before = self.balancer.backends().get_backend();
            let _ = self.balancer.update().await;
            if *before != *self.balancer.backends().get_backend() {
                self.doubt.notify_one();
            }
        }
    }

    async fn check_addresses(&self) {
        loop {
            let backends = self.balancer.backends();
            backends.run_health_check(true).await;
            // From here on its health alone says whether an address is used.
            for backend in backends.get_backend().iter() {
                backends.set_enable(backend, true);
            }
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                () = self.doubt.notified() => {}
            }
        }
    }

    async fn look_at_authorities(&self) {
        let Some(authorities) = &self.authorities else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let authorities = Arc::clone(authorities);
            let _ = tokio::task::spawn_blocking(move || authorities.look()).await;
        }
    }

    /// Takes note that no connection came about, and says why, once for each reason. Whose fault that is.
    pub(crate) fn note_failure(&self, error: &Error) -> Fault {
        if let Some(wanting) = local_limits::of_connecting(error) {
            local_limits::tell(wanting);
            return Fault::OwnLimit;
        }
        self.doubt.notify_one();
        let why = connect_error::why(error, &self.instance);
        let mut trouble = self.trouble.lock();
        if *trouble != why {
            let instance = &self.instance.name;
            tracing::warn!(event = "instance_unreachable", %instance, "could not connect to the instance: {why}");
            *trouble = why;
        }
        self.is_troubled.store(true, Ordering::Release);
        Fault::Connect
    }

    /// Takes note of a connection.
    pub(crate) fn note_connected(&self) {
        if self.is_troubled.load(Ordering::Acquire) {
            self.is_troubled.store(false, Ordering::Release);
            self.trouble.lock().clear();
            tracing::info!(event = "instance_reachable", instance = %self.instance.name, "the instance can be reached again");
        }
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

    /// Where Pingora connects to. Connections are pooled per deployment, which `group` stands for, and by thread: what
    /// comes on a connection wakes the thread that made it, whichever uses it.
    pub(crate) fn peer(&self, address: SocketAddr, group: u64, bounds: &Bounds) -> Box<HttpPeer> {
        let endpoint = &self.instance.endpoint;
        let mut peer = HttpPeer::new(address, endpoint.tls(), endpoint.host().to_owned());
        peer.group_key = group | thread() << 32;
        let options = &mut peer.options;
        options.custom_l4 = Some(Arc::clone(&self.connect) as _);
        options.connection_timeout = Some(bounds.connect_timeout);
        options.total_connection_timeout = Some(bounds.connect_timeout);
        // Silence is timed in the session's stand-in, which knows what of an answer is there already; this is
        // only what would end a wait that it can't see.
        let first_byte = bounds.first_byte_timeout.max(bounds.unstreamed_timeout);
        options.read_timeout = Some(first_byte + bounds.idle_timeout);
        options.write_timeout = Some(SLICE_WRITE);
        options.idle_timeout = Some(KEEP_IDLE);
        options.ca = self.authorities.as_ref().map(|file| file.believed());
        options.max_h2_streams = 100;
        stay_known(options);
        options.alpn = if endpoint.tls() { ALPN::H2H1 } else { ALPN::H1 };
        Box::new(peer)
    }
}

/// A silent connection stays known to what lies between, and that it has ended is learned: by the system, and over HTTP/2
/// by what answers there.
fn stay_known(options: &mut PeerOptions) {
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: ALIVE_AFTER,
        interval: ALIVE_EVERY,
        count: ALIVE_TRIES,
        // What was sent and not acknowledged keeps the system's own patience.
        user_timeout: Duration::ZERO,
    });
    options.h2_ping_interval = Some(ALIVE_AFTER);
}

/// The present thread's number.
fn thread() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = COUNT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_asked_well_before_it_is_forgotten_over_both_protocols() {
        // By what does network address translation at Azure.
        const FORGOTTEN: Duration = Duration::from_secs(240);
        let mut options = PeerOptions::new();
        stay_known(&mut options);
        let by_system = options.tcp_keepalive.map(|it| it.idle);
        for after in [by_system, options.h2_ping_interval] {
            assert!(
                after.is_some_and(|after| after <= FORGOTTEN / 2),
                "{after:?}"
            );
        }
    }
}
