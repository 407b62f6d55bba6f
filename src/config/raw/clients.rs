//! `clients:` as written, but for their limits.

use crate::config::{
    problem::Placed,
    read::{List, Named, Tried},
    section::{Beside, OnlyOneBeside, Required, choice, section},
    value::{FilePath, Hash, Url, Word},
};

use super::ClientLimits;

section! {
    /// Who may call, and for what. A client has at least one way to prove itself.
    struct Client {
        /// Hashes of its keys, two at most, so that a key can be rolled.
        #[schemars(length(min = 1, max = 2))]
        keys: Option<Tried<Placed<List<Placed<Hash>>>>>,
        /// What its Entra tokens say.
        entra: Option<Tried<Placed<Entra>>>,
        /// What its tokens of another issuer say.
        token: Option<Tried<Placed<Token>>>,
        /// What its certificates say, where a listener asks for them: any one of these names.
        #[schemars(length(min = 1))]
        certificates: Option<Tried<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>>,
        /// Names of `models` that it may use; `"*"`: all.
        #[schemars(length(min = 1))]
        models: Required<Placed<List<Placed<String>>>>,
        /// What it may have done; answers that leave nothing behind unless given.
        #[schemars(length(min = 1), extend("default" = ["inference"]))]
        operations: Option<Placed<List<Placed<Operation>>>>,
        /// What it may spend; without limits unless given.
        limits: Option<ClientLimits>,
        /// Whether its prompts are kept, in the file of `log.prompts`.
        #[schemars(extend("default" = false))]
        log_prompts: Option<Placed<bool>>,
    }
    later "priority"
}

section! {
    /// A name in a certificate, exactly as it stands there: exactly one, and perhaps who has signed it.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
    struct CertificateName {
        /// The whole subject, like `CN=batch,OU=AI,O=Contoso` (RFC 4514).
        subject: Option<Placed<String>>,
        /// The subject's common name, where it has one only.
        common_name: Option<Placed<String>>,
        /// An alternative name of the kind `DNS`.
        dns: Option<Placed<String>>,
        /// An alternative name of the kind `URI`, like `spiffe://contoso/batch`.
        uri: Option<Placed<String>>,
        /// An alternative name of the kind `email`.
        email: Option<Placed<String>>,
        /// PEM: the authorities one of which must have signed it. Needed where listeners' `client_ca` name several: each
        /// could give this name to somebody else.
        ca: Option<Tried<Placed<FilePath>>>,
    }
}

impl Beside for CertificateName {
    const BESIDE: &'static str = "ca";
}

section! {
    /// What a client's Entra tokens say: all of it. An application, a role or a group is named, since any application of the
    /// tenant can get a token.
    struct Entra {
        /// The directory (tenant) id.
        tenant_id: Required<Placed<Word>>,
        /// Whom the token must be for: the application id, or the application id URI, that stands for this gateway.
        #[schemars(length(min = 1))]
        audiences: Required<Placed<List<Placed<Word>>>>,
        /// The application (client) id of the application that gets the token (`azp`, `appid`).
        application_id: Option<Tried<Placed<Word>>>,
        /// Roles that it must all have.
        #[schemars(length(min = 1))]
        roles: Option<Placed<List<Placed<Word>>>>,
        /// Scopes that it must all have: only tokens of persons have any.
        #[schemars(length(min = 1))]
        scopes: Option<Placed<List<Placed<Word>>>>,
        /// Groups that it must be in, all of them, by object id.
        #[schemars(length(min = 1))]
        groups: Option<Placed<List<Placed<Word>>>>,
        /// Whether it must be an application's own token, or that of a person who uses the application. Unless given: its own
        /// where `application_id` is named without `scopes` and `groups`, else either.
        access: Option<TokenAccess>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: the certificate authorities that may have signed the authority's certificate, beside the system's.
        ca: Option<Placed<FilePath>>,
    }
}

choice! {
    /// Whose token it is.
    enum TokenAccess {
        /// The application's own (`idtyp: app`): nobody has signed in.
        AppOnly = "app_only",
        /// That of a person who has signed in to the application.
        Delegated = "delegated",
        /// Either.
        Any = "any",
    }
}

section! {
    /// What a client's tokens of an issuer say: all of it.
    struct Token {
        /// A name of `issuers`.
        issuer: Required<Placed<String>>,
        /// Claims by name, each a text that the claim is, or that it holds if it is a list, like `sub: jobs`. A name that
        /// starts with `/` is a path, like `/realm_access/roles`.
        #[schemars(extend("minProperties" = 1))]
        claims: Option<Placed<Named<Placed<Word>>>>,
        /// Scopes that it must all have.
        #[schemars(length(min = 1))]
        scopes: Option<Placed<List<Placed<Word>>>>,
    }
}

choice! {
    /// A kind of work that a client may have done.
    enum Operation {
        /// Answers, and nothing that outlives them.
        Inference = "inference",
        /// Inference that keeps or uses state at the instance that answers: stored responses, conversations, files.
        Stateful = "stateful",
        /// Sessions over WebSockets. What passes in them is not read: who opens one may have its sound transcribed by any
        /// deployment of the instance.
        Realtime = "realtime",
        /// Chats over sources of data that the client names (`data_sources`): the instance may open them with its own
        /// identity, and have texts embedded by any of its deployments.
        DataSources = "data_sources",
    }
    later "files"
}
