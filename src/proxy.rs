//! With `app.rs` all that knows Pingora. This page is the table of contents of a request's life.

mod additions;
mod admission;
mod announce;
mod body;
mod commit;
pub(crate) mod door;
pub(crate) mod drain;
mod ending;
mod exchange;
mod forward;
mod half_closed;
pub(crate) mod health;
mod identify;
mod intake;
pub(crate) mod likeness;
pub(crate) mod memory;
mod metering;
mod named;
mod observe;
mod prompt;
pub(crate) mod reach;
mod realtime;
mod reply;
mod resend;
pub(crate) mod served;
mod session;

use std::{collections::HashMap, os::fd::RawFd, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Version, header};
use pingora::{
    Error, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::{
    domain::{
        client::Clients,
        cors::{self, Cors},
        deployment::Bounds,
        forwarding::Forwarding,
        front_door::FrontDoor,
        name::ModelName,
        quota::Quotas,
        trace::Sampling,
    },
    oidc::Issuers,
    telemetry::{Telemetry, record::End},
};
use drain::Drain;
use exchange::{Exchange, Stage};
use health::HealthCheck;
use intake::Verdict;
use memory::Memory;
use served::Served;

/// How long a client's unused connection is kept: longer than Front Door's 90 s, so that the end that may send
/// the next request is the end that closes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How long what a client still sends of a request that is answered already is read past: so that its connection stays
/// usable, or, where it ends with the answer, that no reset takes the answer with it.
const DRAIN_BODY: Duration = Duration::from_secs(5);

/// The gateway as Pingora's proxy.
pub struct Gateway {
    pub(crate) models: HashMap<ModelName, Arc<Served>>,
    pub(crate) clients: Clients,
    /// What clients may spend.
    pub(crate) quotas: Arc<Quotas>,
    /// For clients that show tokens.
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) bounds: Bounds,
    /// Of a request's line and headers together, in bytes.
    pub(crate) max_headers: usize,
    /// For a request's body to arrive.
    pub(crate) body_timeout: Duration,
    /// How long a body may pause while it arrives: no longer than a head may take.
    pub(crate) pause: Duration,
    /// What must stand before the gateway, if anything.
    pub(crate) front_door: Option<FrontDoor>,
    /// Which web pages may ask; `None`: what a browser sends by itself proves nobody for any page of elsewhere.
    pub(crate) cors: Option<Cors>,
    /// Whether anyone may ask how a model is, and so which there are.
    pub(crate) tells_models: bool,
    /// Which of a client's headers go on.
    pub(crate) forwarding: Forwarding,
    /// How long a client may leave unread what is written to it.
    pub(crate) write_timeout: Duration,
    /// How long a stream may be quiet before something is written into it; `None`: for ever.
    pub(crate) stream_keepalive: Option<Duration>,
    /// For the bodies of all requests.
    pub(crate) memory: Memory,
    pub(crate) reveal: bool,
    /// Which traces that start here are kept; `None`: traces are sent nowhere, and what clients say of them goes on.
    pub(crate) tracing: Option<Sampling>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) health: Arc<HealthCheck>,
    /// Seconds since 1970, when the gateway started.
    pub(crate) started: u64,
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box: Pingora keeps room for it three times over in what each open request holds.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Exchange::new())
    }

    /// None: every module would be asked about every chunk.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        exchange.guest = Some((self.drain.enter(), self.telemetry.metrics.enter()));
        let downstream = &mut session.downstream_session;
        downstream.set_pipelining_enabled(true);
        downstream.set_total_drain_timeout(Some(DRAIN_BODY));
        if downstream.is_http2() {
            // Its stream's window may be closed while the connection moves; over HTTP/1.1 the system watches.
            downstream.set_write_timeout(Some(self.write_timeout));
        } else if downstream.req_header().version == Version::HTTP_10 {
            // It knows of no answers before the answer.
            downstream.set_ignore_info_resp(true);
        }
        // A refusal may come before the body has; what is left of it is read past.
        downstream.set_close_on_response_before_downstream_finish(false);
        // Not where the client or the end of the gateway has said that this request is the connection's last.
        if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(KEEP_ALIVE.as_secs()));
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Self::CTX,
    ) -> Result<bool> {
        match intake::admit(self, session, exchange).await {
            Ok(Verdict::Forward(admitted)) => {
                session::wrap(session, &admitted.relay);
                exchange.stage = Stage::Admitted(admitted);
                Ok(false)
            }
            Ok(Verdict::Answer(reply)) => ending::answer(session, exchange, reply).await,
            Err(refusal) => ending::refuse(session, exchange, refusal).await,
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        exchange: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        forward::next_peer(exchange).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        observe::no_connection(exchange, error)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: RawFd,
        connection: Option<&Digest>,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(target) = exchange.target() {
            target.reach.note_connected();
        }
        if let Some(admitted) = exchange.admitted() {
            admitted.relay.take_cork(reach::cork::of(connection));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        forward::rewrite(exchange, request)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        observe::response(self, exchange, head)
    }

    /// A deployment's trailers reach nobody: no client of these APIs reads any, and what they say was not looked at.
    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        _exchange: &mut Self::CTX,
    ) -> Result<()> {
        trailers.clear();
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(origin) = &exchange.origin {
            for (name, value) in cors::answer(origin) {
                head.insert_header(name, value)?;
            }
        }
        if session.req_header().version == Version::HTTP_10 {
            // It knows no chunks: its answer ends with the connection.
            head.remove_header(&header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        commit::piece(exchange, body, end)?;
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        let answered = session.response_written().is_some_and(session::is_final);
        observe::failure(exchange, error, reused, answered)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Self::CTX,
    ) -> FailToProxy {
        FailToProxy {
            error_code: ending::fail(session, exchange, error).await,
            can_reuse_downstream: false,
        }
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        exchange: &mut Self::CTX,
    ) {
        let mut record = ending::record(session, exchange, error);
        if record.end == End::ClientLeft && self.drain.is_cut() {
            record.end = End::Broken;
        }
        self.telemetry.account(record);
    }

    /// Every attempt is in the record; a line each would say it twice.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }
}
