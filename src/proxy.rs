//! With `app.rs` all that knows Pingora. This page is the table of contents of a request's life.

mod body;
mod exchange;
mod forward;
mod intake;
mod observe;
pub(crate) mod reach;
mod reply;
pub(crate) mod served;
mod session;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::http::HttpTask,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::{
    domain::{
        client::Clients, deployment::Bounds, name::ModelName, refusal::Refusal, route::Operation,
    },
    telemetry::{
        access_log::AccessLog,
        metrics::Metrics,
        record::{End, Record},
    },
};
use exchange::{Exchange, Stage};
use intake::Verdict;
use reply::Reply;
use served::Served;

/// How long a client's unused connection is kept: longer than Front Door's 90 s, so that the end that may send
/// the next request is the end that closes.
const KEEP_ALIVE_SECONDS: u64 = 120;
/// How long what is left of a refused request's body is read past, so that its connection stays usable.
const DRAIN_BODY: Duration = Duration::from_secs(5);
/// Between the last event of a broken HTTP/2 stream and its reset: the connection's own task has to send the event,
/// and a client that finds both in one read may drop it for the reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// The gateway as Pingora's proxy.
pub struct Gateway {
    pub(crate) models: HashMap<ModelName, Arc<Served>>,
    pub(crate) clients: Clients,
    pub(crate) bounds: Bounds,
    /// Of a request's line and headers together, in bytes.
    pub(crate) max_headers: usize,
    /// For a request's body to arrive.
    pub(crate) body_timeout: Duration,
    pub(crate) reveal: bool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Arc<AccessLog>,
    pub(crate) drain: Arc<Drain>,
    /// Seconds since 1970, when the gateway started.
    pub(crate) started: u64,
}

/// How far the gateway's life has come, and whom it still serves.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    open: AtomicBool,
    draining: AtomicBool,
    inflight: AtomicU64,
}

impl Drain {
    /// The listeners answer.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Requests being served.
    pub(crate) fn inflight(&self) -> u64 {
        self.inflight.load(Ordering::Acquire)
    }

    fn enter(self: &Arc<Self>) -> Guest {
        self.inflight.fetch_add(1, Ordering::AcqRel);
        Guest(Arc::clone(self))
    }
}

/// One request being served, for as long as this lives.
pub(crate) struct Guest(Arc<Drain>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new()
    }

    /// None: every module would be asked about every chunk.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.guest = Some((self.drain.enter(), self.metrics.enter()));
        let downstream = &mut session.downstream_session;
        downstream.set_pipelining_enabled(true);
        downstream.set_total_drain_timeout(Some(DRAIN_BODY));
        // A refusal may come before the body has; what is left of it is read past.
        downstream.set_close_on_response_before_downstream_finish(false);
        // Not where the client or the end of the gateway has said that this request is the connection's last.
        if downstream.get_keepalive().is_some() {
            downstream.set_keepalive(Some(KEEP_ALIVE_SECONDS));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        match intake::admit(self, session, exchange).await {
            Ok(Verdict::Forward(admitted)) => {
                session::wrap(session, &admitted.relay);
                exchange.stage = Stage::Admitted(admitted);
                Ok(false)
            }
            Ok(Verdict::Answer(reply)) => self.answer(session, exchange, reply).await,
            Err(refusal) => {
                let reply = Reply::refusal(&refusal);
                exchange.refusal = Some(refusal);
                self.answer(session, exchange, reply).await
            }
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        forward::next_peer(exchange).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        error: Box<Error>,
    ) -> Box<Error> {
        observe::no_connection(exchange, error)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        forward::rewrite(exchange, request)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        observe::response(exchange, head, self.reveal)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        _exchange: &mut Exchange,
    ) -> Result<()> {
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
        _end: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if let Some(piece) = body.as_ref().filter(|piece| !piece.is_empty()) {
            exchange.response_bytes += piece.len() as u64;
            exchange
                .first_byte
                .get_or_insert_with(|| exchange.arrived.elapsed());
        }
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let answered = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
        observe::failure(exchange, error, reused, answered)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        self.unwrap(session, exchange);
        let code = match session.response_written().map(|head| head.status) {
            Some(status) if !status.is_informational() => {
                self.end_broken_stream(session, exchange).await;
                status.as_u16()
            }
            _ if error.esource() == &ErrorSource::Downstream && exchange.refusal.is_none() => {
                exchange.end = End::ClientLeft;
                0
            }
            _ => self.refuse_late(session, exchange, error).await,
        };
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        self.unwrap(session, exchange);
        if error.is_some_and(|error| error.esource() == &ErrorSource::Downstream) {
            exchange.end = End::ClientLeft;
        }
        let record = record(session, exchange);
        self.metrics.account(&record);
        self.access_log.write(record);
    }

    /// Every attempt is in the record; a line each would say it twice.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Exchange,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }
}

impl Gateway {
    /// `Ok(true)`: it goes no further.
    async fn answer(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        reply: Reply,
    ) -> Result<bool> {
        exchange.stage = Stage::Answered;
        exchange.response_bytes = reply.send(session, &exchange.request_id).await?;
        Ok(true)
    }

    /// A refusal after attempts were made. The connection ends with it: Pingora keeps none past a failed attempt.
    async fn refuse_late(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        error: &Error,
    ) -> u16 {
        if exchange.refusal.is_none() {
            tracing::error!(request_id = %exchange.request_id, %error, "a request failed in the gateway");
        }
        let refusal = exchange.refusal.get_or_insert(Refusal::Internal);
        let (status, reply) = (refusal.status().as_u16(), Reply::refusal(refusal));
        session.set_keepalive(None);
        match reply.send(session, &exchange.request_id).await {
            Ok(sent) => exchange.response_bytes = sent,
            Err(_) => exchange.end = End::ClientLeft,
        }
        status
    }

    /// A stream that broke gets an event that says so, and is then cut off: many clients take any clean end for
    /// success, and some read no error events (CLIENTS.md 4). Any other answer is cut off as it is.
    async fn end_broken_stream(&self, session: &mut Session, exchange: &Exchange) {
        let is_events = |head: &ResponseHeader| {
            let kind = head
                .headers
                .get(header::CONTENT_TYPE)
                .map(|kind| kind.as_bytes());
            kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"))
        };
        if exchange.end == End::Broken && session.response_written().is_some_and(is_events) {
            let event = reply::broken_stream(exchange.operation == Some(Operation::Responses));
            // The failure behind it makes Pingora send what it has, and not end the transfer.
            let broken = HttpTask::Failed(Error::new(ErrorType::InternalError));
            let tasks = vec![HttpTask::Body(Some(event), false), broken];
            let _ = session.as_mut().response_duplex_vec(tasks).await;
            if session.downstream_session.is_http2() {
                tokio::time::sleep(BEFORE_RESET).await;
            }
        }
    }

    fn unwrap(&self, session: &mut Session, exchange: &mut Exchange) {
        if let Some(admitted) = exchange.admitted() {
            session::unwrap(session, &admitted.relay);
        }
    }
}

fn record(session: &Session, exchange: &mut Exchange) -> Record {
    let head = session.req_header();
    let model = exchange
        .admitted()
        .map(|admitted| (admitted.served.pool.model().clone(), admitted.ask.stream));
    let status = session
        .response_written()
        .map(|head| head.status.as_u16())
        .filter(|status| *status >= 200);
    Record {
        arrived: exchange.arrived_at,
        request_id: Arc::clone(&exchange.request_id),
        client: exchange.client.as_ref().map(|client| client.name.clone()),
        stream: model.as_ref().is_some_and(|(_, stream)| *stream),
        model: model.map(|(model, _)| model),
        operation: exchange.operation.map(Operation::path).unwrap_or_default(),
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        version: head.version,
        address: session
            .client_addr()
            .and_then(|address| address.as_inet())
            .map(|address| address.ip()),
        attempts: std::mem::take(&mut exchange.attempts),
        refusal: exchange.refusal.as_ref().map(Refusal::reason),
        status,
        end: if status.is_none() {
            End::ClientLeft
        } else {
            exchange.end
        },
        request_bytes: exchange.request_bytes,
        response_bytes: exchange.response_bytes,
        time_to_first_byte: exchange.first_byte,
        duration: exchange.arrived.elapsed(),
        overhead: Some(exchange.overhead()),
    }
}
