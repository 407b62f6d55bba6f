//! `issuers:`, and the Entra tenants that clients name.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{instances::authorities, known::Known};
use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{List, Named, Reader},
        section::Required,
        value::{FilePath, IssuerUrl, Span, Url, Word},
    },
    domain::{
        client::issuer::{self, Algorithm, Issuer, IssuerKind, KeysAt},
        deployment::Endpoint,
    },
};

/// Clocks that are further apart than this are broken.
const LONGEST_LEEWAY: Duration = Duration::from_secs(300);
/// What the names of tenants begin with.
const ENTRA: &str = "entra/";

/// All issuers.
pub(super) struct Issuers {
    named: Known<Oidc>,
    tenants: Vec<(Place, Arc<Issuer>)>,
}

/// An entry of `issuers:`.
pub(super) struct Oidc {
    pub(super) issuer: Arc<Issuer>,
    pub(super) audiences: BTreeSet<String>,
}

impl Issuers {
    pub(super) fn from_raw(raw: Option<Named<raw::Issuer>>, reader: &mut Reader<'_>) -> Self {
        let section = Required(Some(raw.unwrap_or(Named(Vec::new()))));
        let mut urls: Vec<(String, usize)> = Vec::new();
        let named = Known::build("issuer", section, reader, |name, raw, reader| {
            if name.value.starts_with(ENTRA) {
                reader.problem(
                    name.place,
                    "names that start with entra/ are reserved for tenants; choose another",
                );
            }
            if let Some(url) = &raw.url.0 {
                let text = &url.value.0.0;
                match urls.iter().find(|(known, _)| known == text) {
                    Some((_, line)) => {
                        reader.problem(url.place, format!("this issuer is already in line {line}"))
                    }
                    None => urls.push((text.clone(), url.place.line)),
                }
            }
            oidc(&name.value, raw, reader)
        });
        Self {
            named,
            tenants: Vec::new(),
        }
    }

    pub(super) fn named(&self, name: &Placed<String>, reader: &mut Reader<'_>) -> Option<&Oidc> {
        self.named.find(name, reader)
    }

    /// A client's tenant: one issuer, however many clients it has.
    pub(super) fn tenant(
        &mut self,
        place: Place,
        tenant_id: &str,
        authority: Option<Placed<Url>>,
        ca: Option<Placed<FilePath>>,
        reader: &mut Reader<'_>,
    ) -> Arc<Issuer> {
        let ca = authorities(ca, reader);
        let named = authority.map(|url| origin(url, reader));
        let name = match &named {
            None => format!("{ENTRA}{tenant_id}"),
            Some(authority) => {
                let host = authority.split("://").last().unwrap_or_default();
                format!("{ENTRA}{tenant_id}@{host}")
            }
        };
        let authority = named.as_deref().unwrap_or(issuer::AUTHORITY);
        let tenant = Issuer::entra(&name, authority, tenant_id, ca);
        let known = self
            .tenants
            .iter()
            .find(|(_, known)| known.url == tenant.url);
        match known {
            Some((line, known)) => {
                if known.ca != tenant.ca {
                    let message = format!(
                        "line {} has another `ca` for this tenant; use the same one for all of its clients",
                        line.line
                    );
                    reader.problem(place, message);
                }
                Arc::clone(known)
            }
            None => {
                let tenant = Arc::new(tenant);
                self.tenants.push((place, Arc::clone(&tenant)));
                tenant
            }
        }
    }

    pub(super) fn warn_of_unused(&self, reader: &mut Reader<'_>) {
        let message = "no client uses this issuer's tokens";
        self.named.warn_of_unused(message, reader);
    }

    /// No two of them have a name in common.
    pub(super) fn into_values(self, reader: &mut Reader<'_>) -> Vec<Arc<Issuer>> {
        let named: Vec<_> = self
            .named
            .into_values()
            .into_iter()
            .map(|oidc| oidc.issuer)
            .collect();
        for (place, tenant) in &self.tenants {
            let mut names = named
                .iter()
                .chain(self.tenants.iter().map(|(_, other)| other));
            let clashes = |other: &Arc<Issuer>| {
                !Arc::ptr_eq(other, tenant)
                    && other
                        .names()
                        .any(|name| tenant.names().any(|ours| ours == name))
            };
            if names.any(clashes) {
                reader.problem(
                    *place,
                    "another issuer has the same `iss` as this tenant; remove one of the two",
                );
            }
        }
        named
            .into_iter()
            .chain(self.tenants.into_iter().map(|(_, tenant)| tenant))
            .collect()
    }
}

fn oidc(name: &str, raw: raw::Issuer, reader: &mut Reader<'_>) -> Option<Oidc> {
    let url = raw.url.0.and_then(|url| own_name(url, reader));
    let jwks = raw.jwks.map(|jwks| {
        is_safe(jwks.place, &jwks.value.0, reader);
        KeysAt::Jwks(jwks.value.0.to_string())
    });
    let algorithms = raw
        .algorithms
        .map_or(Algorithm::USUAL.to_vec(), |raw| algorithms(raw, reader));
    let leeway = raw.leeway.map_or(issuer::LEEWAY, |raw| leeway(raw, reader));
    let ca = authorities(raw.ca, reader);
    let audiences = raw.audiences.0.map(|raw| words(raw, "an audience", reader));
    let url = url?;
    Some(Oidc {
        issuer: Arc::new(Issuer {
            name: name.into(),
            keys: jwks.unwrap_or_else(|| KeysAt::Discovery(issuer::discovery(&url))),
            url,
            kind: IssuerKind::Oidc,
            algorithms,
            leeway,
            ca,
        }),
        audiences: audiences?,
    })
}

fn own_name(url: Placed<IssuerUrl>, reader: &mut Reader<'_>) -> Option<String> {
    let (text, endpoint) = url.value.0;
    is_safe(url.place, &endpoint, reader).then_some(text)
}

/// Whoever can change what comes from there can make tokens of his own.
fn is_safe(place: Place, endpoint: &Endpoint, reader: &mut Reader<'_>) -> bool {
    let is_safe = endpoint.tls() || endpoint.is_loopback();
    if !is_safe {
        reader.problem(
            place,
            "signing keys are fetched from this address, so it must be https://",
        );
    }
    is_safe
}

fn algorithms(raw: Placed<List<raw::Algorithm>>, reader: &mut Reader<'_>) -> Vec<Algorithm> {
    let mend = "without an algorithm no token can be valid; list one, or remove this field";
    raw.items(mend, reader).map(Algorithm::from).collect()
}

fn leeway(raw: Placed<Span>, reader: &mut Reader<'_>) -> Duration {
    if raw.value.0 > LONGEST_LEEWAY {
        reader.problem(raw.place, "a leeway may be at most 5m; write 5m or less");
    }
    raw.value.0
}

/// Scheme, host and port.
fn origin(url: Placed<Url>, reader: &mut Reader<'_>) -> String {
    let endpoint = &url.value.0;
    if !endpoint.base_path().is_empty() {
        reader.problem(
            url.place,
            "write only scheme, host and port; remove the path",
        );
    }
    is_safe(url.place, endpoint, reader);
    endpoint.to_string()
}

/// The words of a list that is not empty.
pub(super) fn words(
    raw: Placed<List<Placed<Word>>>,
    noun: &str,
    reader: &mut Reader<'_>,
) -> BTreeSet<String> {
    let mend = format!("this is empty; list {noun}, or remove it");
    let words = raw.items(&mend, reader);
    words.map(|word| word.value.0).collect()
}
