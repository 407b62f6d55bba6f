//! Who is registered at the simulated Entra, and whether a request proves to be that: by a secret, by an assertion signed
//! with a registered certificate, or by another issuer's token (AZURE 12).

use std::{collections::HashMap, fs, path::Path};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use parking_lot::Mutex;
use ring::signature;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{config::Application, encode};

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
pub(super) type No = (u16, &'static str, &'static str);

const NO_TENANT: No = (
    400,
    "invalid_request",
    "AADSTS90002: Tenant not found. Check to make sure you have the correct tenant ID.",
);
const NO_APPLICATION: No = (
    400,
    "unauthorized_client",
    "AADSTS700016: Application was not found in the directory.",
);
const NO_PROOF: No = (
    401,
    "invalid_client",
    "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
);
const WRONG_SECRET: No = (
    401,
    "invalid_client",
    "AADSTS7000215: Invalid client secret provided.",
);
const WRONG_TYPE: No = (
    400,
    "invalid_request",
    "AADSTS900144: The request body must contain the following parameter: 'client_assertion_type'.",
);
const NO_FEDERATION: No = (
    401,
    "invalid_client",
    "AADSTS700213: No matching federated identity record found for presented assertion.",
);
const UNREADABLE: No = (
    401,
    "invalid_client",
    "AADSTS50027: JWT token is invalid or malformed.",
);
const WRONG_CERTIFICATE: No = (
    401,
    "invalid_client",
    "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application.",
);
const WRONG_AUDIENCE: No = (
    401,
    "invalid_client",
    "AADSTS700023: Client assertion audience claim does not match Realm issuer.",
);
const WRONG_ISSUER: No = (
    401,
    "invalid_client",
    "AADSTS700021: Client assertion application identifier doesn't match 'client_id' parameter.",
);
const WRONG_TIME: No = (
    401,
    "invalid_client",
    "AADSTS700024: Client assertion is not within its valid time range.",
);
const USED: No = (
    401,
    "invalid_client",
    "AADSTS700028: Client assertion was used before.",
);

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
    ) -> Result<(), No> {
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
        let application = there.find(|it| it.client_id == field("client_id"));
        let application = application.ok_or(NO_APPLICATION)?;
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
    ) -> Result<(), No> {
        let (text, signature) = assertion.rsplit_once('.').ok_or(UNREADABLE)?;
        let (head, claims) = text.split_once('.').ok_or(UNREADABLE)?;
        let (head, claims) = (json(head)?, json(claims)?);
        let registered = CertificateDer::from_pem_file(file).map_err(|_| WRONG_CERTIFICATE)?;
        let thumbprint = encode::base64url(&Sha256::digest(&registered));
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

    fn once(&self, id: &str) -> Result<(), No> {
        let mut seen = self.seen.lock();
        if id.is_empty() || seen.iter().any(|it| it == id) {
            return Err(USED);
        }
        seen.push(id.to_owned());
        Ok(())
    }
}

/// Another issuer's token is what the file holds now; whoever shows an older one has not read it again.
fn federated(assertion: &str, file: &Path) -> Result<(), No> {
    let accepted = fs::read_to_string(file).map_err(|_| NO_FEDERATION)?;
    (accepted == assertion).then_some(()).ok_or(NO_FEDERATION)
}

fn json(part: &str) -> Result<Value, No> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part);
    let bytes = bytes.map_err(|_| UNREADABLE)?;
    serde_json::from_slice(&bytes).map_err(|_| UNREADABLE)
}

fn verify(certificate: &[u8], text: &str, signature: &str) -> Result<(), No> {
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|_| UNREADABLE)?;
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| WRONG_CERTIFICATE)?;
    let key = &certificate.public_key().subject_public_key.data;
    signature::UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, key)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| WRONG_CERTIFICATE)
}

fn timely(claims: &Value, now: u64) -> Result<(), No> {
    let time = |claim: &str| claims[claim].as_u64().ok_or(WRONG_TIME);
    let (begins, ends) = (time("nbf")?, time("exp")?);
    let is_now = begins <= now + LEEWAY && now < ends + LEEWAY;
    let is_short = ends.saturating_sub(begins) <= LONGEST_LIFE;
    (is_now && is_short).then_some(()).ok_or(WRONG_TIME)
}
