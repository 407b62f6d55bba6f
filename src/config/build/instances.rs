//! `instances:`: where each is, whom it trusts, and that it is in the right geography.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::pki_types::ServerName;

use super::known::Known;
use crate::{
    config::{
        pem,
        problem::{Place, Placed},
        raw,
        read::{Named, Reader},
        section::Required,
        value::{FilePath, Target, Url, Word},
    },
    domain::{
        deployment::{Endpoint, Instance, Kind},
        identity::{DEFAULT_SCOPE, Identity},
    },
};

pub(super) fn instances(
    raw: Required<Named<raw::Instance>>,
    identities: &Known<Arc<Identity>>,
    geography: Option<Placed<Word>>,
    reader: &mut Reader<'_>,
) -> Known<Arc<Instance>> {
    let ours = geography.map(|ours| ours.value.0);
    let mut lines = HashMap::new();
    Known::build("instance", raw, reader, |name, raw, reader| {
        let geography = geography_of(&raw, ours.as_deref(), name.place, reader);
        let insecure = raw.insecure_http.unwrap_or(false);
        let kind = kind(raw.kind);
        let endpoint = raw.endpoint.0.and_then(|url| {
            look_twice(&url, &mut lines, reader);
            endpoint_of(url, kind, insecure, reader)
        });
        let identity = raw
            .identity
            .0
            .and_then(|name| identities.find(&name, reader));
        let scope = raw
            .scope
            .map_or(Some(DEFAULT_SCOPE.into()), |scope| scope_of(scope, reader));
        let ca = raw.ca.and_then(|file| authorities(file, reader));
        let endpoint = endpoint?;
        let connect_to = raw.connect_to.map(|target| address(target, &endpoint));
        Some(Arc::new(Instance {
            name: name.value.as_str().into(),
            connect_to,
            endpoint,
            kind,
            stream_usage: raw.stream_usage.unwrap_or(true),
            identity: identity?.name.clone(),
            scope: scope?,
            geography,
            ca,
        }))
    })
}

fn kind(raw: Option<raw::Kind>) -> Kind {
    match raw {
        None | Some(raw::Kind::AzureOpenai) => Kind::AzureOpenai,
        Some(raw::Kind::Openai) => Kind::Openai,
    }
}

/// Where an instance is: what comes before the paths of its API.
fn endpoint_of(
    url: Placed<Url>,
    kind: Kind,
    insecure: bool,
    reader: &mut Reader<'_>,
) -> Option<Endpoint> {
    let place = url.place;
    let found = endpoint(url, insecure, reader)?;
    let Some(right) = found.before_api(kind) else {
        return Some(found);
    };
    let right = match reader.filled.is_at(place) {
        true => "its scheme and host alone, like https://NAME.openai.azure.com",
        false => &right,
    };
    let adds = match kind {
        Kind::AzureOpenai => "/openai/… and the deployment",
        Kind::Openai => "the operation's path",
    };
    reader.problem(place, format!("Forebay adds {adds} itself; write {right}"));
    None
}

/// Where something is that credentials are sent to.
pub(super) fn endpoint(
    url: Placed<Url>,
    insecure: bool,
    reader: &mut Reader<'_>,
) -> Option<Endpoint> {
    let endpoint = url.value.0;
    if !endpoint.tls() && !endpoint.is_loopback() && !insecure {
        let message = "http:// lets everyone on the way read requests and credentials; write https://, or add insecure_http: true if you accept that";
        reader.problem(url.place, message);
        return None;
    }
    if endpoint.tls() && ServerName::try_from(endpoint.host()).is_err() {
        let message =
            "no certificate can be verified for this host; write its DNS name or its IP address";
        reader.problem(url.place, message);
        return None;
    }
    Some(endpoint)
}

/// Warns of an endpoint that is allowed but seldom meant.
fn look_twice(url: &Placed<Url>, lines: &mut HashMap<String, usize>, reader: &mut Reader<'_>) {
    let (endpoint, place) = (&url.value.0, url.place);
    if let Some(line) = lines.insert(endpoint.to_string().to_lowercase(), place.line) {
        let message =
            format!("line {line} has this endpoint too: the same deployments, taken for others");
        reader.warn(place, message);
    }
}

fn scope_of(scope: Placed<String>, reader: &mut Reader<'_>) -> Option<String> {
    let fit = scope.value.ends_with("/.default");
    if !fit {
        reader.problem(
            scope.place,
            format!("a scope ends in /.default, like {DEFAULT_SCOPE}"),
        );
    }
    fit.then_some(scope.value)
}

pub(super) fn authorities(file: Placed<FilePath>, reader: &mut Reader<'_>) -> Option<PathBuf> {
    reader.take(file.place, pem::authorities(&file.value.0))?;
    Some(file.value.0)
}

fn address(target: Target, endpoint: &Endpoint) -> SocketAddr {
    let (ip, port) = target.0;
    SocketAddr::new(ip, port.unwrap_or(endpoint.port()))
}

fn geography_of(
    raw: &raw::Instance,
    ours: Option<&str>,
    name: Place,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let theirs = raw.geography.as_ref();
    match (ours, theirs) {
        (Some(_), None) => reader.problem(
            name,
            "this gateway has a geography, so each instance says its own; add geography:",
        ),
        (Some(ours), Some(theirs)) if theirs.value.0 != ours => {
            reader.problem(theirs.place, "this is another geography than the gateway's own (geography: at the top); take the instance out or correct one of them");
        }
        _ => {}
    }
    theirs.map(|theirs| theirs.value.0.clone())
}
