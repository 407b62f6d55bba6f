//! Clients that show tokens: which are believed, which are not, and what the keys that prove them may do meanwhile.

mod accepted;
mod keys;
mod refused;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use forebay::simulator::{self, Config, Issuer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use reqwest::Response;
use serde_json::{Value, json};

use crate::harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client, folder};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const APP: &str = "22222222-2222-2222-2222-222222222222";
const AUDIENCE: &str = "api://forebay";

/// A simulation whose issuer shows a certificate of an authority that lies in `ca.pem`.
struct TokenFixture {
    simulator: simulator::Simulator,
    folder: PathBuf,
}

impl TokenFixture {
    async fn set() -> Self {
        let folder = folder();
        certify(&folder);
        let at = folder.display();
        let simulation = format!(
            "control: 127.0.0.1:0\nrecord: full\n\
             issuer: {{ address: 127.0.0.1:0, tls: {{ certificate: {at}/issuer.crt, key: {at}/issuer.key }} }}\n\
             instances: {{ only: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], deployments: {{ gpt-4o: {{ model: gpt-4o }} }} }} }}\n"
        );
        let simulator = simulator::start(Config::parse(&simulation).unwrap())
            .await
            .unwrap();
        Self { simulator, folder }
    }

    fn issuer(&self) -> &Issuer {
        self.simulator.issuer().unwrap()
    }

    /// Opens the gateway, with clients of each kind.
    async fn open(self) -> Harness {
        let ca = self.folder.join("ca.pem");
        self.open_trusting(&ca).await
    }

    async fn open_trusting(self, ca: &Path) -> Harness {
        let (url, ca) = (self.issuer().url().to_owned(), ca.display());
        let entra = |more: &str| {
            format!(
                "entra: {{ tenant_id: {TENANT}, audiences: [\"{AUDIENCE}\", {APP}], authority: \"{url}\", ca: {ca}, {more} }}, models: [\"*\"]"
            )
        };
        let config = format!(
            "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
             instances: {{ only: {{ endpoint: \"http://{}\", identity: key }} }}\n\
             models: {{ gpt-4o: {{ deployments: [{{ instance: only }}] }} }}\n\
             issuers:\n  ci: {{ url: \"{url}\", audiences: [forebay], algorithms: [RS256, PS256, ES256, ES384, EdDSA], jwks: \"{url}/discovery/keys\", ca: {ca} }}\n\
             clients:\n  tests: {{ keys: [\"{}\"], models: [\"*\"] }}\n  app: {{ {} }}\n  invoker: {{ {} }}\n  person: {{ {} }}\n  \
             jobs: {{ token: {{ issuer: ci, claims: {{ sub: jobs, /deep/list: x }}, scopes: [models] }}, models: [\"*\"] }}\n",
            self.simulator.address("only").unwrap(),
            forebay::config::hash_key(KEY).unwrap().hash,
            entra(&format!("application_id: {APP}, access: any")),
            entra(&format!("application_id: {APP}, roles: [Model.Invoke]")),
            entra("scopes: [models.use], groups: [g-1]"),
        );
        let gateway = Gateway::start(&config).await;
        fs::remove_dir_all(&self.folder).unwrap();
        Harness {
            simulator: self.simulator,
            gateway,
            http: client(),
        }
    }
}

/// An authority, and a certificate of its for localhost; and one that has nothing to do with it.
fn certify(folder: &Path) {
    let authority = |name: &str| {
        let (mut params, key) = (
            CertificateParams::new([]).unwrap(),
            KeyPair::generate().unwrap(),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(name), certificate.pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    authority("another.pem");
    let ca = authority("ca.pem");
    let (params, key) = (
        CertificateParams::new(["localhost".to_owned()]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::write(folder.join("issuer.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("issuer.key"), key.serialize_pem()).unwrap();
}

impl Harness {
    fn issuer(&self) -> &Issuer {
        self.simulator.issuer().unwrap()
    }

    async fn chat_as(&self, token: &str) -> Response {
        let request = self.http.post(self.url(CHAT)).json(&chat());
        request.bearer_auth(token).send().await.unwrap()
    }

    /// What the metrics page says behind this.
    async fn counted(&self, series: &str) -> u64 {
        let page = self.metrics().await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().unwrap())
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What a sound v2.0 token of [`APP`] says.
fn v2(issuer: &Issuer) -> Value {
    json!({
        "iss": issuer.tenant(TENANT), "aud": AUDIENCE, "tid": TENANT, "azp": APP, "azpacr": "1", "oid": "o", "sub": "o",
        "iat": now(), "nbf": now(), "exp": now() + 3600, "ver": "2.0", "uti": fastrand::u64(..).to_string(),
    })
}

/// The same of v1.0.
fn v1(issuer: &Issuer) -> Value {
    let mut claims = v2(issuer);
    claims["iss"] = format!("https://sts.windows.net/{TENANT}/").into();
    claims["appid"] = claims.as_object_mut().unwrap().remove("azp").unwrap();
    claims["ver"] = "1.0".into();
    claims
}

/// What a sound token of the other issuer says.
fn job(issuer: &Issuer) -> Value {
    json!({
        "iss": issuer.url(), "aud": "forebay", "sub": "jobs", "scope": "read models", "deep": {"list": ["w", "x"]},
        "iat": now(), "exp": now() + 3600,
    })
}

/// `claims` with some of them changed; `null` takes one out.
fn with(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}
