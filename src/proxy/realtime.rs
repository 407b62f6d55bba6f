//! Realtime sessions: a WebSocket's handshake is a request like any other until a deployment has said 101, and from then
//! on bytes that pass both ways as they are.

use std::sync::Arc;

use http::header;
use pingora::{
    Result as PingoraResult, http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer,
};
use pingora_proxy::Session;

use super::{
    admission,
    exchange::{Admitted, Exchange},
    gateway::Gateway,
    intake::{Verdict, forwarded, start},
    prompt::Prompt,
    session::Relay,
};
use crate::domain::{
    ask::Ask,
    client::Client,
    deployment::Bounds,
    failover::Repeat,
    pool::Suspicions,
    realtime,
    refusal::Refusal,
    route::{Dialect, Operation},
};

/// Tells the connections of sessions from those of other requests: over these nobody offers HTTP/2.
const GROUP: u64 = 1 << 63;

/// Makes sure that a request opens a WebSocket, and gives its query.
pub(super) fn handshake(head: &RequestHeader) -> Result<&str, Refusal> {
    match realtime::is_handshake(head.version, &head.headers) {
        true => Ok(head.uri.query().unwrap_or_default()),
        false => Err(Refusal::NotAWebSocket),
    }
}

/// Reads of which model a session is asked, and whether this client may.
pub(super) fn admit(
    gateway: &Gateway,
    session: &mut Session,
    exchange: &mut Exchange,
    client: &Client,
    dialect: Dialect,
) -> Result<Verdict, Refusal> {
    exchange.operation = Some(Operation::Realtime);
    client.operations.authorize(Operation::Realtime)?;
    let query = session.req_header().uri.query().unwrap_or_default();
    let asked = realtime::asked(query)?;
    let served = gateway.find(client, &asked.model)?;
    if asked.uses_state && !client.operations.stateful {
        return Err(Refusal::OperationNotAllowed { needs: "stateful" });
    }
    admission::enter(exchange, Some(served.pool.model()))?;
    let query = gateway.forwarding.query(Operation::Realtime, query)?;
    let progress = start(exchange, &served, Repeat::Harmless)?;
    // A client that takes nothing for so long is as good as gone.
    session.set_write_timeout(Some(served.bounds.idle_timeout));
    Ok(Verdict::Forward(Box::new(Admitted {
        served,
        call: (dialect, Operation::Realtime),
        query,
        headers: forwarded(gateway, session.req_header(), exchange.trace.as_deref()).headers,
        named: Vec::new(),
        ask: Ask::unread(),
        wanted: None,
        prompt: Prompt::none(),
        relay: Arc::new(Relay::tunnel()),
        progress,
        suspicions: Suspicions::default(),
        current: None,
    })))
}

/// What a session's connection has that others have not.
pub(super) fn prepare(peer: &mut HttpPeer, bounds: &Bounds) {
    peer.group_key ^= GROUP;
    peer.options.alpn = ALPN::H1;
    // While a write waits nothing else passes; a deployment that takes nothing for so long is gone.
    peer.options.write_timeout = Some(bounds.idle_timeout);
}

/// Makes a deployment's request the handshake that the client's was.
pub(super) fn ask(out: &mut RequestHeader, client: &RequestHeader) -> PingoraResult<()> {
    out.insert_header(header::CONNECTION, "Upgrade")?;
    out.insert_header(header::UPGRADE, "websocket")?;
    for name in [
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ] {
        for value in client.headers.get_all(&name) {
            out.append_header(name.clone(), value.clone())?;
        }
    }
    if let Some(protocols) = realtime::protocols(&client.headers) {
        out.insert_header(header::SEC_WEBSOCKET_PROTOCOL, protocols)?;
    }
    Ok(())
}
