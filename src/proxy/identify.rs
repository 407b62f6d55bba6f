//! Who calls: from what a request shows to the client it belongs to.

use std::sync::Arc;

use http::HeaderMap;

use crate::domain::{
    client::{Client, Clients, credential::Credential},
    refusal::Refusal,
};

/// Who calls. `query` is that of a WebSocket's upgrade; `None` for every other request.
pub(super) async fn identify(
    clients: &Clients,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Arc<Client>, Refusal> {
    if let Clients::Anyone(client) = clients {
        return Ok(Arc::clone(client));
    }
    let credential = Credential::of(headers, query)?;
    let found = clients.by_key(credential.as_bytes());
    found.cloned().ok_or(Refusal::UnknownKey)
}
