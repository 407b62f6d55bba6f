//! Where connections come in, before Pingora: each head over HTTP/1 is read here, within its time and its limits, and
//! judged by [`crate::domain::head`] before anything else reads it. Pingora's own reader takes what is ambiguous, waits
//! without end, and answers in words of its own; here every head that is refused is answered, logged and counted as any
//! request is, and its connection ends, since where the next request would start can't be trusted.
//!
//! HTTP/2 says of each frame where it ends, and its implementation refuses what is malformed by resetting the stream.
//! Its heads get their time here, and are judged at the intake like any. A request that Pingora refuses for its host, with
//! a bare 400, is answered, logged and counted in place of that.

mod frames;
mod guarded_stream;
mod host_refusal;
mod send_window;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use http::{Method, Version};
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp},
    protocols::{
        ALPN, GetSocketDigest, Ssl, Stream,
        http::{ServerSession, v2::server::H2Options},
    },
    server::ShutdownWatch,
};
use tokio::{io::AsyncWriteExt, time::timeout};

use self::{frames::PREFACE, guarded_stream::GuardedStream, send_window::SendWindow};
use super::{downstream::KEEP_ALIVE, drain::Drain, reply::Reply, request_id::request_id};
use crate::{
    domain::{
        head::{self, Head, Search},
        refusal::Refusal,
    },
    telemetry::{
        Telemetry,
        record::{AnswerEnd, Record},
    },
};

/// For a refusal to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// What stands before a listener: the clients' and the operators' alike.
pub(crate) struct ConnectionGuard<A> {
    app: Arc<A>,
    http2: Arc<Http2<A>>,
    rules: Arc<Rules>,
}

/// What connections are judged by, and where it is said what was turned away.
pub(crate) struct Rules {
    /// Of a head, in bytes.
    pub(crate) max_headers: usize,
    /// For a head to arrive, from its first byte on; a new connection's first byte has as long.
    pub(crate) header_timeout: Duration,
    /// How long a client may leave unread what is written to it.
    pub(crate) write_timeout: Duration,
    /// `None`: it is nothing of a client's, and only answered.
    pub(crate) books: Option<Reporting>,
}

/// Where a request that was turned away is written down as any other is, and counted while it is served.
pub(crate) struct Reporting {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) drain: Arc<Drain>,
}

impl Reporting {
    fn enter(&self) -> impl Sized {
        (self.drain.enter(), self.telemetry.metrics.enter())
    }
}

/// What comes next on a connection.
enum Next {
    Request(BytesMut, Head),
    Http2,
    /// Nothing more.
    AnswerEnd,
}

impl<A: HttpServerApp + Send + Sync + 'static> ConnectionGuard<A> {
    pub(crate) fn new(app: A, rules: Rules) -> Self {
        let (app, rules) = (Arc::new(app), Arc::new(rules));
        Self {
            http2: Arc::new(Http2(Arc::clone(&app), Arc::clone(&rules))),
            app,
            rules,
        }
    }

    async fn serve_http1(&self, mut stream: GuardedStream, shutdown: &ShutdownWatch) {
        let (mut is_first, mut settings) = (true, None);
        loop {
            let next = match self.rules.next(&mut stream, is_first, shutdown).await {
                Ok(next) => next,
                Err(refused) => return self.rules.refuse(stream, refused).await,
            };
            match next {
                Next::AnswerEnd => return,
                Next::Http2 => return self.serve_http2(stream, shutdown).await,
                Next::Request(bytes, head) => {
                    stream.admit(&head);
                    let session = session(stream, bytes, settings.take(), *shutdown.borrow());
                    let reused = self.app.process_new_http(session, shutdown).await;
                    let Some((left, kept)) = reused.and_then(taken_back) else {
                        return;
                    };
                    (stream, settings) = (left, kept);
                }
            }
            is_first = false;
        }
    }

    async fn serve_http2(&self, mut stream: GuardedStream, shutdown: &ShutdownWatch) {
        let (rules, address) = (Arc::clone(&self.rules), peer(&stream));
        let answer =
            move |frame: &[u8], window: &mut SendWindow| rules.refuse_host(address, frame, window);
        stream.admit_http2(self.rules.header_timeout, Box::new(answer));
        self.http2.process_new(Box::new(stream), shutdown).await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for ConnectionGuard<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let stream = GuardedStream::new(stream);
        match stream.selected_alpn_proto() {
            Some(ALPN::H2) => self.serve_http2(stream, shutdown).await,
            _ => self.serve_http1(stream, shutdown).await,
        }
        None
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

/// The session of one request, whose head Pingora finds read already.
fn session(
    stream: GuardedStream,
    head: BytesMut,
    settings: Option<HttpPersistentSettings>,
    is_shutting_down: bool,
) -> ServerSession {
    let mut session = ServerSession::new_http1(Box::new(stream));
    session.set_keepalive(Some(KEEP_ALIVE.as_secs()));
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    if is_shutting_down {
        session.set_keepalive(None);
    }
    session.set_pipelined_prefix(head);
    session
}

/// The connection after a request, if another may follow.
fn taken_back(reused: ReusedHttpStream) -> Option<(GuardedStream, Option<HttpPersistentSettings>)> {
    let (stream, settings) = reused.consume();
    let mut stream = *stream.into_any().downcast::<GuardedStream>().ok()?;
    if stream.held.is_empty() {
        // Who waits holds no room for what may come.
        stream.held = BytesMut::new();
    }
    stream.is_between_requests().then_some((stream, settings))
}

/// A head that was refused, and since when it came.
struct Refused {
    refusal: Refusal,
    since: (Instant, SystemTime),
}

impl Rules {
    async fn next(
        &self,
        stream: &mut GuardedStream,
        is_first: bool,
        shutdown: &ShutdownWatch,
    ) -> Result<Next, Refused> {
        let patience = if is_first {
            self.header_timeout
        } else {
            KEEP_ALIVE
        };
        if stream.held.is_empty() && !begins(stream, patience, shutdown).await {
            return Ok(Next::AnswerEnd);
        }
        let since = (Instant::now(), SystemTime::now());
        let may_be_http2 = is_first && stream.get_ssl_digest().is_none();
        let read = timeout(self.header_timeout, self.read(stream, may_be_http2))
            .await
            .unwrap_or(Err(Refusal::HeadTooSlow));
        read.map_err(|refusal| Refused { refusal, since })
    }

    async fn read(&self, stream: &mut GuardedStream, may_be_http2: bool) -> Result<Next, Refusal> {
        let mut search = Search::default();
        let mut may_skip = true;
        loop {
            if may_skip && stream.held.starts_with(b"\r\n") {
                // Some old clients end a body so (RFC 9112, 2.2).
                stream.held.advance(2);
                (search, may_skip) = (Search::default(), false);
            }
            let held = &stream.held;
            if may_be_http2 && held.starts_with(PREFACE) {
                return Ok(Next::Http2);
            }
            let is_open = may_be_http2 && PREFACE.starts_with(held);
            if !is_open && let Some(end) = search.end(held, self.max_headers)? {
                let head = head::read(&held[..end], self.max_headers)?;
                return Ok(Next::Request(stream.held.split_to(end), head));
            }
            match stream.read_more().await {
                Ok(0) if stream.held.is_empty() => return Ok(Next::AnswerEnd),
                Ok(0) => return Err(Refusal::MalformedRequest),
                Ok(_) => {}
                Err(_) => return Ok(Next::AnswerEnd),
            }
        }
    }

    /// Answers a head that was refused, writes it down, and ends its connection.
    async fn refuse(&self, mut stream: GuardedStream, refused: Refused) {
        let _guest = self.books.as_ref().map(Reporting::enter);
        let id = request_id();
        let (answer, body) = Reply::refusal(&refused.refusal).wire(&id);
        let sent = timeout(FAREWELL, async {
            stream.write_all(&answer).await?;
            stream.flush().await
        });
        let sent = matches!(sent.await, Ok(Ok(()))).then_some(body as u64);
        let address = peer(&stream);
        let (method, path) = head::glimpse(&stream.held).unzip();
        self.write_down(Record {
            method,
            path,
            ..record(refused, id, address, sent)
        });
        stream.part().await;
    }

    /// The same for a tunnel that was asked for over HTTP/2, whose connection goes on.
    async fn refuse_tunnel(&self, mut session: ServerSession) {
        let _guest = self.books.as_ref().map(Reporting::enter);
        let refused = Refused {
            refusal: Refusal::MethodNotAllowed { allow: "" },
            since: (Instant::now(), SystemTime::now()),
        };
        let id = request_id();
        session.set_write_timeout(Some(self.write_timeout));
        let sent = Reply::refusal(&refused.refusal)
            .send_over(&mut session, &id)
            .await;
        let address = session.client_addr().and_then(|address| address.as_inet());
        self.write_down(Record {
            method: Some(Method::CONNECT),
            version: Version::HTTP_2,
            ..record(refused, id, address.map(|address| address.ip()), sent.ok())
        });
    }

    /// The same for a request over HTTP/2 that Pingora refused for its host, by this frame: the answer in its place. Of the
    /// request no more is known here.
    fn refuse_host(
        &self,
        address: Option<IpAddr>,
        frame: &[u8],
        window: &mut SendWindow,
    ) -> Vec<u8> {
        let refused = Refused {
            refusal: Refusal::AmbiguousHost,
            since: (Instant::now(), SystemTime::now()),
        };
        let id = request_id();
        let (headers, body) =
            Reply::refusal(&refused.refusal)
                .parts(&id, refused.refusal.reason(), |bytes| window.spend(bytes));
        self.write_down(Record {
            version: Version::HTTP_2,
            ..record(refused, id, address, Some(body.len() as u64))
        });
        host_refusal::answer(frame, &headers, &body)
    }

    fn write_down(&self, record: Record) {
        match &self.books {
            Some(books) => books.telemetry.account(record),
            // Why, and not what: there may be a credential in what came.
            None => tracing::debug!(
                event = "admin_request_refused",
                reason = record.refusal,
                "a request to the admin listener was rejected"
            ),
        }
    }
}

fn peer(stream: &GuardedStream) -> Option<IpAddr> {
    let socket = stream.get_socket_digest()?;
    Some(socket.peer_addr()?.as_inet()?.ip())
}

/// `sent`: bytes of the answer's body, where the client got it.
fn record(refused: Refused, id: Arc<str>, address: Option<IpAddr>, sent: Option<u64>) -> Record {
    let (started, arrived) = refused.since;
    let address = address.map(|address| address.to_canonical());
    Record {
        arrived,
        request_id: id,
        trace: None,
        client: None,
        model: None,
        model_version: None,
        operation: "",
        stream: false,
        method: None,
        path: None,
        version: Version::HTTP_11,
        address,
        client_address: address,
        attempts: Vec::new(),
        refusal: Some(refused.refusal.reason()),
        detail: refused.refusal.detail(),
        out_of_budget: false,
        status: sent.map(|_| refused.refusal.status().as_u16()),
        end: match sent {
            Some(_) => AnswerEnd::Complete,
            None => AnswerEnd::ClientLeft,
        },
        unreplayable: false,
        usage: None,
        guess: None,
        cost: None,
        request_bytes: 0,
        response_bytes: sent.unwrap_or(0),
        time_to_first_byte: None,
        time_to_first_token: None,
        duration: started.elapsed(),
        overhead: None,
    }
}

/// Waits for the next request's first byte. `false`: there will be none.
async fn begins(stream: &mut GuardedStream, patience: Duration, shutdown: &ShutdownWatch) -> bool {
    let mut shutdown = shutdown.clone();
    tokio::select! {
        biased;
        read = timeout(patience, stream.read_more()) => matches!(read, Ok(Ok(1..))),
        _ = shutdown.wait_for(|is_shutting_down| *is_shutting_down) => false,
    }
}

/// HTTP/2 connections: Pingora's own way, but for a tunnel asked for, which Pingora would answer in words of its own.
struct Http2<A>(Arc<A>, Arc<Rules>);

/// A request being served, and its connection after it, if another may follow.
type Serving<'a> = Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'a>>;

impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Http2<A> {
    // Written out as `async_trait` would: what Pingora makes of a request is handed on as it is, not put in a second box.
    fn process_new_http<'app, 'watch, 'both>(
        self: &'app Arc<Self>,
        session: ServerSession,
        shutdown: &'watch ShutdownWatch,
    ) -> Serving<'both>
    where
        'app: 'both,
        'watch: 'both,
    {
        if session.req_header().method != Method::CONNECT {
            return self.0.process_new_http(session, shutdown);
        }
        Box::pin(async move {
            self.1.refuse_tunnel(session).await;
            None
        })
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }
}
