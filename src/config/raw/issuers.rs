//! `issuers:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{Required, choice, section},
    value::{FilePath, IssuerUrl, Span, Url, Word},
};

section! {
    /// An OpenID Connect issuer, or another one that signs its tokens and publishes its signing keys.
    struct Issuer {
        /// Exactly the `iss` of its tokens. The discovery document is fetched from below it.
        url: Required<Placed<IssuerUrl>>,
        /// The `aud` that its tokens must have: one that means this gateway and no other service.
        #[schemars(length(min = 1))]
        audiences: Required<Placed<List<Placed<Word>>>>,
        /// Accepted signature algorithms. Default: RS256 and ES256.
        #[schemars(length(min = 1))]
        algorithms: Option<Placed<List<Algorithm>>>,
        /// The accepted difference between its clock and the gateway's; at most five minutes.
        #[schemars(extend("default" = "60s"))]
        leeway: Option<Placed<Span>>,
        /// The URL of its signing keys (JWKS), if it has no discovery document.
        jwks: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for it, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

choice! {
    /// A signature algorithm with a public and a private key.
    enum Algorithm as crate::domain::client::issuer::Algorithm {
        /// RSA (PKCS #1) with SHA-256, the most common.
        RS256 = "RS256",
        /// RSA (PKCS #1) with SHA-384.
        RS384 = "RS384",
        /// RSA (PKCS #1) with SHA-512.
        RS512 = "RS512",
        /// RSA (PSS) with SHA-256.
        PS256 = "PS256",
        /// RSA (PSS) with SHA-384.
        PS384 = "PS384",
        /// RSA (PSS) with SHA-512.
        PS512 = "PS512",
        /// P-256 with SHA-256.
        ES256 = "ES256",
        /// P-384 with SHA-384.
        ES384 = "ES384",
        /// Ed25519.
        EdDSA = "EdDSA",
    }
}
