//! Bare Pingora: what the engine costs when nothing is asked of it. Stock settings; all it does is to take the next of
//! its upstreams, and another one after a 429.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    http::ResponseHeader,
    listeners::tls::TlsSettings,
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{ProxyHttp, ProxyWarnLogContext, Session};

use crate::Result;

/// What the bench calls itself with to be this.
pub(crate) const COMMAND: &str = "pass-through";

struct PassThrough {
    upstreams: Vec<SocketAddr>,
    tls: bool,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    /// How often an upstream was asked.
    type CTX = usize;

    fn new_ctx(&self) -> usize {
        0
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        asked: &mut usize,
    ) -> pingora::Result<Box<HttpPeer>> {
        *asked += 1;
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        let name = if self.tls {
            "localhost".into()
        } else {
            String::new()
        };
        let mut peer = Box::new(HttpPeer::new(self.upstreams[next], self.tls, name));
        // Connections of its own, wherever it is.
        peer.group_key = next as u64;
        Ok(peer)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        answer: &mut ResponseHeader,
        asked: &mut usize,
    ) -> pingora::Result<()> {
        if answer.status != 429 || *asked > self.upstreams.len() {
            return Ok(());
        }
        let mut error = Error::new_up(ErrorType::HTTPStatus(429));
        error.set_retry(true);
        Err(error)
    }

    /// The stock one retries no POST; whether the body is still there is all that is asked here.
    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        _asked: &mut usize,
        _client_reused: bool,
    ) -> Box<Error> {
        let mut error = error;
        error
            .retry
            .decide_reuse(!session.as_ref().retry_buffer_truncated());
        error
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _asked: &usize,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Serves until it is killed. What it is told: where it listens, its certificate's path without the ending and its
/// upstreams' authority (or nothing, twice), its threads, its upstreams.
pub(crate) fn run(told: &[String]) -> Result<()> {
    let [listen, certificate, ca, threads, upstreams @ ..] = told else {
        return Err("too little is said".into());
    };
    let (count, upstreams) = (upstreams.len(), upstreams.iter());
    let upstreams = upstreams.map(|address| address.parse());
    let proxy = PassThrough {
        upstreams: upstreams.collect::<std::result::Result<_, _>>()?,
        tls: !ca.is_empty(),
        next: AtomicUsize::new(0),
    };
    let stock = ServerConf::default();
    let conf = ServerConf {
        threads: threads.parse()?,
        ca_file: (!ca.is_empty()).then(|| ca.clone()),
        // Of hundreds of upstreams it would keep too few connections to use one again.
        upstream_keepalive_pool_size: stock.upstream_keepalive_pool_size.max(16 * count),
        ..stock
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = pingora_proxy::http_proxy_service(&server.configuration, proxy);
    if certificate.is_empty() {
        service.add_tcp(listen);
    } else {
        let (chain, key) = (format!("{certificate}.crt"), format!("{certificate}.key"));
        let mut settings = TlsSettings::intermediate(&chain, &key)?;
        settings.enable_h2();
        service.add_tls_with_settings(listen, None, settings);
    }
    server.add_service(service);
    server.run_forever()
}
