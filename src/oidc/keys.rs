//! An issuer's signing keys, as it publishes them (RFC 7517): read strictly, and used by `ring`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::domain::client::{
    issuer::Algorithm,
    token::{Rejection, jwt::Jwt},
};

/// No issuer has more keys than this in use; what comes after them is not read.
const MOST: usize = 100;

/// The keys of one answer that can be used here.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Arc<Key>>);

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    material: Material,
    /// The only algorithm it is for, where its issuer says so.
    only: Option<Algorithm>,
    /// Its issuer does not publish it any more: nothing that it signed counts.
    is_withdrawn: AtomicBool,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<serde_json::Value>,
}

/// What is read of a key; the rest of it is its issuer's own matter.
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Entra's: whose tokens it may sign. `{tenantid}` stands for any tenant's.
    issuer: Option<String>,
}

impl Keys {
    /// Reads an answer; `None`: it is none, or holds no key that could be used. A key that is for something else, for another
    /// `tenant` of Entra, or of a kind we don't know, is passed over. Keys that were there before are kept as they are; those that are gone are
    /// withdrawn.
    pub(super) fn read(json: &[u8], tenant: Option<&str>, before: Option<&Self>) -> Option<Self> {
        let published: Published = serde_json::from_slice(json).ok()?;
        let mut keys: Vec<Arc<Key>> = Vec::new();
        let read = published.keys.into_iter().take(MOST);
        for key in read.filter_map(|key| Key::read(serde_json::from_value(key).ok()?, tenant)) {
            let known = before.and_then(|before| before.0.iter().find(|known| known.is(&key)));
            keys.push(known.map_or_else(|| Arc::new(key), Arc::clone));
        }
        // Two keys of one id: which is meant can't be told.
        let ids: Vec<String> = keys.iter().map(|key| key.id.clone()).collect();
        keys.retain(|key| ids.iter().filter(|id| **id == key.id).count() == 1);
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Nothing counts any more that a key signed which `next` does not have.
    pub(super) fn make_way_for(&self, next: &Self) {
        for key in &self.0 {
            if !next.0.iter().any(|other| Arc::ptr_eq(key, other)) {
                key.is_withdrawn.store(true, Ordering::Release);
            }
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&Arc<Key>> {
        self.0.iter().find(|key| key.id == id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn read(jwk: Jwk, tenant: Option<&str>) -> Option<Self> {
        let is_for_signatures = jwk.r#use.as_deref().is_none_or(|use_| use_ == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        let is_for_us = match (tenant, jwk.issuer.as_deref()) {
            (Some(tenant), Some(issuer)) => issuer
                .split('/')
                .any(|part| part == tenant || part == "{tenantid}"),
            _ => true,
        };
        let may = is_for_signatures && jwk.key_ops.as_ref().is_none_or(verifies) && is_for_us;
        let only = match jwk.alg.as_deref() {
            Some(word) => Some(Algorithm::parse(word)?),
            None => None,
        };
        let material = may.then(|| Material::read(&jwk)).flatten()?;
        Some(Self {
            id: jwk.kid,
            material,
            only,
            is_withdrawn: AtomicBool::new(false),
        })
    }

    fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.material == other.material && self.only == other.only
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Acquire)
    }

    /// Whether it signed this. The algorithm is the token's own word, which must be one for a key of this kind.
    pub(super) fn check(&self, jwt: &Jwt<'_>) -> Result<(), Rejection> {
        if self.only.is_some_and(|only| only != jwt.algorithm) {
            return Err(Rejection::WrongKey);
        }
        let (signed, signature) = (jwt.signed, &jwt.signature[..]);
        let rsa = |parameters: &'static signature::RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
        };
        let plain = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(signed, signature)
        };
        let verified = match (&self.material, jwt.algorithm) {
            (Material::Rsa { n, e }, algorithm) => rsa(rsa_parameters(algorithm)?, n, e),
            (Material::P256(key), Algorithm::ES256) => {
                plain(&signature::ECDSA_P256_SHA256_FIXED, key)
            }
            (Material::P384(key), Algorithm::ES384) => {
                plain(&signature::ECDSA_P384_SHA384_FIXED, key)
            }
            (Material::Ed25519(key), Algorithm::EdDSA) => plain(&signature::ED25519, key),
            _ => return Err(Rejection::WrongKey),
        };
        verified.map_err(|_| Rejection::BadSignature)
    }
}

/// RFC 7518, 3.3 asks for 2048 bits at least, and so does `ring`.
fn rsa_parameters(algorithm: Algorithm) -> Result<&'static signature::RsaParameters, Rejection> {
    Ok(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => return Err(Rejection::WrongKey),
    })
}

impl Material {
    fn read(jwk: &Jwk) -> Option<Self> {
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let point = |size: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            let fits = x.len() == size && y.len() == size;
            fits.then(|| [&[4], &x[..], &y[..]].concat())
        };
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
                // Some write the modulus with a zero in front, which means nothing and is not taken.
                let n = n.into_iter().skip_while(|byte| *byte == 0).collect();
                Some(Self::Rsa { n, e })
            }
            ("EC", Some("P-256")) => Some(Self::P256(point(32)?)),
            ("EC", Some("P-384")) => Some(Self::P384(point(48)?)),
            ("OKP", Some("Ed25519")) => Some(Self::Ed25519(bytes(&jwk.x)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(keys: Value, before: Option<&Keys>) -> Option<Keys> {
        let json = json!({ "keys": keys }).to_string();
        Keys::read(json.as_bytes(), Some("T"), before)
    }

    fn rsa(id: &str, more: &[(&str, &str)]) -> Value {
        let mut key = json!({"kid": id, "kty": "RSA", "n": "sXchDaQebHnPiGvyDOAT", "e": "AQAB"});
        for (name, value) in more {
            key[*name] = (*value).into();
        }
        key
    }

    #[test]
    fn keys_for_anything_else_are_passed_over() {
        let ops = |op: &str| {
            let mut key = rsa("a", &[]);
            key["key_ops"] = json!([op]);
            key
        };
        for (key, is_good) in [
            (rsa("a", &[]), true),
            (rsa("a", &[("use", "sig"), ("alg", "RS256")]), true),
            (rsa("a", &[("issuer", "https://i.test/T/v2.0")]), true),
            (
                rsa("a", &[("issuer", "https://i.test/{tenantid}/v2.0")]),
                true,
            ),
            (ops("verify"), true),
            (rsa("a", &[("use", "enc")]), false),
            (rsa("a", &[("alg", "RSA-OAEP")]), false),
            (rsa("a", &[("alg", "HS256")]), false),
            (
                rsa("a", &[("issuer", "https://i.test/another/v2.0")]),
                false,
            ),
            (rsa("a", &[("kty", "oct")]), false),
            (rsa("a", &[("n", "a+b=")]), false),
            (ops("encrypt"), false),
            (json!({"kid": "a", "kty": "oct", "k": "AAAA"}), false),
            (
                json!({"kid": "a", "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
                false,
            ),
            (json!({"kty": "RSA", "n": "AAAA", "e": "AQAB"}), false),
            (json!("a"), false),
        ] {
            assert_eq!(read(json!([key]), None).is_some(), is_good, "{key}");
        }
        assert!(Keys::read(b"{}", None, None).is_none());
        assert!(Keys::read(b"<html>", None, None).is_none());
    }

    #[test]
    fn an_id_that_two_keys_have_is_nobodys() {
        let other = rsa("a", &[("n", "AAAAsXchDaQebHnPiGvy")]);
        let keys = read(json!([rsa("a", &[]), other, rsa("b", &[])]), None).unwrap();
        assert!(keys.find("a").is_none() && keys.find("b").is_some());
    }

    #[test]
    fn a_key_that_stays_is_the_same_and_one_that_goes_or_changes_is_withdrawn() {
        let first = read(json!([rsa("a", &[]), rsa("b", &[]), rsa("c", &[])]), None).unwrap();
        let changed = rsa("b", &[("n", "AAAAsXchDaQebHnPiGvy")]);
        let second = read(json!([rsa("a", &[]), changed]), Some(&first)).unwrap();
        first.make_way_for(&second);
        let withdrawn = |id| first.find(id).unwrap().is_withdrawn();
        assert!(Arc::ptr_eq(
            first.find("a").unwrap(),
            second.find("a").unwrap()
        ));
        assert_eq!(
            (withdrawn("a"), withdrawn("b"), withdrawn("c")),
            (false, true, true)
        );
        assert!(!second.find("b").unwrap().is_withdrawn());
    }
}
