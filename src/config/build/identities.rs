//! `identities:`: each with exactly one proof.

use std::sync::Arc;

use super::known::Known;
use crate::{
    config::{
        problem::Placed,
        raw,
        read::{Named, Reader},
        section::{OnlyOne, Required},
        value::Url,
    },
    domain::identity::{Identity, Proof},
};

pub(super) fn identities(
    raw: Required<Named<OnlyOne<raw::Identity>>>,
    reader: &mut Reader<'_>,
) -> Known<Arc<Identity>> {
    Known::build("identity", raw, reader, |name, raw, reader| {
        let identity = Identity {
            name: name.value.as_str().into(),
            proof: proof(raw.0, reader)?,
        };
        Some(Arc::new(identity))
    })
}

fn proof(raw: raw::Identity, reader: &mut Reader<'_>) -> Option<Proof> {
    let managed = raw.managed_identity.map(|raw| managed(raw, reader));
    let workload = raw.workload_identity.map(|raw| workload(raw, reader));
    let secret = raw.client_secret.and_then(|raw| client_secret(raw, reader));
    let key = raw.api_key.map(|key| Proof::ApiKey(key.0));
    managed.or(workload).or(secret).or(key)
}

fn managed(raw: raw::ManagedIdentity, reader: &mut Reader<'_>) -> Proof {
    Proof::ManagedIdentity {
        client_id: raw.client_id.map(|id| id.0),
        endpoint: raw.endpoint.and_then(|url| origin(url, true, reader)),
    }
}

fn workload(raw: raw::WorkloadIdentity, reader: &mut Reader<'_>) -> Proof {
    Proof::WorkloadIdentity {
        tenant_id: raw.tenant_id.map(|id| id.0),
        client_id: raw.client_id.map(|id| id.0),
        token_file: raw.token_file.map(|file| file.0),
        authority: raw.authority.and_then(|url| origin(url, false, reader)),
    }
}

fn client_secret(raw: raw::ClientSecret, reader: &mut Reader<'_>) -> Option<Proof> {
    let authority = raw.authority.and_then(|url| origin(url, false, reader));
    Some(Proof::ClientSecret {
        tenant_id: raw.tenant_id.0?.0,
        client_id: raw.client_id.0?.0,
        secret: raw.secret.0?.0,
        authority,
    })
}

/// Scheme, host and port. A VM's own endpoint speaks HTTP; a token authority must not, but on loopback.
fn origin(url: Placed<Url>, plain: bool, reader: &mut Reader<'_>) -> Option<String> {
    let endpoint = &url.value.0;
    if !endpoint.base_path().is_empty() {
        reader.problem(
            url.place,
            "this is only scheme, host and port; take out the path",
        );
    }
    if !plain && !endpoint.tls() && !endpoint.is_loopback() {
        reader.problem(
            url.place,
            "credentials go to this address, so it is https://",
        );
    }
    Some(endpoint.to_string())
}
