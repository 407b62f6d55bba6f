//! `identities:`: each with exactly one kind of credential.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use super::{instances::authorities, known::Known};
use crate::{
    config::{
        pem,
        problem::Placed,
        raw,
        read::{Named, Reader, Tried},
        section::{OnlyOne, Required},
        value::{FilePath, Url, Word},
    },
    domain::{
        cloud::Cloud,
        identity::{AssignedId, Identity, Managed, Proof},
    },
};

pub(super) fn identities(
    raw: Required<Named<OnlyOne<raw::Identity>>>,
    is_server: bool,
    reader: &mut Reader<'_>,
) -> Known<Arc<Identity>> {
    Known::build("identity", raw, reader, |name, raw, reader| {
        if is_server && raw.0.azure_cli.is_some() {
            reader.warn(
                name.place,
                "azure_cli is for a developer's own machine: it uses the tokens of whoever logged in with `az login`; other machines can reach this gateway, so use a managed_identity",
            );
        }
        let identity = Identity {
            name: name.value.as_str().into(),
            proof: proof(raw.0, reader)?,
        };
        Some(Arc::new(identity))
    })
}

fn proof(raw: raw::Identity, reader: &mut Reader<'_>) -> Option<Proof> {
    let own = raw
        .managed_identity
        .and_then(|raw| managed(raw, reader))
        .map(Proof::ManagedIdentity);
    let federated = raw
        .federated_identity
        .and_then(|raw| federated(raw, reader));
    let cli = raw.azure_cli.map(|raw| Proof::AzureCli {
        tenant_id: raw.tenant_id.and_then(|id| shell_word(id, reader)),
    });
    let workload = raw.workload_identity.map(|raw| workload(raw, reader));
    let secret = raw.client_secret.and_then(|raw| client_secret(raw, reader));
    let certificate = raw
        .client_certificate
        .and_then(|raw| client_certificate(raw, reader));
    let key = raw.api_key.map(|key| Proof::ApiKey(key.0));
    let found = own.or(federated).or(cli);
    found.or(workload).or(secret).or(certificate).or(key)
}

fn managed(raw: raw::ManagedIdentity, reader: &mut Reader<'_>) -> Option<Managed> {
    type Named = fn(String) -> AssignedId;
    let ids: [(Option<Tried<Placed<Word>>>, Named); 3] = [
        (raw.client_id, AssignedId::Client),
        (raw.object_id, AssignedId::Object),
        (raw.msi_res_id, AssignedId::Resource),
    ];
    let mut named = ids
        .into_iter()
        .filter_map(|(id, named)| Some((id?.0?, named)))
        .map(|(id, named)| (id.place, named(id.value.0)));
    let first = named.next();
    if let Some((place, _)) = named.next() {
        reader.problem(place, "set only one of client_id, object_id and msi_res_id");
        return None;
    }
    if let Some((place, AssignedId::Resource(id))) = &first
        && !id.to_ascii_lowercase().starts_with("/subscriptions/")
    {
        let message = "a resource id is written like /subscriptions/…/userAssignedIdentities/NAME";
        reader.problem(*place, message);
    }
    Some(Managed {
        id: first.map(|(_, id)| id),
        endpoint: raw.endpoint.and_then(|url| origin(url, true, reader)),
        ca: authorities(raw.ca, reader),
    })
}

fn federated(raw: raw::FederatedIdentity, reader: &mut Reader<'_>) -> Option<Proof> {
    let (authority, ca) = authority(raw.authority, raw.ca, reader);
    let by = raw.managed_identity.0.and_then(|raw| {
        let ids = [&raw.value.client_id, &raw.value.object_id, &raw.value.msi_res_id];
        let is_named = ids.into_iter().any(Option::is_some);
        let by = managed(raw.value, reader)?;
        if !is_named {
            reader.problem(
                raw.place,
                "only a user-assigned identity works here; name it with client_id, object_id or msi_res_id",
            );
        }
        Some(by)
    });
    Some(Proof::FederatedIdentity {
        tenant_id: raw.tenant_id.0?.0,
        client_id: raw.client_id.0?.0,
        by: by?,
        authority,
        ca,
    })
}

/// A tenant's id or domain: it goes into a command.
fn shell_word(word: Placed<Word>, reader: &mut Reader<'_>) -> Option<String> {
    let text = word.value.0;
    let fits = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if !fits {
        reader.problem(
            word.place,
            "a tenant is named by its id, or by its domain like contoso.onmicrosoft.com",
        );
    }
    fits.then_some(text)
}

fn workload(raw: raw::WorkloadIdentity, reader: &mut Reader<'_>) -> Proof {
    let (authority, ca) = authority(raw.authority, raw.ca, reader);
    Proof::WorkloadIdentity {
        tenant_id: raw.tenant_id.map(|id| id.0),
        client_id: raw.client_id.map(|id| id.0),
        token_file: raw.token_file.map(|file| file.0),
        authority,
        ca,
    }
}

fn client_secret(raw: raw::ClientSecret, reader: &mut Reader<'_>) -> Option<Proof> {
    let (authority, ca) = authority(raw.authority, raw.ca, reader);
    Some(Proof::ClientSecret {
        tenant_id: raw.tenant_id.0?.0,
        client_id: raw.client_id.0?.0,
        secret: raw.secret.0?.0,
        authority,
        ca,
    })
}

fn client_certificate(raw: raw::ClientCertificate, reader: &mut Reader<'_>) -> Option<Proof> {
    let (authority, ca) = authority(raw.authority, raw.ca, reader);
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
    let chain = reader.take_file(place, &path, pem::certificates);
    let key = reader.take_file(key_place, &key_path, pem::private_key);
    let (chain, key) = (chain?, key?);
    if let Some(doubt) = reader.take(place, pem::validity(&chain, SystemTime::now()))? {
        // The certificate may be renewed at any time, and the other identities have nothing to do with it.
        reader.warn(place, doubt);
    }
    reader.take(key_place, pem::is_rsa(&key))?;
    reader.take(key_place, pem::pair(chain, key))?;
    Some((path, key_path))
}

/// What stands in for Azure's own authority, and who else may have signed its certificate. Another cloud's, with a
/// certificate of its own, is meant.
fn authority(
    url: Option<Placed<Url>>,
    ca: Option<Placed<FilePath>>,
    reader: &mut Reader<'_>,
) -> (Option<String>, Option<PathBuf>) {
    let authority = url.and_then(|url| {
        let endpoint = &url.value.0;
        let is_azures = Cloud::of_authority(endpoint.host()).is_some();
        if ca.is_none() && !endpoint.is_loopback() && !is_azures {
            reader.warn(
                url.place,
                "this is not one of Azure's authorities, and the identity's credential is sent there; for a private cloud, set ca: too",
            );
        }
        origin(url, false, reader)
    });
    (authority, authorities(ca, reader))
}

/// Scheme, host and port. A VM's own endpoint speaks HTTP; a token authority must not, but on loopback.
fn origin(url: Placed<Url>, plain: bool, reader: &mut Reader<'_>) -> Option<String> {
    let endpoint = &url.value.0;
    if !endpoint.base_path().is_empty() {
        reader.problem(
            url.place,
            "write only scheme, host and port; remove the path",
        );
    }
    if !plain && !endpoint.tls() && !endpoint.is_loopback() {
        reader.problem(
            url.place,
            "credentials are sent to this address, so it must be https://",
        );
    }
    Some(endpoint.to_string())
}
