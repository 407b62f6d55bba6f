//! A signed token in its compact form (RFC 7515, 7.1): taken apart, nothing in it believed yet.
//!
//! Of the header only `alg`, `kid` and `typ` are acted on. Where it offers a key of its own or says where to find one
//! (`jwk`, `jku`, `x5u`, `x5c`), that is whoever wrote the token speaking, and is not looked at.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{LONGEST, claims::Claims};
use crate::domain::client::issuer::Algorithm;
use crate::domain::refusal::Rejection;

/// As RFC 7515 wants it: no padding, and no second way to write the same bytes.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The longest key id, in bytes.
const LONGEST_KEY_ID: usize = 256;

/// A token's parts.
#[derive(Clone, Debug)]
pub struct Jwt<'a> {
    pub algorithm: Algorithm,
    pub key_id: String,
    pub claims: Claims,
    /// What is signed: header and claims as they were sent.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
}

/// Whether a bearer's credential is meant as a token: the first letters are those of `{"`.
pub fn looks_like_one(credential: &[u8]) -> bool {
    credential.starts_with(b"eyJ") && credential.contains(&b'.')
}

impl<'a> Jwt<'a> {
    pub fn read(token: &'a [u8]) -> Result<Self, Rejection> {
        if token.len() > LONGEST {
            return Err(Rejection::TooLong);
        }
        let parts: Vec<&[u8]> = token.splitn(6, |byte| *byte == b'.').collect();
        let [header, claims, signature] = match parts[..] {
            [header, claims, signature] => [header, claims, signature],
            [_, _, _, _, _] => return Err(Rejection::Encrypted),
            _ => return Err(Rejection::Malformed),
        };
        let (algorithm, key_id) = read_header(&Claims::parse(&decoded(header)?)?)?;
        let signed = header.len() + 1 + claims.len();
        Ok(Self {
            algorithm,
            key_id,
            claims: Claims::parse(&decoded(claims)?)?,
            signed: &token[..signed],
            signature: decoded(signature)?,
        })
    }
}

fn decoded(part: &[u8]) -> Result<Vec<u8>, Rejection> {
    BASE64URL.decode(part).map_err(|_| Rejection::Malformed)
}

fn read_header(header: &Claims) -> Result<(Algorithm, String), Rejection> {
    let word = |name| header.text(name).map_err(|_| Rejection::Malformed);
    if header.has("enc") || header.has("zip") {
        return Err(Rejection::Encrypted);
    }
    if header.has("crit") || header.has("b64") {
        return Err(Rejection::Critical);
    }
    if header.has("cty") {
        return Err(Rejection::Nested);
    }
    if !word("typ")?.is_none_or(is_access_token) {
        return Err(Rejection::WrongType);
    }
    let algorithm = word("alg")?
        .and_then(Algorithm::parse)
        .ok_or(Rejection::Algorithm)?;
    let fits = |id: &&str| !id.is_empty() && id.len() <= LONGEST_KEY_ID;
    let key_id = word("kid")?.filter(fits).ok_or(Rejection::NoKeyId)?;
    Ok((algorithm, key_id.to_owned()))
}

/// RFC 8725, 3.11: a token made for another purpose says so here.
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(
        kind.strip_prefix("application/").unwrap_or(&kind),
        "jwt" | "at+jwt"
    )
}
