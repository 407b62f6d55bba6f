//! With `app.rs` all that knows Pingora. This page is the table of contents of a request's life.
//!
//! - It begins before Pingora: [`connection`] reads each head from the client's connection and judges it. Only what passed there
//!   reaches the hooks below; what is refused there is answered, logged and counted there.
//! - `early_request_filter`, `request_filter`: the intake says who asks for what, and gives a `walk` and its `call`, or an answer of
//!   the gateway's own (`ending`, `reply`). The `call` is what was asked and does not change; the `walk` is how far it has come: the call,
//!   and what was tried for it. From then on `session` stands in for Pingora's client session: it replays the
//!   body for each attempt, and in it a stream's beginning is held until it is settled.
//! - `upstream_peer` to `error_while_proxy`: each takes the `attempt` under way to its next stage (`upstream`, `deliver`).
//!   The one way back is from an attempt's end to `upstream_peer`.
//! - `fail_to_proxy`, `logging`: how the request ends, and its record (`ending`).
//!
//! What is known of a request stands in its `exchange`: what came with it, what it asks, how far it is, what went out.

pub(crate) mod admission;
mod announce;
mod attempt;
mod body;
pub(crate) mod body_memory;
mod call;
pub(crate) mod connection;
pub(crate) mod connector;
mod deliver;
mod downstream;
pub(crate) mod drain;
mod ending;
mod exchange;
mod gateway;
mod half_closed;
pub(crate) mod health;
mod identify;
mod intake;
mod metering;
pub(crate) mod model_backend;
mod named_deployments;
mod prompt_tokens;
mod realtime;
mod reply;
mod request_id;
mod response_head;
mod session;
pub(crate) mod stream_delegate;
mod upstream;
mod walk;

use std::{os::fd::RawFd, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::{
    Error, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::telemetry::record::AnswerEnd;
pub(crate) use downstream::KEEP_ALIVE;
use exchange::{Exchange, Stage};
pub use gateway::Gateway;
use intake::IntakeVerdict;

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
        downstream::prepare(session, self.write_timeout);
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Self::CTX,
    ) -> Result<bool> {
        match intake::admit(self, session, exchange).await {
            Ok(IntakeVerdict::Forward(admitted)) => {
                session::wrap(session, &admitted.walk.call.relay);
                exchange.stage = Stage::Admitted(admitted);
                Ok(false)
            }
            Ok(IntakeVerdict::Answer(reply)) => ending::answer(session, exchange, reply).await,
            Err(refusal) => ending::refuse(session, exchange, refusal).await,
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        exchange: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        upstream::next_peer(exchange.forwarded()?).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        match exchange.proxied() {
            Some(it) => upstream::no_connection(it, error),
            None => error,
        }
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
        upstream::connected(exchange.forwarded()?, connector::cork::find(connection));
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        upstream::send(exchange.forwarded()?, request)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> Result<()> {
        upstream::response(self, exchange.forwarded()?, head)
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
        let version = session.req_header().version;
        response_head::finish(head, exchange.arrival.origin.as_deref(), version)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        if let Some(it) = exchange.proxied() {
            deliver::piece(it, body, end)?;
        }
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
        match exchange.proxied() {
            Some(it) => upstream::failure(it, error, reused, answered),
            None => error,
        }
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
        if record.end == AnswerEnd::ClientLeft && self.drain.is_cut() {
            record.end = AnswerEnd::Broken;
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
