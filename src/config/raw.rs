//! The config as written: each section with its fields, and what editors say about them.
//!
//! These definitions are the only ones: reader and JSON Schema come from them. What a field means when left out is said
//! here and decided in `build`.

mod limits;
mod logs;
mod otlp;
mod prices;

pub(super) use limits::{ClientLimits, Counters, Limits, OverMaxOutput};

use super::{
    problem::Placed,
    read::{List, Named, Tried},
    section::{Beside, OnlyOne, OnlyOneBeside, Required, choice, section},
    value::{
        Address, Cidr, FilePath, Guid, Hash, Hidden, IssuerUrl, PageOrigin, Percent, Size, Span,
        Target, Url, Word,
    },
};
pub(super) use logs::{Log, LogFile, Prompts, Rotate};
pub(super) use otlp::{Otlp, OtlpProtocol, OtlpSignal};
pub(super) use prices::{ModelPrices, Prices, Rates};

section! {
    /// The configuration of a Forebay gateway. Any string may contain `${env:NAME}` or `${file:PATH}`. Top-level keys that
    /// begin with `x-` are ignored; use them for YAML anchors.
    #[schemars(extend("patternProperties" = { "^x-": true }))]
    struct Config {
        /// Where clients connect.
        #[schemars(length(min = 1))]
        listeners: Required<Placed<List<Listener>>>,
        /// The admin listener: metrics, health and status. Default: none.
        admin: Option<Admin>,
        /// Azure Front Door, if clients must come through it.
        front_door: Option<FrontDoor>,
        /// Web pages of other origins that may call from a browser (CORS). Default: none.
        cors: Option<Cors>,
        /// The gateway's own geography, like `eu`. If it is set, an instance of another geography is an error.
        geography: Option<Placed<Word>>,
        /// The gateway's credentials for instances, by names of your choice.
        identities: Required<Named<OnlyOne<Identity>>>,
        /// Azure OpenAI resources and other model servers, by names of your choice.
        instances: Required<Named<Instance>>,
        /// The models that clients can request, by the names they use: each is a pool of deployments.
        models: Required<Placed<Named<Model>>>,
        /// OpenID Connect issuers of clients' tokens, by names of your choice. Entra needs no entry: clients name their tenant.
        issuers: Option<Named<Issuer>>,
        /// The applications that may call, by names of your choice.
        clients: Option<Tried<Placed<Named<Client>>>>,
        /// Instead of `clients`: everybody who can reach a listener may call every model, for inference.
        anonymous: Option<Tried<Placed<bool>>>,
        /// How clients' usage is counted and kept.
        counters: Option<Counters>,
        /// Prices of tokens, to count the costs of requests.
        prices: Option<Prices>,
        /// The HTTP server.
        server: Option<Server>,
        /// Failover: timeouts, attempts and the retry budget.
        failover: Option<Failover>,
        /// The circuit breaker of each deployment, and the limits of cooldowns.
        breaker: Option<Breaker>,
        /// When `/health` returns 503.
        health: Option<Health>,
        /// Drain after a termination signal.
        drain: Option<Drain>,
        /// Logs.
        log: Option<Log>,
        /// An OpenTelemetry collector that gets traces and metrics. Default: none.
        otlp: Option<Otlp>,
        /// How many clients have labels of their own in `/metrics`.
        metrics: Option<Metrics>,
        /// Whether answers have headers with the deployment and the number of attempts (`x-forebay-deployment`, `x-forebay-attempts`).
        #[schemars(extend("default" = false))]
        reveal: Option<bool>,
    }
    later "limits", "probe"
}

section! {
    /// An address that clients connect to.
    struct Listener {
        /// IP address and port; each listener needs its own.
        address: Required<Placed<Address>>,
        /// Enables TLS, with HTTP/1.1 and HTTP/2.
        tls: Option<Tls>,
        /// The maximum number of open connections; further ones are closed at once.
        #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
        max_connections: Option<Placed<i64>>,
    }
}

section! {
    /// A listener's certificate, and the client certificates that it asks for. Changed files are reloaded automatically.
    struct Tls {
        /// PEM: the certificate, followed by its intermediate certificates.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the certificate's private key.
        key: Required<Placed<FilePath>>,
        /// PEM: the certificate authorities of client certificates. Default: clients are not asked for a certificate.
        client_ca: Option<Placed<Tried<FilePath>>>,
        /// Whether a client must send a certificate. Default with `client_ca`: `required`.
        client_certificate: Option<Placed<AskedFor>>,
    }
}

choice! {
    /// Whether a client must send a certificate.
    enum AskedFor {
        /// Without a certificate the TLS handshake fails.
        Required = "required",
        /// The client may use another credential instead.
        Optional = "optional",
    }
}

section! {
    /// The admin listener for operators; clients should not be able to reach it.
    struct Admin {
        /// Best on loopback, like `127.0.0.1:9090`. Any other needs `token`, or `tls` with `client_ca`.
        address: Required<Placed<Address>>,
        /// The hash of the token that operators send as `Authorization: Bearer TOKEN`; `/health/live` and `/health/ready`
        /// need none. Together with `certificates`, both are required.
        token: Option<Tried<Hash>>,
        /// Enables TLS.
        tls: Option<Tls>,
        /// The names in operators' certificates, if `tls` has a `client_ca`: one of them must match.
        #[schemars(length(min = 1))]
        certificates: Option<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>,
    }
}

section! {
    /// Azure Front Door in front of the gateway: requests that did not come through it are rejected, except `/health`.
    struct FrontDoor {
        /// The ids of your Front Door profiles; each request must have one of them in `X-Azure-FDID`.
        #[schemars(length(min = 1))]
        ids: Required<Placed<List<Placed<Guid>>>>,
        /// Networks that connections may come from, like `10.0.0.0/8`. Default: any. The service tag
        /// `AzureFrontDoor.Backend` lists those of Front Door.
        #[schemars(length(min = 1))]
        networks: Option<Placed<List<Placed<Cidr>>>>,
    }
}

section! {
    /// CORS: which web pages may call from a browser. Their preflight requests are answered, and they may read the answers.
    /// Pages of other origins can't use a client certificate or `anonymous`.
    struct Cors {
        /// Each as browsers write it, like `https://app.contoso.example`.
        #[schemars(length(min = 1))]
        origins: Required<Placed<List<Placed<PageOrigin>>>>,
    }
}

section! {
    /// A credential of the gateway for Azure: exactly one of these.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    struct Identity {
        /// The managed identity of this VM: `{}` for the system-assigned one, or a user-assigned one.
        managed_identity: Option<ManagedIdentity>,
        /// The federated token of a Kubernetes service account.
        workload_identity: Option<WorkloadIdentity>,
        /// An app registration, usually in another tenant, that trusts a managed identity of this machine; needs no secret.
        federated_identity: Option<FederatedIdentity>,
        /// An app registration with a client secret.
        client_secret: Option<ClientSecret>,
        /// An app registration with a certificate.
        client_certificate: Option<ClientCertificate>,
        /// The user logged in to the Azure CLI (`az login`); for a developer's own machine only.
        azure_cli: Option<AzureCli>,
        /// The instance's API key, if Entra can't be used.
        api_key: Option<Hidden>,
    }
}

section! {
    /// The managed identity of a VM, or of an app in App Service, Functions or Container Apps (which set
    /// `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`).
    struct ManagedIdentity {
        /// The client id of a user-assigned identity. Set at most one of these three; default: the system-assigned identity.
        client_id: Option<Tried<Placed<Word>>>,
        /// The object id of the identity's service principal.
        object_id: Option<Tried<Placed<Word>>>,
        /// The identity's resource id: `/subscriptions/…/userAssignedIdentities/NAME`. Not for App Service.
        msi_res_id: Option<Tried<Placed<Word>>>,
        /// The token endpoint. Default: `http://169.254.169.254`.
        endpoint: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the endpoint, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Entra Workload ID. Default values come from the `AZURE_…` variables that its webhook sets.
    struct WorkloadIdentity {
        /// Default: `AZURE_TENANT_ID`.
        tenant_id: Option<Word>,
        /// Default: `AZURE_CLIENT_ID`.
        client_id: Option<Word>,
        /// Default: `AZURE_FEDERATED_TOKEN_FILE`.
        token_file: Option<FilePath>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a federated credential for a user-assigned managed identity: the identity's token for
    /// `api://AzureADTokenExchange` replaces a secret. This is Microsoft's recommended way across tenants.
    struct FederatedIdentity {
        /// The directory (tenant) id of the app registration.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The managed identity of this machine that the app registration trusts.
        managed_identity: Required<Placed<ManagedIdentity>>,
        /// The authority. Default: `https://login.microsoftonline.com`, or that of the endpoint's sovereign cloud.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Tokens of the Azure CLI. `az` must be in the `PATH`.
    struct AzureCli {
        /// The directory (tenant) of the tokens. Default: the CLI's own.
        tenant_id: Option<Placed<Word>>,
    }
}

section! {
    /// An app registration with a client secret.
    struct ClientSecret {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The client secret's value.
        secret: Required<Hidden>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a certificate. The files are read for each token, so they can be renewed without a restart.
    struct ClientCertificate {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// PEM: the certificate, optionally its intermediate certificates, and its RSA private key.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the private key, if it is in a separate file.
        key: Option<Placed<FilePath>>,
        /// The authority, for sovereign clouds. Default: `https://login.microsoftonline.com`.
        authority: Option<Placed<Url>>,
        /// PEM: certificate authorities to trust for the authority, in addition to the system's.
        ca: Option<Placed<FilePath>>,
    }
}

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
    enum Kind {
        /// Azure OpenAI's.
        AzureOpenai = "azure_openai",
        /// OpenAI's, as vLLM and others have them.
        Openai = "openai",
    }
}

section! {
    /// A model, and the pool of deployments that serve it.
    struct Model {
        /// The model's version; every deployment of the pool must serve it.
        version: Option<Word>,
        /// Timeout of the connection, including TLS. Default: `failover.connect_timeout`.
        connect_timeout: Option<Placed<Span>>,
        /// Timeout from the request sent to the first byte of its answer. Default: `failover.first_byte_timeout`.
        first_byte_timeout: Option<Placed<Span>>,
        /// The same for answers that are not streamed. Default: the model's `first_byte_timeout` if it is set, else
        /// `failover.unstreamed_timeout`.
        unstreamed_timeout: Option<Placed<Span>>,
        /// Whether `/health` returns 503 if none of its deployments has been available for `health.fall`.
        #[schemars(extend("default" = false))]
        required: Option<bool>,
        /// The pool: the lowest priority number is tried first; within a priority, requests are shared by weight.
        #[schemars(length(min = 1))]
        deployments: Required<Placed<List<Placed<Deployment>>>>,
    }
}

section! {
    /// A model on an instance.
    struct Deployment {
        /// A name in `instances`.
        instance: Required<Placed<String>>,
        /// The deployment's name on the instance. Default: the model's name.
        deployment: Option<Placed<String>>,
        /// How its capacity is billed.
        #[schemars(extend("default" = "standard"))]
        r#type: Option<Capacity>,
        /// 1 is tried first.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 1))]
        priority: Option<Placed<i64>>,
        /// Its share of the requests among the deployments of its priority.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 1))]
        weight: Option<Placed<i64>>,
    }
    later "limits", "probe"
}

choice! {
    /// How a deployment's capacity is billed.
    enum Capacity {
        /// Per token.
        Standard = "standard",
        /// Provisioned throughput (PTU): billed whether it is used or not.
        Provisioned = "provisioned",
    }
}

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
    enum Algorithm {
        /// RSA (PKCS #1) with SHA-256, the most common.
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

section! {
    /// The HTTP server that clients reach.
    struct Server {
        /// Worker threads. Default: one per core.
        #[schemars(range(min = 1, max = 1024))]
        threads: Option<Placed<i64>>,
        /// Maximum size of all request headers together.
        #[schemars(extend("default" = "32KiB"))]
        max_headers: Option<Placed<Size>>,
        /// Timeout of the request headers; also the longest pause while the body arrives.
        #[schemars(extend("default" = "10s"))]
        header_timeout: Option<Placed<Span>>,
        /// Timeout of the request body.
        #[schemars(extend("default" = "60s"))]
        body_timeout: Option<Placed<Span>>,
        /// Timeout of a TLS handshake.
        #[schemars(extend("default" = "10s"))]
        handshake_timeout: Option<Placed<Span>>,
        /// Timeout of writes to a client that does not read its answer; then its connection is closed.
        #[schemars(extend("default" = "60s"))]
        write_timeout: Option<Placed<Span>>,
        /// Sends a comment in a stream that has been silent for this long. Default: never.
        stream_keepalive: Option<Placed<Span>>,
        /// Additional client headers to forward to deployments. They take precedence where Azure's limit of custom headers
        /// is reached.
        #[schemars(length(min = 1, max = 9))]
        forward_headers: Option<Placed<List<Placed<Word>>>>,
        /// Additional query parameters to forward to deployments, besides those of Azure's API. A client's credential is never
        /// forwarded; a request with any other parameter is rejected.
        #[schemars(length(min = 1))]
        forward_query: Option<Placed<List<Placed<Word>>>>,
        /// Additional headers of deployments' answers to forward to clients.
        #[schemars(length(min = 1))]
        answer_headers: Option<Placed<List<Placed<Word>>>>,
    }
}

section! {
    /// Failover: timeouts, attempts and the retry budget of a request.
    struct Failover {
        /// The maximum number of attempts that end in a fault; attempts that end in a 429 do not count.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 4))]
        attempts: Option<Placed<i64>>,
        /// Timeout of the whole request with all its attempts, from its arrival to the first byte of its answer.
        #[schemars(extend("default" = "10m"))]
        deadline: Option<Placed<Span>>,
        /// Timeout of a connection to a deployment, including TLS.
        #[schemars(extend("default" = "2s"))]
        connect_timeout: Option<Placed<Span>>,
        /// Timeout from the request sent to the first byte of its answer, for streams.
        #[schemars(extend("default" = "2m"))]
        first_byte_timeout: Option<Placed<Span>>,
        /// The same for answers that are not streamed, which are generated completely before their first byte (not for
        /// embeddings). Default: `first_byte_timeout` if only that is set.
        #[schemars(extend("default" = "10m"))]
        unstreamed_timeout: Option<Placed<Span>>,
        /// Idle timeout between two bytes of an answer.
        #[schemars(extend("default" = "5m"))]
        idle_timeout: Option<Placed<Span>>,
        /// How long a stream is held back for its first output; after that it can't fail over.
        #[schemars(extend("default" = "10s"))]
        hold: Option<Placed<Span>>,
        /// Maximum size of a request body.
        #[schemars(extend("default" = "32MiB"))]
        max_body: Option<Placed<Size>>,
        /// Memory to buffer the bodies of all requests together, so that they can fail over.
        #[schemars(extend("default" = "1GiB"))]
        body_memory: Option<Placed<Size>>,
        /// What happens to a request when `body_memory` is full.
        #[schemars(extend("default" = "stream"))]
        over_body_memory: Option<OverBodyMemory>,
        /// Additional 4xx statuses that fail over to another deployment if one is available.
        #[schemars(length(min = 1))]
        more_statuses: Option<Placed<List<Placed<i64>>>>,
        /// Limits failovers that end in another fault, so that an outage of all deployments does not multiply the load.
        retry_budget: Option<RetryBudget>,
    }
}

section! {
    /// Per model, over ten seconds: requests fail over after a fault until this many failovers have ended in another fault.
    struct RetryBudget {
        /// Share of the requests, like `20%`.
        #[schemars(extend("default" = "20%"))]
        share: Option<Percent>,
        /// Minimum per second, however few requests there are.
        #[schemars(range(min = 0, max = 1_000_000), extend("default" = 10))]
        floor: Option<Placed<i64>>,
    }
}

section! {
    /// The circuit breaker of each deployment: when it opens, and how the deployment comes back. Cooldowns that a deployment
    /// asks for, with a 429 or with Retry-After, are respected as well.
    struct Breaker {
        /// The circuit opens after this many faults within twice as many attempts.
        #[schemars(range(min = 1, max = 1000), extend("default" = 5))]
        faults: Option<Placed<i64>>,
        /// The time within which these faults must occur.
        #[schemars(extend("default" = "30s"))]
        window: Option<Placed<Span>>,
        /// How long an open circuit stays open before it is half-open; doubled each time the probe request fails.
        #[schemars(extend("default" = "10s"))]
        pause: Option<Placed<Span>>,
        /// The longest cooldown or open time, whatever the deployment asks for; then the circuit is half-open: one request
        /// probes it.
        #[schemars(extend("default" = "2m"))]
        longest_pause: Option<Placed<Span>>,
        /// The cooldown after a 429 without Retry-After or another wait.
        #[schemars(extend("default" = "10s"))]
        unsaid_pause: Option<Placed<Span>>,
        /// Slow start: how long its share of the requests grows after it has recovered; `0s` for no slow start.
        #[schemars(extend("default" = "10s"))]
        ramp: Option<Span>,
    }
}

choice! {
    /// What happens to a request when `body_memory` is full.
    enum OverBodyMemory {
        /// It is served, and its body is streamed through: once sending has begun, it can't fail over.
        Stream = "stream",
        /// It is rejected with 503.
        Refuse = "refuse",
    }
}

section! {
    /// When `/health` returns 503, so that load balancers use other gateways: at once if no model can be served, for any reason
    /// but throttling; and if a model with `required: true` has had no available deployment for `fall`.
    struct Health {
        /// How long a required model must be unavailable before `/health` returns 503; `0s` for at once.
        #[schemars(extend("default" = "5s"))]
        fall: Option<Span>,
        /// How long everything must be available before `/health` returns 200 again; `0s` for at once.
        #[schemars(extend("default" = "5s"))]
        rise: Option<Span>,
        /// Who may request `/health/models/NAME`, and so learn which models exist.
        #[schemars(extend("default" = "clients"))]
        models: Option<MayAsk>,
        /// Whether a model counts as healthy while all of its deployments are throttled.
        #[schemars(extend("default" = "healthy"))]
        throttled: Option<Throttled>,
    }
}

choice! {
    /// Who may request the health of a model.
    enum MayAsk {
        /// Clients that may use the model.
        Clients = "clients",
        /// Everybody who can reach a listener; for probes that can't send a credential.
        Anyone = "anyone",
    }
}

choice! {
    /// Whether a model counts as healthy while all of its deployments are throttled.
    enum Throttled {
        /// Healthy: a load balancer would otherwise drop all gateways at once, and clients would not get Retry-After.
        Healthy = "healthy",
        /// Unhealthy: the gateway of another region, with deployments of its own, can serve the requests.
        Unhealthy = "unhealthy",
    }
}

section! {
    /// Drain after a termination signal: `/health` returns 503 for `notice`, then requests in flight have `deadline` to finish.
    struct Drain {
        /// How long `/health` returns 503 while new requests are still accepted; `0s` to skip this.
        #[schemars(extend("default" = "10s"))]
        notice: Option<Span>,
        /// How long requests in flight may then take to finish.
        #[schemars(extend("default" = "10m"))]
        deadline: Option<Span>,
    }
}

section! {
    /// How many clients have labels of their own in `/metrics`. The others are counted together as `other`, so totals
    /// stay exact.
    struct Metrics {
        /// How many clients have a label value of their own: the first ones of `clients`, in their order there.
        #[schemars(range(min = 0, max = 1_000_000), extend("default" = 1000))]
        clients: Option<Placed<i64>>,
        /// The maximum number of series with a client's name. When it is reached, existing series continue, and everything
        /// else is counted as `other`.
        #[schemars(range(min = 0, max = 10_000_000), extend("default" = 100_000))]
        client_series: Option<Placed<i64>>,
    }
}
