//! Serves the admin pages on their own listener.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use async_trait::async_trait;
use http::{HeaderMap, Response, StatusCode, Version, header};
use parking_lot::Mutex;
use pingora::{
    apps::http_app::{HttpServer, ServeHttp},
    http::RequestHeader,
    protocols::http::ServerSession,
};

use super::{
    listener::{Listening, Port},
    parts::Parts,
};
use crate::{
    admin::{
        Admin, Asked, IdentityState, IssuerState, ListenerState, Page, Phase,
        access::{Access, Visit},
        refused,
    },
    domain::head,
    identity::Credential,
    oidc::JwksCache,
    proxy::{admission::moment, connection::ConnectionGuard},
    telemetry::traffic_rates::TrafficRates,
};

/// What it shows of these parts and the clients' ports.
pub(super) fn page(parts: &Parts, ports: &[Port], rates: &Arc<TrafficRates>) -> Admin {
    let (identities, drain) = (Arc::clone(&parts.identities), Arc::clone(&parts.drain));
    let (issuers, checks) = (Arc::clone(&parts.issuers), Arc::clone(&parts.issuers));
    let (quotas, health) = (Arc::clone(&parts.quotas), Arc::clone(&parts.health));
    let ports: Vec<_> = ports.iter().map(listener).collect();
    Admin {
        host: machine(),
        metrics: Arc::clone(&parts.telemetry.metrics),
        pools: parts.pools(),
        rates: Arc::clone(rates),
        failovers: Arc::clone(&parts.telemetry.failovers),
        identities: Box::new(move || {
            let credentials = identities.credentials().iter();
            credentials.map(|it| identity_state(it)).collect()
        }),
        issuers: Box::new(move || issuers.caches().iter().map(|it| issuer_state(it)).collect()),
        token_checks: Box::new(move || checks.checked()),
        listeners: Box::new(move || ports.iter().map(|state| state()).collect()),
        limits: Box::new(move || quotas.report(moment())),
        phase: Box::new(move || match (drain.is_draining(), drain.is_open()) {
            (true, _) => Phase::Draining,
            (false, true) => Phase::Serving,
            (false, false) => Phase::Starting,
        }),
        health: Box::new(move || health.look(Instant::now())),
        started: Instant::now(),
        refreshing: Mutex::default(),
    }
}

/// The machine's name; empty where it has none.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// How a port stands, whenever that is asked.
fn listener(port: &Port) -> impl Fn() -> ListenerState + Send + Sync + use<> {
    let (address, tls) = (port.address, port.tls.clone());
    let connection_limit = Arc::clone(&port.connection_limit);
    move || {
        let report = tls.as_ref().map(|tls| tls.report());
        ListenerState {
            address,
            connections: connection_limit.taken(),
            certificate: report.as_ref().and_then(|it| it.validity),
            certificate_error: report.and_then(|it| it.error),
        }
    }
}

pub(super) fn service(
    page: Arc<Admin>,
    parts: &Parts,
    port: Port,
) -> Listening<ConnectionGuard<HttpServer<AdminApp>>> {
    let address = port.address;
    let admin = parts.plan.admin.as_ref();
    let token = admin.and_then(|admin| admin.token);
    let operators = admin.map(|admin| admin.operators.clone());
    let access = Access::new(address, token, operators.unwrap_or_default());
    let max_headers = parts.plan.server.max_headers;
    let app = HttpServer::new_app(AdminApp {
        page,
        access,
        max_headers,
    });
    Listening::new(
        "admin",
        ConnectionGuard::new(app, parts.rules(None)),
        vec![port],
    )
}

fn identity_state(credential: &Credential) -> IdentityState {
    let state = credential.state();
    IdentityState {
        identity: state.identity,
        kind: state.kind,
        source: state.source,
        asked_at: state.asked_at,
        instances: state.instances,
        scope: state.scope,
        ready: credential.header(SystemTime::now()).is_some(),
        expires_on: state.expires_on,
        failures: state.failures,
        last_error: state.last_error,
    }
}

fn issuer_state(cache: &JwksCache) -> IssuerState {
    let state = cache.state();
    IssuerState {
        issuer: state.issuer,
        url: state.url,
        keys: state.keys,
        fetched_at: state.fetched_at,
        fetches: state.fetches,
        failures: state.failures,
        last_error: state.last_error,
    }
}

/// The admin page as Pingora serves it.
pub(super) struct AdminApp {
    page: Arc<Admin>,
    access: Access,
    /// Of a request's head, in bytes.
    max_headers: usize,
}

impl AdminApp {
    fn page(&self, head: &RequestHeader, visit: &Visit<'_>) -> Page {
        // Over HTTP/1 `connection` has judged it.
        if head.version == Version::HTTP_2
            && let Err(refusal) = head::check(
                &head.method,
                head.raw_path(),
                &head.headers,
                self.max_headers,
            )
        {
            return refused(&refusal);
        }
        if let Err(denied) = self.access.judge(visit, SystemTime::now()) {
            return denied.page();
        }
        self.page.page(&Asked {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            known: only(&head.headers, &header::IF_NONE_MATCH),
        })
    }
}

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let certificate = session
            .digest()
            .and_then(|digest| digest.ssl_digest.as_ref()?.extension.get());
        let head = session.req_header();
        let visit = Visit {
            path: head.uri.path(),
            host: host(&head.headers).or_else(|| head.uri.host().map(str::as_bytes)),
            authorization: only(&head.headers, &header::AUTHORIZATION),
            certificate,
        };
        let page = self.page(head, &visit);
        let length = page.body.len();
        let body = if head.method == http::Method::HEAD {
            Vec::new()
        } else {
            page.body
        };
        let mut response = Response::new(body);
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        let text = header::HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, text(page.content_type));
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::CACHE_CONTROL, text("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, text("nosniff"));
        for (name, value) in page.headers {
            headers.insert(name, value);
        }
        if page.status == StatusCode::NOT_MODIFIED {
            // It would be the length of what is not sent.
            headers.remove(header::CONTENT_LENGTH);
        }
        if page.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, text("Bearer realm=\"forebay\""));
        }
        response
    }
}

fn host(headers: &HeaderMap) -> Option<&[u8]> {
    only(headers, &header::HOST)
}

/// The header's value, where it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}
