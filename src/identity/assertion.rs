//! What an app registration with a certificate proves itself with: a short JWT, signed with the certificate's key.
//!
//! The files are read for each assertion, so a renewed certificate is in use with the next token. Keys are wiped from
//! the memory that held the files; the copy that `ring` signs with is freed unwiped, as it has no way to.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::{SecureRandom, SystemRandom},
    rsa, signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::{Zeroize, Zeroizing};

/// Entra wants assertions to live for five to ten minutes at most; each is used once, at once.
const LIFE: Duration = Duration::from_secs(300);

/// Why a certificate proves nothing. Nothing in it comes from inside the files.
#[derive(Debug, Error)]
pub(super) enum AssertionError {
    #[error("{0} can't be read: {1}")]
    Unread(PathBuf, io::Error),
    #[error("{0} contains no certificate")]
    NoCertificate(PathBuf),
    #[error("{0} contains no RSA private key of 2048 bits or more")]
    NoKey(PathBuf),
    #[error("the key in {0} does not match the certificate")]
    Misfit(PathBuf),
    #[error("it can't be signed")]
    Unsigned,
}

/// A signed assertion, for one token request.
#[derive(Clone)]
pub(super) struct Assertion(Zeroizing<String>);

/// Where certificate and key are, and whom they are to convince.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) client_id: &'a str,
    /// The URL that the assertion is sent to.
    pub(super) token_endpoint: &'a str,
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
}

impl Assertion {
    /// Another issuer's token, that the application trusts.
    pub(super) fn from_token(token: &str) -> Self {
        Self(Zeroizing::new(token.to_owned()))
    }

    pub(super) fn sign(claim: Claim<'_>, now: SystemTime) -> Result<Self, AssertionError> {
        let chain = certificates(claim.certificate)?;
        let key = private_key(claim.key)?;
        let (_, leaf) = X509Certificate::from_der(&chain[0])
            .map_err(|_| AssertionError::NoCertificate(claim.certificate.into()))?;
        if *leaf.public_key().subject_public_key.data != *key.public().as_ref() {
            return Err(AssertionError::Misfit(claim.key.into()));
        }
        let text = [header(&chain), claims(&claim, now)?].map(|part| encoded(&part));
        let mut text = Zeroizing::new(text.join("."));
        let mut signature = vec![0; key.public().modulus_len()];
        let random = SystemRandom::new();
        key.sign(
            &signature::RSA_PSS_SHA256,
            &random,
            text.as_bytes(),
            &mut signature,
        )
        .map_err(|_| AssertionError::Unsigned)?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut text);
        Ok(Self(text))
    }
}

/// Entra finds the certificate among those registered by its thumbprint. Those that lead to its authority go along where
/// the file has them: registrations that go by subject and issuer want to see them.
fn header(chain: &[CertificateDer<'_>]) -> String {
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&chain[0]));
    let mut header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    if chain.len() > 1 {
        header["x5c"] = chain.iter().map(|it| STANDARD.encode(it)).collect();
    }
    header.to_string()
}

fn claims(claim: &Claim<'_>, now: SystemTime) -> Result<String, AssertionError> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let mut id = [0; 16];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| AssertionError::Unsigned)?;
    let claims = json!({
        "aud": claim.token_endpoint, "iss": claim.client_id, "sub": claim.client_id,
        "jti": uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
        "iat": now, "nbf": now, "exp": now + LIFE.as_secs(),
    });
    Ok(claims.to_string())
}

fn encoded(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// The file's certificates, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AssertionError> {
    let pem = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = read.unwrap_or_default();
    if all.is_empty() {
        Err(AssertionError::NoCertificate(path.into()))
    } else {
        Ok(all)
    }
}

fn private_key(path: &Path) -> Result<rsa::KeyPair, AssertionError> {
    let no_key = || AssertionError::NoKey(path.into());
    let mut key = PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| no_key())?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    };
    key.zeroize();
    pair.ok_or_else(no_key)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, AssertionError> {
    let bytes = fs::read(path).map_err(|error| AssertionError::Unread(path.into(), error))?;
    Ok(Zeroizing::new(bytes))
}

#[async_trait]
impl ClientAssertion for Assertion {
    /// Its trait wants a plain string: this copy is not wiped, and worth nothing once it has been used or is old.
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.as_str().to_owned())
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::UnparsedPublicKey;
    use serde_json::Value;

    use super::*;

    const APP: &str = include_str!("../../tests/gateway/identities/app.key");
    const OTHER: &str = include_str!("../../tests/gateway/identities/other.key");

    /// A file of this test's own, gone when dropped.
    struct File(PathBuf);

    impl File {
        fn of(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("forebay-{name}-{}", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn certificate() -> rcgen::Certificate {
        let key = rcgen::KeyPair::from_pem(APP).unwrap();
        rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap()
    }

    fn sign(certificate: &File, key: &File, now: SystemTime) -> Result<Assertion, AssertionError> {
        let claim = Claim {
            client_id: "client",
            token_endpoint: "https://login.test/tenant/oauth2/v2.0/token",
            certificate: &certificate.0,
            key: &key.0,
        };
        Assertion::sign(claim, now)
    }

    fn part(assertion: &Assertion, n: usize) -> Vec<u8> {
        let part = assertion.0.split('.').nth(n).unwrap();
        URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    fn json_of(assertion: &Assertion, n: usize) -> Value {
        serde_json::from_slice(&part(assertion, n)).unwrap()
    }

    #[test]
    fn an_assertion_says_what_entra_wants_to_hear_and_is_signed_with_the_certificates_key() {
        let own = certificate();
        let file = File::of("assertion", &format!("{APP}{}", own.pem()));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let assertion = sign(&file, &file, now).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(own.der()));
        let head = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
        assert_eq!(json_of(&assertion, 0), head);
        let mut claims = json_of(&assertion, 1);
        let id = claims["jti"].take();
        let said = json!({
            "aud": "https://login.test/tenant/oauth2/v2.0/token", "iss": "client", "sub": "client", "jti": null,
            "iat": 1_000_000, "nbf": 1_000_000, "exp": 1_000_300,
        });
        assert_eq!(claims, said);
        let again = sign(&file, &file, now).unwrap();
        assert_ne!(json_of(&again, 1)["jti"], id, "each has an id of its own");
        let (_, parsed) = X509Certificate::from_der(own.der()).unwrap();
        let key = parsed.public_key().subject_public_key.data.to_vec();
        let key = UnparsedPublicKey::new(&signature::RSA_PSS_2048_8192_SHA256, key);
        let (text, _) = assertion.0.rsplit_once('.').unwrap();
        key.verify(text.as_bytes(), &part(&assertion, 2)).unwrap();
    }

    #[test]
    fn the_chain_goes_along_where_the_file_has_one() {
        let (own, other) = (certificate(), certificate());
        let file = File::of("chain", &format!("{}{}{APP}", own.pem(), other.pem()));
        let head = json_of(&sign(&file, &file, SystemTime::now()).unwrap(), 0);
        let chain = [own, other].map(|it| STANDARD.encode(it.der()));
        assert_eq!(head["x5c"], json!(chain));
    }

    #[test]
    fn what_can_prove_nothing_is_told_by_its_file_and_never_by_what_it_holds() {
        let pem = certificate().pem();
        let good = File::of("good", &pem);
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (certificate, key, words) in [
            ("swordfish", APP, "contains no certificate"),
            (&pem, "swordfish", "contains no RSA private key"),
            (&pem, &elliptic, "contains no RSA private key"),
            (&pem, OTHER, "does not match the certificate"),
        ] {
            let files = [File::of("bad-crt", certificate), File::of("bad-key", key)];
            let error = sign(&files[0], &files[1], SystemTime::now()).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(words) && !said.contains("fish"), "{said}");
        }
        let gone = File("none.pem".into());
        let error = sign(&good, &gone, SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("none.pem can't be read"));
    }

    #[test]
    fn an_assertion_prints_as_stars() {
        let file = File::of("stars", &format!("{APP}{}", certificate().pem()));
        let assertion = sign(&file, &file, SystemTime::now()).unwrap();
        assert_eq!(format!("{assertion:?}"), "***");
    }
}
