//! Who hands tokens to clients, and what its tokens must look like to be looked at any further.

use std::{path::PathBuf, time::Duration};

use crate::domain::name::IssuerName;

/// How far clocks may be apart, unless the config says otherwise.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Azure's own authority; sovereign clouds have others.
pub const AUTHORITY: &str = "https://login.microsoftonline.com";

/// One entry of `issuers:`, or the Entra tenant of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub name: IssuerName,
    /// What it calls itself: the `iss` of its tokens, and what its discovery document must say.
    pub url: String,
    pub keys: KeysAt,
    pub kind: IssuerKind,
    /// What its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// How far its clock and ours may be apart.
    pub leeway: Duration,
    /// Certificate authorities (PEM) that may have signed its certificate, beside the system's.
    pub ca: Option<PathBuf>,
}

/// Where an issuer publishes its signing keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// The discovery document at this URL says where.
    Discovery(String),
    Jwks(String),
}

/// How an issuer's tokens are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKind {
    Oidc,
    Entra {
        tenant_id: String,
        /// The `iss` of v1.0 tokens.
        v1: String,
    },
}

/// Signatures by public keys only: with a shared secret, everyone who can check a token could make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];
    /// What nearly every issuer signs with.
    pub const USUAL: [Self; 2] = [Self::RS256, Self::ES256];

    /// The word in a token's header, as RFC 7518 and RFC 8037 have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// `None`: another word, or one for a shared secret or for no signature at all.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl Issuer {
    /// An Entra tenant at an authority, which is scheme and host without a slash at the end.
    pub fn entra(name: &str, authority: &str, tenant_id: &str, ca: Option<PathBuf>) -> Self {
        let url = format!("{authority}/{tenant_id}/v2.0");
        let china = authority.ends_with(".partner.microsoftonline.cn")
            || authority.ends_with(".chinacloudapi.cn");
        let v1 = if china {
            "https://sts.chinacloudapi.cn"
        } else {
            "https://sts.windows.net"
        };
        Self {
            name: name.into(),
            keys: KeysAt::Discovery(discovery(&url)),
            url,
            kind: IssuerKind::Entra {
                tenant_id: tenant_id.into(),
                v1: format!("{v1}/{tenant_id}/"),
            },
            algorithms: vec![Algorithm::RS256],
            leeway: LEEWAY,
            ca,
        }
    }

    /// Every `iss` that its tokens may carry.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let v1 = match &self.kind {
            IssuerKind::Entra { v1, .. } => Some(v1.as_str()),
            IssuerKind::Oidc => None,
        };
        std::iter::once(self.url.as_str()).chain(v1)
    }
}

/// Where the discovery document of an issuer is (OpenID Connect Discovery 1.0, section 4).
pub fn discovery(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_for_a_shared_secret_or_for_nothing_is_an_algorithm() {
        for word in [
            "none", "None", "HS256", "HS384", "HS512", "rs256", "RS1", "",
        ] {
            assert_eq!(Algorithm::parse(word), None, "{word}");
        }
        for known in Algorithm::ALL {
            assert_eq!(Algorithm::parse(known.as_str()), Some(known));
        }
    }

    #[test]
    fn a_tenant_has_the_two_names_of_its_cloud() {
        let names = |authority| {
            let issuer = Issuer::entra("e", authority, "T", None);
            issuer.names().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            names(AUTHORITY),
            [
                "https://login.microsoftonline.com/T/v2.0",
                "https://sts.windows.net/T/"
            ]
        );
        assert_eq!(
            names("https://login.partner.microsoftonline.cn")[1],
            "https://sts.chinacloudapi.cn/T/"
        );
    }

    #[test]
    fn a_discovery_document_is_below_its_issuer() {
        for issuer in ["https://i.test/a", "https://i.test/a/"] {
            let wanted = "https://i.test/a/.well-known/openid-configuration";
            assert_eq!(discovery(issuer), wanted);
        }
    }
}
