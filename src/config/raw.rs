//! The config as written: each section with its fields, and what editors say about them.
//!
//! These definitions are the only ones: reader and JSON Schema come from them. What a field means when left out is said
//! here and decided in `build`.

mod clients;
mod failover;
mod identities;
mod instances;
mod issuers;
mod limits;
mod listeners;
mod logs;
mod models;
mod otlp;
mod prices;
mod server;

use super::{
    problem::Placed,
    read::{List, Named, Tried},
    section::{OnlyOne, Required, section},
    value::Word,
};
pub(super) use clients::{CertificateName, Client, Entra, Operation, Token, TokenAccess};
pub(super) use failover::{Breaker, Failover, RetryBudget};
pub(super) use identities::{
    ClientCertificate, ClientSecret, FederatedIdentity, Identity, ManagedIdentity, WorkloadIdentity,
};
pub(super) use instances::Instance;
pub(super) use issuers::{Algorithm, Issuer};
pub(super) use limits::{ClientLimits, Counters, Limits, OverMaxOutput};
pub(super) use listeners::{Admin, AskedFor, Cors, FrontDoor, Listener, Tls};
pub(super) use logs::{Log, LogFile, Prompts, Rotate};
pub(super) use models::{Deployment, Model};
pub(super) use otlp::{Otlp, OtlpSignal};
pub(super) use prices::{ModelPrices, Prices, Rates};
pub(super) use server::{Drain, Health, MayAsk, Metrics, Server, Throttled};

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
