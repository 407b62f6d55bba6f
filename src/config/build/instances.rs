//! `instances:`: endpoint, where tokens may be sent, trusted CAs and geography.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use rustls::pki_types::ServerName;

use super::known::Known;
use crate::{
    config::{
        pem,
        problem::{Place, Placed},
        raw,
        read::{Named, Reader, Tried},
        section::Required,
        value::{FilePath, Target, Url, Word},
    },
    domain::{
        cloud::{self, Cloud},
        deployment::{Endpoint, Instance, Kind},
        identity::{Identity, Proof},
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
        let kind = raw.kind.map_or(Kind::AzureOpenai, Kind::from);
        let connected = raw.connect_to.as_ref().map(|target| target.0.0);
        let identity = raw
            .identity
            .0
            .and_then(|name| identities.find(&name, reader));
        let tokens = Tokens {
            proof: identity.map(|identity| &identity.proof),
            address: connected,
            is_allowed: raw.allow_host.unwrap_or(false),
        };
        let mut cloud = None;
        let mut takes_own = false;
        let endpoint = raw.endpoint.0.and_then(|url| {
            look_twice(&url, &mut lines, reader);
            let place = url.place;
            let endpoint = endpoint_of(url, kind, insecure, connected, reader)?;
            tokens.check(place, &endpoint, reader);
            cloud = Cloud::of_host(endpoint.host());
            takes_own = tokens.is_allowed || cloud::is_here(&endpoint, connected);
            Some(endpoint)
        });
        let scope = match raw.scope {
            None => Some(cloud.unwrap_or(Cloud::Public).scope().into()),
            Some(scope) => scope_of(scope, cloud, takes_own, reader),
        };
        let ca = authorities(raw.ca, reader);
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

/// Where an instance is: what comes before the paths of its API.
fn endpoint_of(
    url: Placed<Url>,
    kind: Kind,
    insecure: bool,
    address: Option<IpAddr>,
    reader: &mut Reader<'_>,
) -> Option<Endpoint> {
    let place = url.place;
    let found = endpoint(url, insecure, address, reader)?;
    let Some(right) = found.before_api(kind) else {
        return Some(found);
    };
    let right = match reader.filled.is_at(place) {
        true => "only its scheme and host, like https://NAME.openai.azure.com",
        false => &right,
    };
    let adds = match kind {
        Kind::AzureOpenai => "/openai/… and the deployment",
        Kind::Openai => "the operation's path",
    };
    reader.problem(place, format!("Forebay adds {adds} itself; write {right}"));
    None
}

/// Whose Entra tokens would go where.
struct Tokens<'p> {
    proof: Option<&'p Proof>,
    /// Where connections go instead of where the name leads.
    address: Option<IpAddr>,
    /// By the operator's word.
    is_allowed: bool,
}

impl Tokens<'_> {
    /// Notes an endpoint that they must not go to, or that is in another cloud than where they come from.
    fn check(&self, place: Place, endpoint: &Endpoint, reader: &mut Reader<'_>) {
        let Some(proof) = self
            .proof
            .filter(|proof| !matches!(proof, Proof::ApiKey(_)))
        else {
            return;
        };
        if !self.is_allowed && !cloud::may_have_tokens(endpoint, self.address) {
            reader.problem(place, "Entra tokens are sent only to Azure's own hosts (https://NAME.openai.azure.com, .cognitiveservices.azure.com, .services.ai.azure.com, or those of a sovereign cloud) and to this machine, since a receiver could use them elsewhere; this host is neither: correct it, add allow_host: true if it may receive tokens, or use an api_key");
        }
        let theirs = proof.authority().and_then(authority_cloud);
        if let (Some(theirs), Some(cloud)) = (theirs, Cloud::of_host(endpoint.host()))
            && theirs != cloud
        {
            let message = format!(
                "this endpoint is in {}, which needs tokens from {}, but its identity uses the authority of {}",
                cloud.as_str(),
                cloud.authority(),
                theirs.as_str()
            );
            reader.problem(place, message);
        }
    }
}

fn authority_cloud(authority: &str) -> Option<Cloud> {
    let endpoint = Endpoint::parse(authority).ok()?;
    Cloud::of_authority(endpoint.host())
}

/// Where something is that credentials are sent to. `address`: where connections go instead of where the name leads.
pub(super) fn endpoint(
    url: Placed<Url>,
    insecure: bool,
    address: Option<IpAddr>,
    reader: &mut Reader<'_>,
) -> Option<Endpoint> {
    let endpoint = url.value.0;
    if !endpoint.tls() && !cloud::is_here(&endpoint, address) && !insecure {
        let message = "with http://, requests and credentials can be read on the network; write https://, or add insecure_http: true to accept that";
        reader.problem(url.place, message);
        return None;
    }
    if endpoint.tls() && ServerName::try_from(endpoint.host()).is_err() {
        let message =
            "the certificate of this host can't be verified; write its DNS name or its IP address";
        reader.problem(url.place, message);
        return None;
    }
    Some(endpoint)
}

/// Warns of an endpoint that is allowed but seldom meant.
fn look_twice(url: &Placed<Url>, lines: &mut HashMap<String, usize>, reader: &mut Reader<'_>) {
    let (endpoint, place) = (&url.value.0, url.place);
    if let Some(line) = lines.insert(endpoint.to_string().to_lowercase(), place.line) {
        let message = format!(
            "this endpoint is already in line {line}: the same deployments would be counted as different ones"
        );
        reader.warn(place, message);
    }
}

/// `cloud`: the endpoint's, where it is Azure's own. `takes_own`: it may be a server with an application of its own.
fn scope_of(
    scope: Placed<String>,
    cloud: Option<Cloud>,
    takes_own: bool,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let usual = cloud.unwrap_or(Cloud::Public);
    let Some(audience) = scope.value.strip_suffix("/.default") else {
        let message = format!("a scope must end in /.default, like {}", usual.scope());
        reader.problem(scope.place, message);
        return None;
    };
    let fits = match (Cloud::of_scope(&scope.value), cloud) {
        (Some(theirs), Some(cloud)) => theirs == cloud,
        (Some(_), None) => true,
        (None, _) => takes_own && !cloud::is_microsofts(audience),
    };
    if !fits {
        let message = format!(
            "tokens with this scope would give the receiver access to another service; use {}, or with allow_host: true the scope of an application of your own, like api://models.contoso.example/.default",
            usual.scopes().join(" and ")
        );
        reader.problem(scope.place, message);
    }
    fits.then_some(scope.value)
}

/// A file of authorities that are trusted beside the system's.
pub(super) fn authorities(
    file: Option<Placed<FilePath>>,
    reader: &mut Reader<'_>,
) -> Option<PathBuf> {
    let file = file?;
    reader.take_file(file.place, &file.value.0, pem::authorities)?;
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
            "this gateway has a geography, so each instance needs one; add geography:",
        ),
        (
            Some(ours),
            Some(Placed {
                place,
                value: Tried(Some(theirs)),
            }),
        ) if theirs.0 != ours => {
            reader.problem(*place, "this geography differs from the gateway's (geography: at the top); remove the instance or correct one of the two");
        }
        _ => {}
    }
    Some(theirs?.value.0.as_ref()?.0.clone())
}
