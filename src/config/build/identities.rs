//! `identities:`: each with exactly one proof.

use std::sync::Arc;

use super::known::Known;
use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{Named, Reader, Required},
        value::Url,
    },
    domain::identity::{Identity, Proof},
};

pub(super) fn identities(
    raw: Required<Named<Placed<raw::Identity>>>,
    reader: &mut Reader<'_>,
) -> Known<Arc<Identity>> {
    Known::build("identity", raw, reader, |name, raw, reader| {
        let identity = Identity {
            name: name.value.as_str().into(),
            proof: proof(raw, reader)?,
        };
        Some(Arc::new(identity))
    })
}

fn proof(
    Placed { place, value: raw }: Placed<raw::Identity>,
    reader: &mut Reader<'_>,
) -> Option<Proof> {
    // What was written but could not be read has been reported already, so it counts as written.
    let proofs = [
        raw.managed_identity.map(|raw| managed(raw.0?, reader)),
        raw.workload_identity.map(|raw| workload(raw.0?, reader)),
        raw.client_secret.map(|raw| client_secret(raw.0?, reader)),
        raw.api_key.map(|key| Some(Proof::ApiKey(key.0?.0))),
    ];
    let mut given = proofs.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(proof), None) => proof,
        _ => one_proof(place, reader),
    }
}

fn one_proof(place: Place, reader: &mut Reader<'_>) -> Option<Proof> {
    let message = "an identity has exactly one of managed_identity, workload_identity, client_secret, api_key";
    reader.problem(place, message);
    None
}

fn managed(raw: raw::ManagedIdentity, reader: &mut Reader<'_>) -> Option<Proof> {
    Some(Proof::ManagedIdentity {
        client_id: raw.client_id.map(|id| id.0),
        endpoint: raw.endpoint.and_then(|url| origin(url, true, reader)),
    })
}

fn workload(raw: raw::WorkloadIdentity, reader: &mut Reader<'_>) -> Option<Proof> {
    Some(Proof::WorkloadIdentity {
        tenant_id: raw.tenant_id.map(|id| id.0),
        client_id: raw.client_id.map(|id| id.0),
        token_file: raw.token_file.map(|file| file.0),
        authority: raw.authority.and_then(|url| origin(url, false, reader)),
    })
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
