//! The shapes of path that clients speak, and what all of them have in common: how a segment is written, and which
//! parameters of a query carry a credential.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

use super::deployment::Instance;

/// The shape of path a client speaks; it decides the shape that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/openai/deployments/{model}/…?api-version=…`, and `/openai/…` where the body names the model.
    Classic,
    /// `/openai/v1/…`
    V1,
    /// `/v1/…`, as clients of OpenAI itself send.
    Plain,
    /// `/models/…?api-version=…`, the model inference API of Foundry (azure-ai-inference).
    Inference,
}

impl Dialect {
    /// The shape that an instance is asked in. Of Azure's hosts only Foundry's have the model inference path; all of them
    /// take the same on v1's.
    pub fn at(self, instance: &Instance) -> Self {
        match self {
            Self::Inference if !instance.endpoint.is_foundry() => Self::Plain,
            shape => shape,
        }
    }
}

/// What stays as it is in a path segment (RFC 3986's unreserved characters).
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether a query parameter carries a client's key, however it is escaped or spelled: by Azure's name for it, by those of
/// API Management and OAuth, or as browsers name it that can set no headers.
pub(super) fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "api-key",
        "api_key",
        "apikey",
        "authorization",
        "subscription-key",
        "access_token",
        "ocp-apim-subscription-key",
    ];
    let name = percent_decode_str(name).decode_utf8_lossy();
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
