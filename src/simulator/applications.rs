//! Who is registered at the simulated Entra, and whether a request proves to be that: by a secret, by an assertion signed
//! with a registered certificate, or by another issuer's token (wire facts: Tokens).

use std::{collections::HashMap, fs, path::Path};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use http::StatusCode;
use parking_lot::Mutex;
use ring::signature;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::config::Application;

/// Entra takes no assertion that lives longer than a day, and lets clocks differ a little.
const LONGEST_LIFE: u64 = 86_400;
const LEEWAY: u64 = 300;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request's or a form's fields, decoded.
pub(super) type Fields = HashMap<String, String>;

/// All that are registered; `None`: whoever asks is.
pub(super) struct Registry {
    all: Option<Vec<Application>>,
    /// The assertions seen so far: none is good twice.
    seen: Mutex<Vec<String>>,
}

/// Why there is no token: status, error, description.
pub(super) type EntraError = (StatusCode, &'static str, &'static str);

const NO_TENANT: EntraError = bad_request(
    "invalid_request",
    "AADSTS90002: Tenant not found. Check to make sure you have the correct tenant ID.",
);
const NO_APPLICATION: EntraError = bad_request(
    "unauthorized_client",
    "AADSTS700016: Application was not found in the directory.",
);
const NO_PROOF: EntraError = invalid_client(
    "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
);
const WRONG_SECRET: EntraError = invalid_client("AADSTS7000215: Invalid client secret provided.");
const WRONG_TYPE: EntraError = bad_request(
    "invalid_request",
    "AADSTS900144: The request body must contain the following parameter: 'client_assertion_type'.",
);
const NO_FEDERATION: EntraError = invalid_client(
    "AADSTS700213: No matching federated identity record found for presented assertion.",
);
const UNREADABLE: EntraError = invalid_client("AADSTS50027: JWT token is invalid or malformed.");
const WRONG_CERTIFICATE: EntraError = invalid_client(
    "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application.",
);
const WRONG_AUDIENCE: EntraError =
    invalid_client("AADSTS700023: Client assertion audience claim does not match Realm issuer.");
const WRONG_ISSUER: EntraError = invalid_client(
    "AADSTS700021: Client assertion application identifier doesn't match 'client_id' parameter.",
);
const WRONG_TIME: EntraError =
    invalid_client("AADSTS700024: Client assertion is not within its valid time range.");
const USED: EntraError = invalid_client("AADSTS700028: Client assertion was used before.");

pub(super) const fn bad_request(error: &'static str, description: &'static str) -> EntraError {
    (StatusCode::BAD_REQUEST, error, description)
}

const fn invalid_client(description: &'static str) -> EntraError {
    (StatusCode::UNAUTHORIZED, "invalid_client", description)
}

impl Registry {
    pub(super) fn new(all: Option<Vec<Application>>) -> Self {
        Self {
            all,
            seen: Mutex::default(),
        }
    }

    /// Whether the form proves to be who it says. `url`: where it was sent. `now`: Unix time.
    pub(super) fn convince(
        &self,
        tenant: &str,
        form: &Fields,
        url: &str,
        now: u64,
    ) -> Result<(), EntraError> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let (secret, assertion) = (field("client_secret"), field("client_assertion"));
        let Some(all) = &self.all else {
            return match (secret, assertion) {
                ("", "") => Err(NO_PROOF),
                ("wrong", _) => Err(WRONG_SECRET),
                _ => Ok(()),
            };
        };
        let mut there = all.iter().filter(|it| it.tenant_id == tenant).peekable();
        there.peek().ok_or(NO_TENANT)?;
        let application = there
            .find(|it| it.client_id == field("client_id"))
            .ok_or(NO_APPLICATION)?;
        if assertion.is_empty() {
            return match secret {
                "" => Err(NO_PROOF),
                _ if application.secret.as_deref() == Some(secret) => Ok(()),
                _ => Err(WRONG_SECRET),
            };
        }
        if field("client_assertion_type") != ASSERTION_TYPE {
            return Err(WRONG_TYPE);
        }
        match (&application.certificate, &application.federated_token) {
            (Some(file), _) => self.signed(assertion, application, file, url, now),
            (None, Some(file)) => federated(assertion, file),
            (None, None) => Err(NO_FEDERATION),
        }
    }

    /// An assertion of the application itself: `x5t#S256` names the registered certificate, whose key signed it.
    fn signed(
        &self,
        assertion: &str,
        application: &Application,
        file: &Path,
        url: &str,
        now: u64,
    ) -> Result<(), EntraError> {
        let (text, signature) = assertion.rsplit_once('.').ok_or(UNREADABLE)?;
        let (head, claims) = text.split_once('.').ok_or(UNREADABLE)?;
        let (head, claims) = (json(head)?, json(claims)?);
        let registered = CertificateDer::from_pem_file(file).map_err(|_| WRONG_CERTIFICATE)?;
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&registered));
        let named = head["x5t#S256"] == *thumbprint && head["typ"] == "JWT";
        // The chain, where it is sent, begins with the certificate itself.
        let first = &head["x5c"][0];
        let same = first.is_null() || *first == BASE64_STANDARD.encode(&registered);
        if head["alg"] != "PS256" || !named || !same {
            return Err(WRONG_CERTIFICATE);
        }
        verify(&registered, text, signature)?;
        timely(&claims, now)?;
        if claims["aud"] != url {
            return Err(WRONG_AUDIENCE);
        }
        let ours = |claim: &str| claims[claim] == *application.client_id;
        if !ours("iss") || !ours("sub") {
            return Err(WRONG_ISSUER);
        }
        self.once(claims["jti"].as_str().unwrap_or_default())
    }

    fn once(&self, id: &str) -> Result<(), EntraError> {
        let mut seen = self.seen.lock();
        if id.is_empty() || seen.iter().any(|it| it == id) {
            return Err(USED);
        }
        seen.push(id.to_owned());
        Ok(())
    }
}

/// Another issuer's token is what the file holds now; whoever shows an older one has not read it again.
fn federated(assertion: &str, file: &Path) -> Result<(), EntraError> {
    let accepted = fs::read_to_string(file).map_err(|_| NO_FEDERATION)?;
    (accepted == assertion).then_some(()).ok_or(NO_FEDERATION)
}

fn decoded(part: &str) -> Result<Vec<u8>, EntraError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part);
    bytes.map_err(|_| UNREADABLE)
}

fn json(part: &str) -> Result<Value, EntraError> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| UNREADABLE)
}

fn verify(certificate: &[u8], text: &str, signature: &str) -> Result<(), EntraError> {
    let signature = decoded(signature)?;
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| WRONG_CERTIFICATE)?;
    let key = &certificate.public_key().subject_public_key.data;
    signature::UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, key)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| WRONG_CERTIFICATE)
}

fn timely(claims: &Value, now: u64) -> Result<(), EntraError> {
    let time = |claim: &str| claims[claim].as_u64().ok_or(WRONG_TIME);
    let (begins, ends) = (time("nbf")?, time("exp")?);
    let is_now = begins <= now + LEEWAY && now < ends + LEEWAY;
    let is_short = ends.saturating_sub(begins) <= LONGEST_LIFE;
    (is_now && is_short).then_some(()).ok_or(WRONG_TIME)
}

#[cfg(test)]
mod tests {
    use ring::{rand::SystemRandom, rsa::KeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use serde_json::json;

    use super::*;

    const APP: &str = include_str!("../../tests/gateway/identities/app.key");
    const OTHER: &str = include_str!("../../tests/gateway/identities/other.key");
    const URL: &str = "https://login.test/contoso/oauth2/v2.0/token";
    const NOW: u64 = 1_000_000;

    /// A registry with one application by certificate, one by a federated token; its files are gone when it is dropped.
    struct Fixture {
        registry: Registry,
        thumbprint: String,
        folder: std::path::PathBuf,
    }

    impl Fixture {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("forebay-{}-{name}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let key = rcgen::KeyPair::from_pem(APP).unwrap();
            let certificate = rcgen::CertificateParams::default()
                .self_signed(&key)
                .unwrap();
            fs::write(folder.join("app.crt"), certificate.pem()).unwrap();
            fs::write(folder.join("token"), "federated").unwrap();
            let application = |client_id: &str| Application {
                tenant_id: "contoso".into(),
                client_id: client_id.into(),
                secret: None,
                certificate: None,
                federated_token: None,
            };
            let all = vec![
                Application {
                    certificate: Some(folder.join("app.crt")),
                    ..application("app")
                },
                Application {
                    federated_token: Some(folder.join("token")),
                    ..application("federated")
                },
            ];
            Self {
                registry: Registry::new(Some(all)),
                thumbprint: BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(certificate.der())),
                folder,
            }
        }

        fn head(&self) -> Value {
            json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint })
        }

        fn ask(&self, client_id: &str, assertion: &str) -> Result<(), EntraError> {
            let fields = [
                ("client_id", client_id),
                ("client_assertion", assertion),
                ("client_assertion_type", ASSERTION_TYPE),
            ];
            let form = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.registry.convince("contoso", &form.into(), URL, NOW)
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn claims(id: usize) -> Value {
        json!({ "aud": URL, "iss": "app", "sub": "app", "jti": id.to_string(), "nbf": NOW, "exp": NOW + 300 })
    }

    fn signed(head: &Value, claims: &Value, key: &str) -> String {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let parts = [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = parts.join(".");
        let mut signature = vec![0; key.public().modulus_len()];
        let random = SystemRandom::new();
        key.sign(
            &signature::RSA_PSS_SHA256,
            &random,
            text.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn an_assertion_is_good_once_and_only_as_it_should_be() {
        let fixture = Fixture::new("assertions");
        let good = signed(&fixture.head(), &claims(0), APP);
        assert_eq!(fixture.ask("app", &good), Ok(()));
        assert_eq!(fixture.ask("app", &good), Err(USED));
        let with = |field: &str, value: Value| {
            let mut claims = claims(1);
            claims[field] = value;
            signed(&fixture.head(), &claims, APP)
        };
        let mut other_head = fixture.head();
        other_head["x5t#S256"] = "another".into();
        for (assertion, no) in [
            (
                with(
                    "aud",
                    "https://login.test/fabrikam/oauth2/v2.0/token".into(),
                ),
                WRONG_AUDIENCE,
            ),
            (with("iss", "federated".into()), WRONG_ISSUER),
            (with("sub", "federated".into()), WRONG_ISSUER),
            (with("exp", (NOW - LEEWAY).into()), WRONG_TIME),
            (with("exp", (NOW + LONGEST_LIFE + 1).into()), WRONG_TIME),
            (with("exp", Value::Null), WRONG_TIME),
            (with("nbf", (NOW + LEEWAY + 1).into()), WRONG_TIME),
            (with("jti", Value::Null), USED),
            (
                signed(&fixture.head(), &claims(1), OTHER),
                WRONG_CERTIFICATE,
            ),
            (signed(&other_head, &claims(1), APP), WRONG_CERTIFICATE),
            (good.replacen("eyJ", "eyK", 1), UNREADABLE),
            ("a.b".into(), UNREADABLE),
        ] {
            assert_eq!(fixture.ask("app", &assertion), Err(no), "{assertion}");
        }
        assert_eq!(fixture.ask("nobody", &good), Err(NO_APPLICATION));
        assert_eq!(
            fixture.ask("app", &signed(&fixture.head(), &claims(1), APP)),
            Ok(())
        );
    }

    #[test]
    fn another_issuers_token_is_good_while_the_file_holds_it() {
        let fixture = Fixture::new("federated");
        assert_eq!(fixture.ask("federated", "federated"), Ok(()));
        fs::write(fixture.folder.join("token"), "renewed").unwrap();
        assert_eq!(fixture.ask("federated", "federated"), Err(NO_FEDERATION));
        assert_eq!(fixture.ask("federated", "renewed"), Ok(()));
    }
}
