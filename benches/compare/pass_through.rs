//! Bare Pingora: what the engine costs when nothing is asked of it. Stock settings, one thread; all it does is
//! to take the next of its upstreams.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use pingora::{
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{ProxyHttp, Session};

use crate::Result;

/// What the bench calls itself with to be this.
pub(crate) const COMMAND: &str = "pass-through";

struct PassThrough {
    upstreams: Vec<SocketAddr>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        Ok(Box::new(HttpPeer::new(
            self.upstreams[next],
            false,
            String::new(),
        )))
    }
}

/// Serves on the first address, in front of the others, until it is killed.
pub(crate) fn run(addresses: &[String]) -> Result<()> {
    let (listen, upstreams) = addresses.split_first().ok_or("no address is given")?;
    let upstreams = upstreams.iter().map(|address| address.parse());
    let proxy = PassThrough {
        upstreams: upstreams.collect::<std::result::Result<_, _>>()?,
        next: AtomicUsize::new(0),
    };
    let conf = ServerConf {
        threads: 1,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = pingora_proxy::http_proxy_service(&server.configuration, proxy);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
