//! Realtime sessions: a WebSocket's handshake is a request like any other until a deployment has said 101, and from then
//! on bytes that pass both ways as they are.

use http::header;
use pingora::{
    Result as PingoraResult, http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer,
};

use crate::domain::{deployment::Bounds, realtime, refusal::Refusal};

/// Tells the connections of sessions from those of other requests: over these nobody offers HTTP/2.
const GROUP: u64 = 1 << 63;

/// Makes sure that a request opens a WebSocket, and gives its query.
pub(super) fn handshake(head: &RequestHeader) -> Result<&str, Refusal> {
    if realtime::is_handshake(head.version, &head.headers) {
        Ok(head.uri.query().unwrap_or_default())
    } else {
        Err(Refusal::NotAWebSocket)
    }
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
