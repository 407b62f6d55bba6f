//! A client's connection, as each request on it sees it.

use std::{net::IpAddr, time::Duration};

use http::Version;
use pingora_proxy::Session;

/// How long a client's unused connection is kept: longer than Front Door's 90 s, so that the end that may send
/// the next request is the end that closes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How long what a client still sends of a request that is answered already is read past: so that its connection stays
/// usable, or, where it ends with the answer, that no reset takes the answer with it.
pub(super) const DRAIN_BODY: Duration = Duration::from_secs(5);

/// Sets a request's session up, before anything of it is looked at.
pub(super) fn prepare(session: &mut Session, write_timeout: Duration) {
    let downstream = &mut session.downstream_session;
    downstream.set_pipelining_enabled(true);
    downstream.set_total_drain_timeout(Some(DRAIN_BODY));
    if downstream.is_http2() {
        // Its stream's window may be closed while the connection moves; over HTTP/1.1 the system watches.
        downstream.set_write_timeout(Some(write_timeout));
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
}

/// Whose end of the connection it is; an IPv4 address that came over IPv6 as what it is.
pub(super) fn connection_address(session: &Session) -> Option<IpAddr> {
    let address = session.client_addr()?.as_inet()?;
    Some(address.ip().to_canonical())
}
