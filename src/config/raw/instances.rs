//! `instances:` as written.

use crate::config::{
    problem::Placed,
    read::Tried,
    section::{Required, choice, section},
    value::{FilePath, Target, Url, Word},
};

section! {
    /// An Azure OpenAI resource, or another model server, that has deployments.
    struct Instance {
        /// The URL of its API, like `https://NAME.openai.azure.com`; with `kind: openai`, the base URL that ends in `/v1`.
        endpoint: Required<Placed<Url>>,
        /// The gateway's credential for it: a name in `identities`.
        identity: Required<Placed<String>>,
        /// Which API paths it has.
        #[schemars(extend("default" = "azure_openai"))]
        kind: Option<Kind>,
        /// Where it processes data, like `eu`; required if the gateway has a `geography`.
        geography: Option<Placed<Tried<Word>>>,
        /// The scope of its Entra tokens. Default: Cognitive Services in the endpoint's cloud. It must be one of Azure OpenAI's,
        /// or with `allow_host` that of an application of your own, like `api://models.contoso.example/.default`.
        scope: Option<Placed<String>>,
        /// Whether Entra tokens may be sent to this endpoint although its host is not Azure OpenAI's, or without TLS. The
        /// receiver can use them elsewhere.
        #[schemars(extend("default" = false))]
        allow_host: Option<bool>,
        /// PEM: certificate authorities to trust for its endpoint, in addition to the system's.
        ca: Option<Placed<FilePath>>,
        /// A private address to connect to. The certificate is still verified against the endpoint's host name.
        connect_to: Option<Target>,
        /// Whether the gateway requests the token usage of streamed chats if the client did not; what this adds to the stream
        /// is removed before the client gets it. If `false`, the usage of such streams is estimated.
        #[schemars(extend("default" = true))]
        stream_usage: Option<bool>,
        /// Allows an `http://` endpoint that is not on loopback: requests and credentials can be read on the network.
        #[schemars(extend("default" = false))]
        insecure_http: Option<bool>,
    }
    later "probe"
}

choice! {
    /// Which API paths an instance has.
    enum Kind as crate::domain::deployment::Kind {
        /// Azure OpenAI's.
        AzureOpenai = "azure_openai",
        /// OpenAI's, as vLLM and others have them.
        Openai = "openai",
    }
}
