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
pub(super) use failover::{Breaker, Failover, OverBodyMemory, RetryBudget};
pub(super) use identities::{
    ClientCertificate, ClientSecret, FederatedIdentity, Identity, ManagedIdentity, WorkloadIdentity,
};
pub(super) use instances::{Instance, Kind};
pub(super) use issuers::{Algorithm, Issuer};
pub(super) use limits::{ClientLimits, Counters, Limits, OverMaxOutput};
pub(super) use listeners::{Admin, AskedFor, Cors, FrontDoor, Listener, Tls};
pub(super) use logs::{Log, LogFile, Prompts, Rotate};
pub(super) use models::{Capacity, Deployment, Model};
pub(super) use otlp::{Otlp, OtlpProtocol, OtlpSignal};
pub(super) use prices::{ModelPrices, Prices, Rates};
pub(super) use server::{Drain, Health, MayAsk, Metrics, Server, Throttled};

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
