//! `clients:` as written, but for their limits.

use crate::config::{
    problem::Placed,
    read::{List, Named, Tried},
    section::{Beside, OnlyOneBeside, Required, choice, section},
    value::{FilePath, Hash, Url, Word},
};

use super::ClientLimits;

section! {
    /// An application that may call, and what it may use. It needs at least one credential.
    struct Client {
        /// Hashes of its keys; at most two, so that a key can be rotated.
        #[schemars(length(min = 1, max = 2))]
        keys: Option<Tried<Placed<List<Placed<Hash>>>>>,
        /// What its Entra tokens must contain.
        entra: Option<Tried<Placed<Entra>>>,
        /// What its tokens of another issuer must contain.
        token: Option<Tried<Placed<Token>>>,
        /// The names in its certificates, if a listener asks for them: one of them must match.
        #[schemars(length(min = 1))]
        certificates: Option<Tried<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>>,
        /// The `models` that it may use; `"*"` for all.
        #[schemars(length(min = 1))]
        models: Required<Placed<List<Placed<String>>>>,
        /// The kinds of requests that it may send. Default: `inference`.
        #[schemars(length(min = 1), extend("default" = ["inference"]))]
        operations: Option<Placed<List<Placed<Operation>>>>,
        /// Its rate limits and quotas. Default: no limits.
        limits: Option<ClientLimits>,
        /// Whether its prompts are written to the file of `log.prompts`.
        #[schemars(extend("default" = false))]
        log_prompts: Option<Placed<bool>>,
    }
    later "priority"
}

section! {
    /// A name in a certificate, exactly as written there: exactly one of these, and optionally its `ca`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
    struct CertificateName {
        /// The whole subject, like `CN=batch,OU=AI,O=Contoso` (RFC 4514).
        subject: Option<Placed<String>>,
        /// The subject's common name, if it has exactly one.
        common_name: Option<Placed<String>>,
        /// A subject alternative name of the type `DNS`.
        dns: Option<Placed<String>>,
        /// A subject alternative name of the type `URI`, like `spiffe://contoso/batch`.
        uri: Option<Placed<String>>,
        /// A subject alternative name of the type `email`.
        email: Option<Placed<String>>,
        /// PEM: the certificate authorities one of which must have signed it. Required if listeners' `client_ca` contain
        /// several: each of them could issue this name to somebody else.
        ca: Option<Tried<Placed<FilePath>>>,
    }
}

impl Beside for CertificateName {
    const BESIDE: &'static str = "ca";
}

section! {
    /// What a client's Entra tokens must contain; all of it must match. An application, a role or a group is required, since
    /// any application of the tenant can get a token.
    struct Entra {
        /// The directory (tenant) id.
        tenant_id: Required<Placed<Word>>,
        /// The `aud` that the token must have: the application id, or the application id URI, of this gateway.
        #[schemars(length(min = 1))]
        audiences: Required<Placed<List<Placed<Word>>>>,
        /// The application (client) id of the application that requests the token (`azp`, `appid`).
        application_id: Option<Tried<Placed<Word>>>,
        /// Roles that the token must have, all of them.
        #[schemars(length(min = 1))]
        roles: Option<Placed<List<Placed<Word>>>>,
        /// Scopes that the token must have, all of them; only users' tokens have scopes.
        #[schemars(length(min = 1))]
        scopes: Option<Placed<List<Placed<Word>>>>,
        /// Groups that the token must have, all of them, by object id.
        #[schemars(length(min = 1))]
        groups: Option<Placed<List<Placed<Word>>>>,
        /// Whether it must be the application's own token, or that of a user of the application. Default: `app_only` if
        /// `application_id` is set without `scopes` and `groups`, else `any`.
        access: Option<TokenAccess>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

choice! {
    /// Whose token it is.
    enum TokenAccess {
        /// The application's own token (`idtyp: app`), without a user.
        AppOnly = "app_only",
        /// The token of a user who has signed in to the application.
        Delegated = "delegated",
        /// Either.
        Any = "any",
    }
}

section! {
    /// What a client's tokens of an issuer must contain; all of it must match.
    struct Token {
        /// A name in `issuers`.
        issuer: Required<Placed<String>>,
        /// Claims by name, like `sub: jobs`: the claim must have this value, or contain it if it is a list. A name that starts
        /// with `/` is a path, like `/realm_access/roles`.
        #[schemars(extend("minProperties" = 1))]
        claims: Option<Placed<Named<Placed<Word>>>>,
        /// Scopes that the token must have, all of them.
        #[schemars(length(min = 1))]
        scopes: Option<Placed<List<Placed<Word>>>>,
    }
}

choice! {
    /// A kind of request that a client may send.
    enum Operation {
        /// Requests that keep and use no state.
        Inference = "inference",
        /// Requests that keep or use state at the instance: stored responses, conversations, files.
        Stateful = "stateful",
        /// Sessions over WebSockets. The gateway does not read what is sent in them: a client can have audio transcribed by
        /// any deployment of the instance.
        Realtime = "realtime",
        /// Chats with `data_sources` of the client's choice: the instance may open them with its own identity, and embed
        /// texts with any of its deployments.
        DataSources = "data_sources",
    }
    later "files"
}
