//! Who calls: from what a request shows to the client it belongs to.

use std::sync::Arc;

use http::HeaderMap;

use super::Gateway;
use crate::{
    domain::{
        client::{Client, Clients, credential::Credential},
        refusal::Refusal,
    },
    entra::NotIdentified,
};

/// Who calls. `query` is that of a WebSocket's upgrade; `None` for every other request.
pub(super) async fn identify(
    gateway: &Gateway,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Arc<Client>, Refusal> {
    if let Clients::Anyone(client) = &gateway.clients {
        return Ok(Arc::clone(client));
    }
    let credential = Credential::of(headers, query)?;
    if gateway.issuers.are_there() && credential.is_token() {
        let found = gateway.issuers.identify(credential.as_bytes()).await;
        return found.map_err(|why| match why {
            NotIdentified::Rejected(rejection) => Refusal::InvalidToken(rejection),
            NotIdentified::NoKeysYet => Refusal::UncheckedToken,
        });
    }
    let found = gateway.clients.by_key(credential.as_bytes());
    found.cloned().ok_or(Refusal::UnknownKey)
}
