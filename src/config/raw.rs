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
    /// The configuration of a Forebay gateway. Any string may hold `${env:NAME}` or `${file:PATH}`. What stands under a key
    /// that begins with `x-` is for the file's own aliases, and read by nobody.
    #[schemars(extend("patternProperties" = { "^x-": true }))]
    struct Config {
        /// Where clients connect.
        #[schemars(length(min = 1))]
        listeners: Required<Placed<List<Listener>>>,
        /// Where metrics, health and status are served. Nowhere unless given.
        admin: Option<Admin>,
        /// Azure Front Door, if clients are to come through it alone.
        front_door: Option<FrontDoor>,
        /// Web pages of other origins that may ask, as browsers see it. None unless given.
        cors: Option<Cors>,
        /// The gateway's own geography, like `eu`. Given, an instance of another geography is a mistake.
        geography: Option<Placed<Word>>,
        /// How the gateway proves itself to instances, by names of your choice.
        identities: Required<Named<OnlyOne<Identity>>>,
        /// Azure OpenAI resources and other model servers, by names of your choice.
        instances: Required<Named<Instance>>,
        /// What clients may ask for, by the names they use: each a pool of deployments.
        models: Required<Placed<Named<Model>>>,
        /// Who hands tokens to clients, by names of your choice. Entra needs no entry here: clients name their tenant.
        issuers: Option<Named<Issuer>>,
        /// Who may call, by names of your choice.
        clients: Option<Tried<Placed<Named<Client>>>>,
        /// Instead of `clients`: whoever reaches a listener may call every model, for inference.
        anonymous: Option<Tried<Placed<bool>>>,
        /// What clients' limits are counted by.
        counters: Option<Counters>,
        /// What tokens cost, so that requests' costs are counted.
        prices: Option<Prices>,
        /// The HTTP server.
        server: Option<Server>,
        /// The bounds of one request's tries.
        failover: Option<Failover>,
        /// When a deployment that fails is left alone, and how it comes back.
        breaker: Option<Breaker>,
        /// When `/health` says 503.
        health: Option<Health>,
        /// What a termination signal does.
        drain: Option<Drain>,
        /// Logs.
        log: Option<Log>,
        /// An OpenTelemetry collector that gets traces and metrics. None unless given.
        otlp: Option<Otlp>,
        /// How far `/metrics` tells clients apart.
        metrics: Option<Metrics>,
        /// Whether answers say which deployment served them (`x-forebay-deployment`, `x-forebay-attempts`).
        #[schemars(extend("default" = false))]
        reveal: Option<bool>,
    }
    later "limits", "probe"
}

section! {
    /// An address that clients connect to.
    struct Listener {
        /// An IP address and a port that nothing else here has.
        address: Required<Placed<Address>>,
        /// Given: TLS, with HTTP/1.1 and HTTP/2.
        tls: Option<Tls>,
        /// What comes beyond so many connections is closed at once.
        #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
        max_connections: Option<Placed<i64>>,
    }
}

section! {
    /// A listener's own certificate, and whose it asks for. The files are read again when they change.
    struct Tls {
        /// PEM: the certificate, then those that lead to its authority.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the certificate's private key.
        key: Required<Placed<FilePath>>,
        /// PEM: the authorities that sign clients' certificates. Clients are asked for none unless given.
        client_ca: Option<Placed<Tried<FilePath>>>,
        /// Whether a client must show one; with `client_ca`, `required` unless given.
        client_certificate: Option<Placed<AskedFor>>,
    }
}

choice! {
    /// Whether a client must show a certificate.
    enum AskedFor {
        /// Without one its handshake fails.
        Required = "required",
        /// It may show another credential instead.
        Optional = "optional",
    }
}

section! {
    /// The operators' own address, never one that clients reach.
    struct Admin {
        /// Best on loopback, like `127.0.0.1:9090`. Any other needs `token`, or `tls` with `client_ca`.
        address: Required<Placed<Address>>,
        /// The hash of what its readers send as `Authorization: Bearer TOKEN`; `/health/live` and `/health/ready` need none.
        /// With `certificates` they show both.
        token: Option<Tried<Hash>>,
        /// Given: TLS.
        tls: Option<Tls>,
        /// Whose certificates are operators', where `tls` has a `client_ca`: any one of these names.
        #[schemars(length(min = 1))]
        certificates: Option<Placed<List<Placed<OnlyOneBeside<CertificateName>>>>>,
    }
}

section! {
    /// What stands before the gateway: what did not come through it is refused, but for `/health`.
    struct FrontDoor {
        /// The ids of your Front Door profiles: one of them is in each request's `X-Azure-FDID`.
        #[schemars(length(min = 1))]
        ids: Required<Placed<List<Placed<Guid>>>>,
        /// Where connections may come from, like `10.0.0.0/8`; anywhere unless given. The service tag
        /// `AzureFrontDoor.Backend` lists Front Door's.
        #[schemars(length(min = 1))]
        networks: Option<Placed<List<Placed<Cidr>>>>,
    }
}

section! {
    /// Which web pages may call from a browser: its question before the request (preflight) is answered, and the page may
    /// read the answers. A client's certificate, and `anonymous`, count for no other page.
    struct Cors {
        /// Each as browsers write it, like `https://app.contoso.example`.
        #[schemars(length(min = 1))]
        origins: Required<Placed<List<Placed<PageOrigin>>>>,
    }
}

section! {
    /// A proof of who the gateway is: exactly one of these.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
    struct Identity {
        /// The VM's own identity: `{}`, or a user-assigned one.
        managed_identity: Option<ManagedIdentity>,
        /// A Kubernetes service account's federated token.
        workload_identity: Option<WorkloadIdentity>,
        /// An app registration, mostly of another tenant, that trusts a managed identity of this machine: no secret anywhere.
        federated_identity: Option<FederatedIdentity>,
        /// An app registration with a client secret.
        client_secret: Option<ClientSecret>,
        /// An app registration with a certificate.
        client_certificate: Option<ClientCertificate>,
        /// Whoever has logged in to the Azure CLI here (`az login`): for a developer's own machine.
        azure_cli: Option<AzureCli>,
        /// The instance's own key, where Entra can't be used.
        api_key: Option<Hidden>,
    }
}

section! {
    /// The identity that Azure gives a VM, or an app in App Service, Functions or Container Apps, which is told where to
    /// ask by `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    struct ManagedIdentity {
        /// Of a user-assigned identity, which one of these three names; the system-assigned one unless given.
        client_id: Option<Tried<Placed<Word>>>,
        /// The object id of its service principal.
        object_id: Option<Tried<Placed<Word>>>,
        /// Its resource id: `/subscriptions/…/userAssignedIdentities/NAME`. Not for App Service.
        msi_res_id: Option<Tried<Placed<Word>>>,
        /// What stands in for `http://169.254.169.254`.
        endpoint: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed the endpoint's certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// Entra Workload ID; what is left out comes from the `AZURE_…` variables that its webhook sets.
    struct WorkloadIdentity {
        /// `AZURE_TENANT_ID` unless given.
        tenant_id: Option<Word>,
        /// `AZURE_CLIENT_ID` unless given.
        client_id: Option<Word>,
        /// `AZURE_FEDERATED_TOKEN_FILE` unless given.
        token_file: Option<FilePath>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration with a federated credential for a user-assigned managed identity: the identity's token for
    /// `api://AzureADTokenExchange` takes the place of a secret. Microsoft's way across tenants.
    struct FederatedIdentity {
        /// The directory (tenant) id of the app registration.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The identity of this machine that the registration trusts.
        managed_identity: Required<Placed<ManagedIdentity>>,
        /// What stands in for `https://login.microsoftonline.com`; a sovereign cloud's own is found by the endpoint.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// The Azure CLI's tokens. `az` must be found by `PATH`.
    struct AzureCli {
        /// The directory (tenant) to get tokens of; the CLI's own choice unless given.
        tenant_id: Option<Placed<Word>>,
    }
}

section! {
    /// An app registration that proves itself with a secret.
    struct ClientSecret {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// The client secret's value.
        secret: Required<Hidden>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

section! {
    /// An app registration that proves itself with a certificate. The files are read for each token, so they may be renewed.
    struct ClientCertificate {
        /// The directory (tenant) id.
        tenant_id: Required<Word>,
        /// The application (client) id.
        client_id: Required<Word>,
        /// PEM: the certificate, perhaps those that lead to its authority, and its RSA private key.
        certificate: Required<Placed<FilePath>>,
        /// PEM: the private key, where it is in a file of its own.
        key: Option<Placed<FilePath>>,
        /// What stands in for `https://login.microsoftonline.com`, as in sovereign clouds.
        authority: Option<Placed<Url>>,
        /// PEM: authorities, beside the system's, that may have signed its certificate.
        ca: Option<Placed<FilePath>>,
    }
}

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

section! {
    /// A model, and the pool of deployments that serve it.
    struct Model {
        /// Its version; every deployment of the pool must serve this one.
        version: Option<Word>,
        /// To a working connection, TLS included; `failover.connect_timeout` unless given.
        connect_timeout: Option<Placed<Span>>,
        /// From the request sent to the first byte of its answer; `failover.first_byte_timeout` unless given.
        first_byte_timeout: Option<Placed<Span>>,
        /// The same for answers that are not streamed; the model's `first_byte_timeout` where that is given, else
        /// `failover.unstreamed_timeout`.
        unstreamed_timeout: Option<Placed<Span>>,
        /// Whether `/health` says 503 once none of its deployments has been able to serve for `health.fall`.
        #[schemars(extend("default" = false))]
        required: Option<bool>,
        /// The pool: the lowest priority number is asked first, inside it shares follow the weights.
        #[schemars(length(min = 1))]
        deployments: Required<Placed<List<Placed<Deployment>>>>,
    }
}

section! {
    /// A model on an instance.
    struct Deployment {
        /// A name of `instances`.
        instance: Required<Placed<String>>,
        /// The deployment's name there; the model's unless given.
        deployment: Option<Placed<String>>,
        /// How its capacity is paid for.
        #[schemars(extend("default" = "standard"))]
        r#type: Option<Capacity>,
        /// 1 is asked first.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 1))]
        priority: Option<Placed<i64>>,
        /// Its share among those of its priority.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 1))]
        weight: Option<Placed<i64>>,
    }
    later "limits", "probe"
}

choice! {
    /// How a deployment's capacity is paid for.
    enum Capacity {
        /// By the token.
        Standard = "standard",
        /// Provisioned throughput (PTU): paid for anyway.
        Provisioned = "provisioned",
    }
}

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

section! {
    /// The HTTP server that clients reach.
    struct Server {
        /// Worker threads; one a core unless given.
        #[schemars(range(min = 1, max = 1024))]
        threads: Option<Placed<i64>>,
        /// All header lines of a request together.
        #[schemars(extend("default" = "32KiB"))]
        max_headers: Option<Placed<Size>>,
        /// For a request's head to arrive; also the longest pause while its body does.
        #[schemars(extend("default" = "10s"))]
        header_timeout: Option<Placed<Span>>,
        /// For a request's body to arrive.
        #[schemars(extend("default" = "60s"))]
        body_timeout: Option<Placed<Span>>,
        /// For a TLS handshake.
        #[schemars(extend("default" = "10s"))]
        handshake_timeout: Option<Placed<Span>>,
        /// How long a client may leave unread what is written to it; then its connection is closed.
        #[schemars(extend("default" = "60s"))]
        write_timeout: Option<Placed<Span>>,
        /// How long a stream may be quiet before a comment is written into it; for ever unless given.
        stream_keepalive: Option<Placed<Span>>,
        /// Headers of clients that go on to deployments, beside those that always do. They come first where Azure would
        /// take no more.
        #[schemars(length(min = 1, max = 9))]
        forward_headers: Option<Placed<List<Placed<Word>>>>,
        /// Parameters of clients' queries that go on to deployments, beside those of Azure's API. A client's credential never
        /// does, and a request with any other parameter is refused.
        #[schemars(length(min = 1))]
        forward_query: Option<Placed<List<Placed<Word>>>>,
        /// Headers of deployments' answers that clients get, beside those that they always do.
        #[schemars(length(min = 1))]
        answer_headers: Option<Placed<List<Placed<Word>>>>,
    }
}

section! {
    /// The bounds of one request's tries.
    struct Failover {
        /// How many attempts may end in a fault; one that ends in a 429 costs none.
        #[schemars(range(min = 1, max = 4_294_967_295u32), extend("default" = 4))]
        attempts: Option<Placed<i64>>,
        /// For the whole request, from its arrival to the first byte of its answer.
        #[schemars(extend("default" = "10m"))]
        deadline: Option<Placed<Span>>,
        /// To a working connection, TLS included.
        #[schemars(extend("default" = "2s"))]
        connect_timeout: Option<Placed<Span>>,
        /// From the request sent to the first byte of its answer, if that is a stream.
        #[schemars(extend("default" = "2m"))]
        first_byte_timeout: Option<Placed<Span>>,
        /// The same for an answer that is generated whole before its first byte comes (not streamed; not embeddings).
        /// `first_byte_timeout` where only that is given.
        #[schemars(extend("default" = "10m"))]
        unstreamed_timeout: Option<Placed<Span>>,
        /// Between two bytes of an answer.
        #[schemars(extend("default" = "5m"))]
        idle_timeout: Option<Placed<Span>>,
        /// How long a stream is held for its first output: from then on no other deployment can take its place.
        #[schemars(extend("default" = "10s"))]
        hold: Option<Placed<Span>>,
        /// The largest request body.
        #[schemars(extend("default" = "32MiB"))]
        max_body: Option<Placed<Size>>,
        /// What the bodies of all requests may hold together while they are kept to be sent again.
        #[schemars(extend("default" = "1GiB"))]
        body_memory: Option<Placed<Size>>,
        /// What becomes of a request whose body finds `body_memory` taken.
        #[schemars(extend("default" = "stream"))]
        over_body_memory: Option<OverBodyMemory>,
        /// 4xx statuses, beside the built-in ones, after which another deployment is asked if one is there to ask.
        #[schemars(length(min = 1))]
        more_statuses: Option<Placed<List<Placed<i64>>>>,
        /// Bounds the moves after faults that don't help, so that a failure of all deployments does not multiply the load.
        retry_budget: Option<RetryBudget>,
    }
}

section! {
    /// Over ten seconds, per model: a request moves on after a fault while fewer moves than these ended in another fault.
    struct RetryBudget {
        /// Of the requests, like `20%`.
        #[schemars(extend("default" = "20%"))]
        share: Option<Percent>,
        /// A second, however few requests there are.
        #[schemars(range(min = 0, max = 1_000_000), extend("default" = 10))]
        floor: Option<Placed<i64>>,
    }
}

section! {
    /// When a deployment that fails is left alone, and how it comes back. What a deployment says of itself, in a 429 or
    /// with Retry-After, is kept to beside this.
    struct Breaker {
        /// So many faults, of twice as many attempts, close a deployment off.
        #[schemars(range(min = 1, max = 1000), extend("default" = 5))]
        faults: Option<Placed<i64>>,
        /// The time within which they must come.
        #[schemars(extend("default" = "30s"))]
        window: Option<Placed<Span>>,
        /// How long it is then left alone; twice as long each time that one request finds it still failing.
        #[schemars(extend("default" = "10s"))]
        pause: Option<Placed<Span>>,
        /// The longest that anything leaves a deployment alone, its own word included; then one request tries it.
        #[schemars(extend("default" = "2m"))]
        longest_pause: Option<Placed<Span>>,
        /// How long a deployment is left alone after a 429 that names no time.
        #[schemars(extend("default" = "10s"))]
        unsaid_pause: Option<Placed<Span>>,
        /// How long its share grows after its return, so that it is not flooded; `0s`: all at once.
        #[schemars(extend("default" = "10s"))]
        ramp: Option<Span>,
    }
}

choice! {
    /// What becomes of a request whose body finds `body_memory` taken.
    enum OverBodyMemory {
        /// It is served, its body passed on as it arrives: once begun, it can't be sent to another deployment.
        Stream = "stream",
        /// It is refused with 503.
        Refuse = "refuse",
    }
}

section! {
    /// When `/health` tells load balancers to send requests elsewhere: at once while no model can be served at all, for whatever
    /// cause but throttling; and where a model with `required: true` has had no deployment that could serve for `fall`.
    struct Health {
        /// How long that must last for a required model; `0s`: not at all.
        #[schemars(extend("default" = "5s"))]
        fall: Option<Span>,
        /// How long everything must be back before health says 200 again; `0s`: not at all.
        #[schemars(extend("default" = "5s"))]
        rise: Option<Span>,
        /// Who may ask for `/health/models/NAME`, and so learn which models there are.
        #[schemars(extend("default" = "clients"))]
        models: Option<MayAsk>,
        /// What a model is while 429s alone stand in the way.
        #[schemars(extend("default" = "healthy"))]
        throttled: Option<Throttled>,
    }
}

choice! {
    /// Who may ask how a model is.
    enum MayAsk {
        /// A client that may use it.
        Clients = "clients",
        /// Whoever reaches a listener: for probes that can show no credential.
        Anyone = "anyone",
    }
}

choice! {
    /// What a model is while every one of its deployments is throttled.
    enum Throttled {
        /// It is well: behind a load balancer that would drop every gateway at once, clients hear when to come back.
        Healthy = "healthy",
        /// It is down: another region's gateway, with deployments of its own, can take its requests.
        Unhealthy = "unhealthy",
    }
}

section! {
    /// What a termination signal does: health says 503 for `notice`, then running requests get `deadline` to end.
    struct Drain {
        /// How long health says 503 while requests are still taken; `0s`: not at all.
        #[schemars(extend("default" = "10s"))]
        notice: Option<Span>,
        /// How long running requests may then take to end.
        #[schemars(extend("default" = "10m"))]
        deadline: Option<Span>,
    }
}

section! {
    /// How far `/metrics` tells clients apart: what of them is counted together goes by the label `other`, so that sums
    /// stay exact.
    struct Metrics {
        /// So many clients have a label of their own: the first of `clients`, in their order there.
        #[schemars(range(min = 0, max = 1_000_000), extend("default" = 1000))]
        clients: Option<Placed<i64>>,
        /// So many series at most may carry a client's name. A bound for the worst of days: past it only the series that
        /// are there already go on.
        #[schemars(range(min = 0, max = 10_000_000), extend("default" = 100_000))]
        client_series: Option<Placed<i64>>,
    }
}
