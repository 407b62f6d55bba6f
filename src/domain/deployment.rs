//! Instances, and what is deployed on them: where a request may be sent.

use std::{fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use http::uri::Authority;
use thiserror::Error;

use super::name::{DeploymentName, IdentityName, InstanceName, ModelName};

/// Which dialect an instance speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Azure OpenAI: classic paths below `/openai/deployments/`, v1 below `/openai/v1/`.
    AzureOpenai,
    /// A model server of its own that speaks OpenAI's paths below the endpoint's path.
    Openai,
}

/// Where an instance is: scheme, host, port and the path its API starts at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    authority: Authority,
    base_path: String,
}

/// Why a text is no endpoint. The message says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    #[error("this is not a URL; write it like https://NAME.openai.azure.com")]
    NotAUrl,
    #[error("an endpoint must start with https:// (or http://)")]
    Scheme,
    #[error("an endpoint must not contain a user, a query or a fragment")]
    TooMuch,
}

impl Endpoint {
    /// Reads `https://host[:port][/path]`; a slash at the end means nothing.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let uri: http::Uri = text.parse().map_err(|_| EndpointError::NotAUrl)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError::Scheme),
        };
        let authority = uri.authority().ok_or(EndpointError::NotAUrl)?.clone();
        if authority.host().is_empty() {
            return Err(EndpointError::NotAUrl);
        }
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(EndpointError::TooMuch);
        }
        let base_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            tls,
            authority,
            base_path,
        })
    }

    /// What would be one of a text that is none, since it goes on to a part of an API, as a portal's target URI does, or lacks
    /// its scheme.
    /// Nothing of who asks or of a query is in it.
    pub fn of_target(text: &str) -> Option<String> {
        let text = text.split(['?', '#']).next()?;
        let (target, is_whole) = match Self::parse(text) {
            Ok(target) => (target, true),
            Err(_) => (Self::without_scheme(text)?, false),
        };
        let before = [Kind::AzureOpenai, Kind::Openai]
            .into_iter()
            .find_map(|kind| target.before_api(kind));
        before.or_else(|| (!is_whole).then(|| target.to_string()))
    }

    /// What is meant by a host that lacks the scheme before it.
    fn without_scheme(text: &str) -> Option<Self> {
        let is_host = !text.contains("://") && text.contains(['.', ':']);
        let host = text.split(['/', ':']).next()?;
        let is_here = host == "localhost" || host.starts_with("127.");
        let scheme = if is_here { "http" } else { "https" };
        is_host
            .then(|| Self::parse(&format!("{scheme}://{text}")).ok())
            .flatten()
    }

    /// What of it comes before the paths of an API, where it goes on to them; `None`: it does not.
    pub fn before_api(&self, kind: Kind) -> Option<String> {
        let parts: &[&str] = match kind {
            Kind::AzureOpenai => &[
                "/openai",
                "/api/projects",
                "/models/chat",
                "/models/embeddings",
                "/anthropic",
            ],
            Kind::Openai => &[
                "/chat/completions",
                "/completions",
                "/embeddings",
                "/responses",
            ],
        };
        let path = self.base_path.to_ascii_lowercase();
        let begins = |part: &&str| {
            let mut places = path.match_indices(*part);
            let is_whole =
                |at: usize| matches!(path.as_bytes().get(at + part.len()), None | Some(b'/'));
            places.find_map(|(at, _)| is_whole(at).then_some(at))
        };
        let at = parts.iter().filter_map(begins).min()?;
        let scheme = if self.tls { "https" } else { "http" };
        Some(format!(
            "{scheme}://{}{}",
            self.authority,
            &self.base_path[..at]
        ))
    }

    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host alone, as DNS and TLS want it: an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.authority
            .port_u16()
            .unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// What the Host header says.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The path before the API's own, without a slash at its end; mostly empty.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Whether the host is one of Foundry's, `NAME.services.ai.azure.com` or a sovereign cloud's like: these alone have
    /// the model inference path beside those of Azure OpenAI.
    pub fn is_foundry(&self) -> bool {
        const SUFFIX: &str = ".services.ai.azure.";
        let host = self.host().as_bytes();
        let mut parts = host.windows(SUFFIX.len());
        parts.any(|part| part.eq_ignore_ascii_case(SUFFIX.as_bytes()))
    }

    /// Whether the host is this machine's own loopback, by number or as `localhost`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.base_path)
    }
}

/// An Azure OpenAI resource, or another model server: one entry of `instances:`.
#[derive(Clone, Debug)]
pub struct Instance {
    pub name: InstanceName,
    pub endpoint: Endpoint,
    pub kind: Kind,
    pub identity: IdentityName,
    /// The scope its Entra tokens are asked for.
    pub scope: String,
    pub geography: Option<String>,
    /// More certificate authorities that may have signed its certificate (PEM), beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether its streams may be asked for their usage.
    pub stream_usage: bool,
    /// A fixed address to connect to; the endpoint's name is verified all the same.
    pub connect_to: Option<SocketAddr>,
}

/// The order in which a pool's deployments are asked: 1 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(NonZeroU32);

/// A deployment's share among those of its priority. Never zero: one that should get no traffic is left out instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(NonZeroU32);

impl Priority {
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for 0.
    pub fn new(priority: u32) -> Option<Self> {
        NonZeroU32::new(priority).map(Self)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Weight {
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// `None` for 0.
    pub fn new(weight: u32) -> Option<Self> {
        NonZeroU32::new(weight).map(Self)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// How a deployment's capacity is paid for, by Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    Standard,
    /// PTU: paid for anyway.
    Provisioned,
}

/// A model on an instance: one entry of a model's `deployments:`.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub instance: Arc<Instance>,
    pub name: DeploymentName,
    pub capacity: Capacity,
    pub priority: Priority,
    pub weight: Weight,
}

/// What clients ask for, and the deployments that serve it, in the order of the config.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: ModelName,
    pub version: Option<String>,
    pub deployments: Vec<Deployment>,
    pub timeouts: Timeouts,
    /// Whether the gateway's health falls with it.
    pub required: bool,
}

/// What a model has of its own in place of [`Bounds`]: a reasoning model may be silent for longer than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub unstreamed: Option<Duration>,
}

/// The bounds of one request's tries: `failover:` in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many attempts may end in a fault. One ended by a 429 costs none.
    pub attempts: u32,
    /// From the request's arrival; no attempt starts after it, and none waits for its first byte beyond it.
    pub deadline: Duration,
    /// To a working connection, TLS included.
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of its answer, if that is a stream.
    pub first_byte_timeout: Duration,
    /// The same of an answer that is generated whole before its first byte comes.
    pub unstreamed_timeout: Duration,
    /// Between two bytes of an answer.
    pub idle_timeout: Duration,
    /// How long a stream is held for its first output at most.
    pub hold: Duration,
    /// The largest request body, in bytes.
    pub max_body: usize,
    /// What the bodies of all requests may hold together while they are kept, in bytes.
    pub body_memory: usize,
    pub over_body_memory: OverBodyMemory,
    /// 4xx statuses, beside the built-in ones, after which another deployment is asked.
    pub more_statuses: Arc<[u16]>,
}

impl Bounds {
    /// The same with a model's own timeouts.
    pub fn with(&self, timeouts: Timeouts) -> Self {
        let mut bounds = self.clone();
        bounds.connect_timeout = timeouts.connect.unwrap_or(bounds.connect_timeout);
        bounds.first_byte_timeout = timeouts.first_byte.unwrap_or(bounds.first_byte_timeout);
        let unstreamed = timeouts.unstreamed.or(timeouts.first_byte);
        bounds.unstreamed_timeout = unstreamed.unwrap_or(bounds.unstreamed_timeout);
        bounds
    }
}

/// What becomes of a request whose body finds `body_memory` taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverBodyMemory {
    /// It is served, its body passed on as it arrives: once begun, it can't be sent to another deployment.
    Stream,
    /// It is refused.
    Refuse,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            attempts: 4,
            deadline: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: Duration::from_secs(120),
            // As long as the official clients wait.
            unstreamed_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(300),
            hold: Duration::from_secs(10),
            max_body: 32 << 20,
            body_memory: 1 << 30,
            over_body_memory: OverBodyMemory::Stream,
            more_statuses: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_into_what_connecting_needs() {
        let e = Endpoint::parse("https://contoso.openai.azure.com/").unwrap();
        assert_eq!(
            (e.tls(), e.host(), e.port(), e.base_path()),
            (true, "contoso.openai.azure.com", 443, "")
        );
        let e = Endpoint::parse("http://[::1]:8000/v1/").unwrap();
        assert_eq!(
            (e.tls(), e.host(), e.port(), e.base_path()),
            (false, "::1", 8000, "/v1")
        );
        assert_eq!(e.to_string(), "http://[::1]:8000/v1");
        assert!(e.is_loopback());
    }

    #[test]
    fn foundrys_hosts_are_told_from_others() {
        for (endpoint, is_foundry) in [
            ("https://contoso.services.ai.azure.com", true),
            ("https://contoso.Services.AI.azure.us/", true),
            ("https://contoso.openai.azure.com", false),
            ("https://contoso.cognitiveservices.azure.com", false),
            ("https://services.ai.azure.com.contoso.com", false),
        ] {
            let endpoint = Endpoint::parse(endpoint).unwrap();
            assert_eq!(endpoint.is_foundry(), is_foundry, "{endpoint}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_mend() {
        for (text, error) in [
            ("contoso", EndpointError::Scheme),
            ("contoso.openai.azure.com/openai", EndpointError::NotAUrl),
            ("ftp://contoso", EndpointError::Scheme),
            ("https://", EndpointError::NotAUrl),
            ("https://a b", EndpointError::NotAUrl),
            ("https://user:pw@contoso", EndpointError::TooMuch),
            ("https://contoso?x=1", EndpointError::TooMuch),
        ] {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
        }
    }
}
