//! `identities:`: each with exactly one proof.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use super::known::Known;
use crate::{
    config::{
        pem,
        problem::Placed,
        raw,
        read::{Named, Reader},
        section::{OnlyOne, Required},
        value::{FilePath, Url},
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
    let certificate = raw
        .client_certificate
        .and_then(|raw| client_certificate(raw, reader));
    let key = raw.api_key.map(|key| Proof::ApiKey(key.0));
    managed.or(workload).or(secret).or(certificate).or(key)
}

fn managed(raw: raw::ManagedIdentity, reader: &mut Reader<'_>) -> Proof {
    Proof::ManagedIdentity {
        client_id: raw.client_id.map(|id| id.0),
        endpoint: raw.endpoint.and_then(|url| origin(url, true, reader)),
        ca: authorities(raw.ca, reader),
    }
}

fn workload(raw: raw::WorkloadIdentity, reader: &mut Reader<'_>) -> Proof {
    Proof::WorkloadIdentity {
        tenant_id: raw.tenant_id.map(|id| id.0),
        client_id: raw.client_id.map(|id| id.0),
        token_file: raw.token_file.map(|file| file.0),
        authority: raw.authority.and_then(|url| origin(url, false, reader)),
        ca: authorities(raw.ca, reader),
    }
}

fn client_secret(raw: raw::ClientSecret, reader: &mut Reader<'_>) -> Option<Proof> {
    let authority = raw.authority.and_then(|url| origin(url, false, reader));
    let ca = authorities(raw.ca, reader);
    Some(Proof::ClientSecret {
        tenant_id: raw.tenant_id.0?.0,
        client_id: raw.client_id.0?.0,
        secret: raw.secret.0?.0,
        authority,
        ca,
    })
}

fn client_certificate(raw: raw::ClientCertificate, reader: &mut Reader<'_>) -> Option<Proof> {
    let authority = raw.authority.and_then(|url| origin(url, false, reader));
    let ca = authorities(raw.ca, reader);
    let files = raw
        .certificate
        .0
        .and_then(|file| pair(file, raw.key, reader));
    let (certificate, key) = files?;
    Some(Proof::ClientCertificate {
        tenant_id: raw.tenant_id.0?.0,
        client_id: raw.client_id.0?.0,
        certificate,
        key,
        authority,
        ca,
    })
}

/// A certificate and the key that goes with it, both of the one file unless another is named.
fn pair(
    certificate: Placed<FilePath>,
    key: Option<Placed<FilePath>>,
    reader: &mut Reader<'_>,
) -> Option<(PathBuf, PathBuf)> {
    let (place, path) = (certificate.place, certificate.value.0);
    let (key_place, key_path) = match key {
        Some(key) => (key.place, key.value.0),
        None => (place, path.clone()),
    };
    let chain = reader.take(place, pem::certificates(&path));
    let key = reader.take(key_place, pem::private_key(&key_path));
    let (chain, key) = (chain?, key?);
    if let Some(doubt) = reader.take(place, pem::validity(&chain, SystemTime::now()))? {
        // The certificate may be renewed at any time, and the other identities have nothing to do with it.
        reader.warn(place, doubt);
    }
    reader.take(key_place, pem::is_rsa(&key))?;
    reader.take(key_place, pem::belong_together(chain, key))?;
    Some((path, key_path))
}

/// A file of authorities that are trusted beside the system's.
fn authorities(file: Option<Placed<FilePath>>, reader: &mut Reader<'_>) -> Option<PathBuf> {
    let file = file?;
    reader.take(file.place, pem::authorities(&file.value.0))?;
    Some(file.value.0)
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
