//! `instances:` as written.

use crate::config::{
    problem::Placed,
    read::Tried,
    section::{Required, choice, section},
    value::{FilePath, Target, Url, Word},
};

section! {
    /// A resource that deployments live on.
    struct Instance {
        /// Where its API is, like `https://NAME.openai.azure.com`; with `kind: openai`, the base URL that ends in `/v1`.
        endpoint: Required<Placed<Url>>,
        /// How the gateway proves itself there: a name of `identities`.
        identity: Required<Placed<String>>,
        /// Which paths it speaks.
        #[schemars(extend("default" = "azure_openai"))]
        kind: Option<Kind>,
        /// Where it processes data, like `eu`; needed where the gateway names its own.
        geography: Option<Placed<Tried<Word>>>,
        /// What its Entra tokens are for; unless given, Cognitive Services of the cloud that its endpoint is in. One of Azure
        /// OpenAI's own, or with `allow_host` an application's of your own, like `api://models.contoso.example/.default`.
        scope: Option<Placed<String>>,
        /// Whether Entra tokens may go to its endpoint although that is none of Azure OpenAI's own names, or not over TLS: whoever
        /// answers there can use them elsewhere.
        #[schemars(extend("default" = false))]
        allow_host: Option<bool>,
        /// PEM: more certificate authorities that may have signed its certificate, beside the system's.
        ca: Option<Placed<FilePath>>,
        /// A private address to connect to; the endpoint's name is verified all the same.
        connect_to: Option<Target>,
        /// Whether chats that stream are asked for their usage where the client did not ask; what that adds to a stream is
        /// taken out again. Off: such streams are counted by estimate.
        #[schemars(extend("default" = true))]
        stream_usage: Option<bool>,
        /// Allows an `http://` endpoint elsewhere than on loopback: requests and credentials can be read on the way.
        #[schemars(extend("default" = false))]
        insecure_http: Option<bool>,
    }
    later "probe"
}

choice! {
    /// Which paths an instance speaks.
    enum Kind {
        /// Azure OpenAI's.
        AzureOpenai = "azure_openai",
        /// OpenAI's, as vLLM and others have them.
        Openai = "openai",
    }
}
