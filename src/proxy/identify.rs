//! Who calls: from what a request and its connection show to the client they belong to.

use std::{sync::Arc, time::SystemTime};

use http::HeaderMap;
use pingora_proxy::Session;

use super::gateway::Gateway;
use crate::{
    domain::{
        client::{
            Client, Clients,
            certificate::{Certificate, Rejected},
            credential::Credential,
        },
        cors,
        refusal::Refusal,
    },
    oidc::NotIdentified,
};

/// What a request shows of who sends it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) headers: &'a HeaderMap,
    /// That of a WebSocket's upgrade; `None` for every other request.
    pub(super) query: Option<&'a str>,
    /// What its connection was opened with.
    pub(super) certificate: Option<&'a Certificate>,
    /// Whom it means.
    pub(super) host: Option<&'a str>,
    /// It comes from a page that may ask, by the operator's word.
    pub(super) may_browse: bool,
}

impl Shown<'_> {
    /// Where nothing but what a browser sends by itself proves the client: that a page of elsewhere has not sent it.
    fn by_itself(&self) -> Result<(), Refusal> {
        if !self.may_browse && cors::is_foreign(self.headers, self.host) {
            Err(Refusal::ForeignOrigin)
        } else {
            Ok(())
        }
    }
}

/// What the request's connection was opened with; it was read when the handshake was done.
pub(super) fn certificate(session: &Session) -> Option<&Certificate> {
    let tls = session.digest()?.ssl_digest.as_ref()?;
    tls.extension.get()
}

/// Who calls. Whatever is shown has to be the same client's.
pub(super) async fn identify(gateway: &Gateway, shown: Shown<'_>) -> Result<Arc<Client>, Refusal> {
    if let Clients::Anyone(client) = &gateway.clients {
        shown.by_itself()?;
        return Ok(Arc::clone(client));
    }
    let Some(certificate) = shown.certificate else {
        return by_credential(gateway, shown).await;
    };
    let bearer = gateway
        .clients
        .by_certificate(certificate, SystemTime::now())
        .map_err(|rejected| match rejected {
            Rejected::Ambiguous => Refusal::AmbiguousCredential,
            Rejected::Ended => Refusal::EndedCertificate,
        })?;
    match (bearer, by_credential(gateway, shown).await) {
        (Some(bearer), Err(Refusal::NoCredential)) => {
            shown.by_itself()?;
            Ok(Arc::clone(bearer))
        }
        (None, Err(Refusal::NoCredential)) => Err(Refusal::UnknownCertificate),
        (Some(bearer), Ok(client)) if bearer.name != client.name => {
            Err(Refusal::AmbiguousCredential)
        }
        // Where the certificate is nobody's, it has only opened the connection.
        (_, client) => client,
    }
}

/// By a key or a token.
async fn by_credential(gateway: &Gateway, shown: Shown<'_>) -> Result<Arc<Client>, Refusal> {
    let credential = Credential::from_request(shown.headers, shown.query)?;
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
