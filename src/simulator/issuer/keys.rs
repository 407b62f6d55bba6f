//! The simulated issuer's keys: three of RSA from the source, and one of each curve made at the start.

use std::io;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    error::KeyRejected,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

const RSA: [&str; 3] = [
    include_str!("test-rsa-1.pem"),
    include_str!("test-rsa-2.pem"),
    include_str!("test-rsa-3.pem"),
];

pub(super) struct Key {
    pub(super) id: String,
    pair: Pair,
    pub(super) is_published: bool,
    pub(super) was_withdrawn: bool,
    /// The one tenant whose tokens it is for; `None`: any tenant's.
    pub(super) tenant: Option<String>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

/// `rsa-1` to `rsa-3`, of which the first is published, then `ec-256`, `ec-384` and `ed`.
pub(super) fn all() -> io::Result<Vec<Key>> {
    let unmade = |_| io::Error::other("a test key can't be made");
    let wrong = |error: KeyRejected| io::Error::other(error.to_string());
    let mut keys = Vec::new();
    for (number, pem) in (1..).zip(RSA) {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(wrong)?;
        keys.push(Key::new(
            &format!("rsa-{number}"),
            Pair::Rsa(pair),
            number == 1,
        ));
    }
    let random = SystemRandom::new();
    let curve = |algorithm: &'static EcdsaSigningAlgorithm, name| {
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(unmade)?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random);
        Ok::<_, io::Error>(Pair::Ec(pair.map_err(wrong)?, name))
    };
    let p256 = curve(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")?;
    let p384 = curve(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")?;
    let der = Ed25519KeyPair::generate_pkcs8(&random).map_err(unmade)?;
    let ed = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(wrong)?;
    keys.push(Key::new("ec-256", p256, true));
    keys.push(Key::new("ec-384", p384, true));
    keys.push(Key::new("ed", Pair::Ed(ed), true));
    Ok(keys)
}

impl Key {
    fn new(id: &str, pair: Pair, is_published: bool) -> Self {
        Self {
            id: id.into(),
            pair,
            is_published,
            was_withdrawn: false,
            tenant: None,
        }
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.pair, Pair::Rsa(_))
    }

    /// The key as RFC 7517 has it.
    pub(super) fn published(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Rsa(pair) => {
                let parts: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kid": self.id, "kty": "RSA", "use": "sig", "n": text(&parts.n), "e": text(&parts.e)})
            }
            Pair::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kid": self.id, "kty": "EC", "use": "sig", "crv": curve, "x": text(x), "y": text(y)})
            }
            Pair::Ed(pair) => {
                let x = pair.public_key().as_ref();
                json!({"kid": self.id, "kty": "OKP", "use": "sig", "crv": "Ed25519", "x": text(x)})
            }
        }
    }

    /// As Entra publishes it, which says whose tokens it is for: `{tenantid}` stands for any tenant.
    pub(super) fn published_at(&self, base: &str) -> Value {
        let mut published = self.published();
        let tenant = self.tenant.as_deref().unwrap_or("{tenantid}");
        published["issuer"] = json!(format!("{base}/{tenant}/v2.0"));
        published
    }

    /// As this algorithm says, if the key is of its kind; as is usual for it, if not.
    pub(super) fn sign(&self, signed: &[u8], algorithm: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                // Fails only for a buffer of another length.
                let _ = pair.sign(padding, &random, signed, &mut signature);
                signature
            }
            Pair::Ec(pair, _) => {
                let signature = pair.sign(&random, signed);
                signature.map(|s| s.as_ref().to_vec()).unwrap_or_default()
            }
            Pair::Ed(pair) => pair.sign(signed).as_ref().to_vec(),
        }
    }
}
