//! An issuer of tokens for clients, shaped like Entra and like any other OpenID Connect issuer, on one address: discovery
//! documents, keys, and tokens that say whatever a test wants them to.
//!
//! Its RSA keys are part of this source, so what they sign proves nothing to anybody but a test.

mod keys;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    body::Body,
    config::{IssuerSetup, Tls},
    connection::ConnectionFate,
    deviation::BrokenOff,
    server::{self, Listener, Service},
};
use keys::Key;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/discovery/keys";
/// Where the keys of a tenant of Entra are, below the tenant.
const TENANTS_KEYS: &str = "/discovery/v2.0/keys";
/// What a tenant calls its second version.
const SECOND: &str = "/v2.0";

/// What the issuer does instead of its work.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IssuerFault {
    Status {
        status: u16,
    },
    /// 200 with something that isn't JSON.
    Garbage {},
    /// No answer at all.
    Hang {},
    /// Answers that come late.
    Slow {
        milliseconds: u64,
    },
    /// A redirect to another place.
    Redirect {
        to: String,
    },
    /// Its discovery document is another issuer's.
    CallsItself {
        issuer: String,
    },
    /// Its discovery document says that the keys are elsewhere.
    KeysAt {
        url: String,
    },
    /// An answer of so many bytes.
    Endless {
        bytes: usize,
    },
    /// No key is published.
    NoKeys {},
}

/// The issuer of a simulation.
pub struct Issuer {
    listener: Listener<IssuerEndpoint>,
    endpoint: Arc<IssuerEndpoint>,
    base: String,
}

/// What stands behind its port.
pub(crate) struct IssuerEndpoint {
    keys: Mutex<Vec<Key>>,
    fault: Mutex<Option<IssuerFault>>,
    tls: Option<Tls>,
    /// How often its keys were fetched.
    fetches: AtomicU64,
}

impl Issuer {
    pub(crate) async fn open(setup: &IssuerSetup) -> io::Result<Self> {
        let tls = setup.tls.as_ref();
        let endpoint = Arc::new(IssuerEndpoint {
            keys: Mutex::new(keys::all()?),
            fault: Mutex::default(),
            tls: setup.tls.clone(),
            fetches: AtomicU64::new(0),
        });
        let listener = Listener::open(setup.address, tls, Arc::clone(&endpoint)).await?;
        let port = listener.address().port();
        let base = format!("{}://localhost:{port}", server::scheme(tls));
        Ok(Self {
            listener,
            endpoint,
            base,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What it calls itself; as an authority of Entra, its scheme and host.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// What it calls itself as a tenant of Entra.
    pub fn tenant(&self, tenant_id: &str) -> String {
        format!("{}/{tenant_id}/v2.0", self.base)
    }

    /// A token that says this, signed as it should be: by the newest key in use.
    pub fn token(&self, claims: &Value) -> String {
        let id = newest(&self.endpoint.keys.lock());
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": id});
        self.sign(&header, claims.to_string().as_bytes(), &id)
    }

    /// A token with any header and any content, signed with a key of this id: as the header says where the key can, else
    /// as usual.
    pub fn sign(&self, header: &Value, claims: &[u8], key: &str) -> String {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signature(&signed, algorithm, key);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The signature over any text by a key of this id.
    pub fn signature(&self, signed: &str, algorithm: &str, key: &str) -> Vec<u8> {
        self.with(key, |key| key.sign(signed.as_bytes(), algorithm))
            .unwrap_or_default()
    }

    /// The public parts of a key, as it is published.
    pub fn published(&self, key: &str) -> Option<Value> {
        self.with(key, |key| key.published())
    }

    fn with<T>(&self, key: &str, work: impl FnOnce(&mut Key) -> T) -> Option<T> {
        let mut keys = self.endpoint.keys.lock();
        keys.iter_mut().find(|known| known.id == key).map(work)
    }

    /// Publishes its next RSA key beside those it has, and signs with it from now on. Gives its id.
    pub fn rotate(&self) -> String {
        let mut keys = self.endpoint.keys.lock();
        let is_unused = |key: &&mut Key| !key.is_published && !key.was_withdrawn;
        if let Some(next) = keys.iter_mut().find(is_unused) {
            next.is_published = true;
        }
        newest(&keys)
    }

    /// Publishes a key no longer.
    pub fn withdraw(&self, key: &str) {
        self.with(key, |key| {
            (key.is_published, key.was_withdrawn) = (false, true);
        });
    }

    /// From now on a key is for the tokens of this tenant of Entra alone.
    pub fn bind(&self, key: &str, tenant_id: &str) {
        self.with(key, |key| key.tenant = Some(tenant_id.to_owned()));
    }

    pub fn set_fault(&self, fault: Option<IssuerFault>) {
        *self.endpoint.fault.lock() = fault;
    }

    /// How often its keys were fetched.
    pub fn fetches(&self) -> u64 {
        self.endpoint.fetches.load(Ordering::Relaxed)
    }

    /// Closes its port and connections.
    pub async fn down(&self) {
        self.listener.down().await;
    }

    /// Opens the same port again.
    pub async fn up(&self) -> io::Result<()> {
        self.listener.up().await
    }
}

/// The id of the key that signs.
fn newest(keys: &[Key]) -> String {
    let mut signing = keys.iter().filter(|key| key.is_published && key.is_rsa());
    signing
        .next_back()
        .map_or_else(String::new, |key| key.id.clone())
}

impl Service for IssuerEndpoint {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _fate: ConnectionFate,
    ) -> Result<Response<Body>, BrokenOff> {
        let path = request.uri().path().to_owned();
        if path == KEYS || path.ends_with(TENANTS_KEYS) {
            self.fetches.fetch_add(1, Ordering::Relaxed);
        }
        let fault = self.fault.lock().clone();
        match &fault {
            Some(IssuerFault::Hang {}) => std::future::pending().await,
            Some(IssuerFault::Slow { milliseconds }) => {
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            }
            _ => {}
        }
        let base = server::origin(self.tls.as_ref(), request.uri(), request.headers());
        Ok(match fault {
            Some(IssuerFault::Status { status }) => {
                let status = StatusCode::from_u16(status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                reply(status, Vec::new())
            }
            Some(IssuerFault::Garbage {}) => {
                reply(StatusCode::OK, b"<html>no keys</html>".to_vec())
            }
            Some(IssuerFault::Endless { bytes }) => reply(StatusCode::OK, vec![b' '; bytes]),
            Some(IssuerFault::Redirect { to }) => redirect(&to),
            fault => self.serve(&path, &base, fault.as_ref()),
        })
    }
}

impl IssuerEndpoint {
    fn serve(&self, path: &str, base: &str, fault: Option<&IssuerFault>) -> Response<Body> {
        let is_tenants = path.ends_with(TENANTS_KEYS);
        if path == KEYS || is_tenants {
            let keys = self.keys.lock();
            let published = keys.iter().filter(|key| key.is_published);
            let keys: Vec<Value> = match fault {
                Some(IssuerFault::NoKeys {}) => Vec::new(),
                _ if is_tenants => published.map(|key| key.published_at(base)).collect(),
                _ => published.map(Key::published).collect(),
            };
            return json_reply(&json!({ "keys": keys }));
        }
        let Some(below) = path.strip_suffix(DISCOVERY) else {
            return reply(StatusCode::NOT_FOUND, Vec::new());
        };
        let mut issuer = format!("{base}{below}");
        let mut keys = match below.strip_suffix(SECOND) {
            Some(tenant) => format!("{base}{tenant}{TENANTS_KEYS}"),
            None => format!("{base}{KEYS}"),
        };
        match fault {
            Some(IssuerFault::CallsItself { issuer: other }) => issuer = other.clone(),
            Some(IssuerFault::KeysAt { url }) => keys = url.clone(),
            _ => {}
        }
        json_reply(&json!({
            "issuer": issuer, "jwks_uri": keys, "token_endpoint": format!("{base}{below}/token"),
            "response_types_supported": ["token"], "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }))
    }
}

fn json_reply(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, value.to_string().into_bytes())
}

fn reply(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    server::reply(status, "application/json", body)
}

fn redirect(to: &str) -> Response<Body> {
    let mut response = reply(StatusCode::FOUND, Vec::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}
