//! `issuers:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{Required, choice, section},
    value::{FilePath, IssuerUrl, Span, Url, Word},
};

section! {
    /// An OpenID Connect issuer, or another that signs its tokens and publishes its keys.
    struct Issuer {
        /// What it calls itself, to the letter: the `iss` of its tokens. Discovery is asked below it.
        url: Required<Placed<IssuerUrl>>,
        /// Whom its tokens must be for: the `aud` that stands for this gateway, and no other service.
        #[schemars(length(min = 1))]
        audiences: Required<Placed<List<Placed<Word>>>>,
        /// What its tokens may be signed with; RS256 and ES256 unless given.
        #[schemars(length(min = 1))]
        algorithms: Option<Placed<List<Algorithm>>>,
        /// How far its clock and ours may be apart; five minutes at most.
        #[schemars(extend("default" = "60s"))]
        leeway: Option<Placed<Span>>,
        /// Where its keys are, if it has no discovery document.
        jwks: Option<Placed<Url>>,
        /// PEM: the certificate authorities that may have signed its certificate, beside the system's.
        ca: Option<Placed<FilePath>>,
    }
}

choice! {
    /// What a token may be signed with: a private key's signature, which a public key checks.
    enum Algorithm {
        /// RSA (PKCS #1) with SHA-256: the most usual.
        Rs256 = "RS256",
        /// RSA (PKCS #1) with SHA-384.
        Rs384 = "RS384",
        /// RSA (PKCS #1) with SHA-512.
        Rs512 = "RS512",
        /// RSA (PSS) with SHA-256.
        Ps256 = "PS256",
        /// RSA (PSS) with SHA-384.
        Ps384 = "PS384",
        /// RSA (PSS) with SHA-512.
        Ps512 = "PS512",
        /// P-256 with SHA-256.
        Es256 = "ES256",
        /// P-384 with SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}
