//! Forebay: a gateway in front of many Azure OpenAI deployments. Clients see one endpoint; the gateway chooses the
//! deployment, proves its own identity to Azure, and when that deployment is throttled or broken it asks another one
//! within the same request.
//!
//! # Words
//! A **client** calls and asks for a **model**. A model is served by a **pool** of **deployments**, each on an
//! **instance** (an Azure OpenAI resource). A request's whole story is an **exchange**; each try at a deployment is an
//! **attempt**, and what its end says of the deployment is an **outcome**. Our own no is a **refusal**. Who we are to
//! Azure is an **identity**.
//!
//! # What is true at every moment
//! - A client's credential never goes to an instance, an instance's never to a client, a log, a metric or an error.
//! - While another deployment could serve within a request's attempts and deadline, no failure reaches its client.
//! - A deployment that said when to come back is not asked before, and is asked again soon after, by one request first.
//! - Once a byte of an answer has gone out, the answer is from one deployment, and it ends complete or with an error.
//! - Of what a client sent nothing is changed but the model's name, and headers that are not its deployment's business.
//! - What two readers could read as two different requests is answered here, and read by nobody else.
//! - Each request ends in one log line, and is counted from the same record.
//! - What an answer used is what its deployment reported, or marked as estimated; no limit is gone over by more than one request,
//!   as far as requests say what they may cost ([`domain::quota`] says what holds for the others).
//!
//! # The rooms, in reading order
//! - [`domain`]: decisions only, as plain functions over plain values; time and chance come in as arguments. A request
//!   walks through [`domain::head`] (whether its head can be trusted), [`domain::front_door`] (whether it came through
//!   Azure Front Door), [`domain::route`] (what the path asks), [`domain::query`] (what of its query goes on), [`domain::client`] (who asks), [`domain::ask`] (what the body says) or
//!   [`domain::realtime`] (what a WebSocket's handshake says), [`domain::pool`] and [`domain::breaker`] (which deployment,
//!   now), [`domain::outcome`] (what its end means), [`domain::usage`] (what it used) and [`domain::price`] (what that cost),
//!   with [`domain::answer`] (who reads an answer as it passes), [`domain::event_stream`] (its events, framed once),
//!   [`domain::body_outcome`] (what its pieces say: how it begins, errors in it, and whether it came to its own end) and [`domain::wait`] (when to come back),
//!   [`domain::limit`] (which limits a client can have) and [`domain::quota`] (what it has spent of them), [`domain::forwarding`] (which headers go on),
//!   [`domain::failover`] (what follows) within [`domain::budget`] (of retries), and perhaps [`domain::refusal`]. [`domain::deployment`] and
//!   [`domain::identity`] are what the operator has: where to send, and by which credential. The other files there are parts of
//!   these. [`domain::wire_facts`] says what Azure and the SDKs do on the wire, and who says so.
//! - [`config`]: YAML in; a plan of domain values out, or every problem found, each with its place.
//! - [`proxy`]: with [`app`] all that knows Pingora; its page is the table of contents of a request's life.
//! - [`identity`]: tokens kept ready ahead of need.
//! - [`oidc`]: the signing keys that prove clients' tokens, kept fresh, and the tokens found good.
//! - [`http_client`]: how others than instances are asked: whom is trusted, and what may be said of an error.
//! - [`store`]: what clients have spent, kept where a restart finds it.
//! - [`telemetry`]: metrics, logs and traces of the traffic, from one record a request.
//! - [`admin`]: serves the metrics, health, status and the dashboard on their own address.
//! - [`app`]: builds everything from a plan, serves, drains.
//! - [`explain`]: what would become of a request, by the same decisions, without sending it.
//! - [`simulator`]: instances that answer, stall, throttle and break on demand; it knows nothing of the rest.
//! - [`demo`]: simulator and gateway in one process.
//!
//! # To change something, begin here
//!
//! | what | where |
//! |---|---|
//! | what a status or an error's body means | `domain/outcome/answer.rs`; known words in `domain/outcome/words.rs`; a spilled answer's own status in `domain/spillover.rs` |
//! | when a stream is whole, and what its events mean | `domain/body_outcome/stream_end.rs` (`LAST`), `domain/body_outcome/event_meaning.rs` (`FAMILIES`, `[DONE]`, errors) |
//! | a header that goes on, or comes back | `domain/forwarding.rs`, `domain/forwarding/answer.rs` |
//! | a refusal: status, code and text | `domain/refusal.rs` (the reasons), `domain/refusal/answers.rs` (what each says) |
//! | a client's limit | `domain/limit.rs`, then `domain/quota/limits.rs` (`Limits::all`), `domain/quota/account.rs` (of a body: `domain/quota/output.rs`), `config/raw/limits.rs`, `config/build/limits.rs` |
//! | a field of the config | `config/raw/` (as written: `server:` in `server.rs`), `config/build/` (checked: `server:` in `settings.rs`), `config/plan.rs` |
//! | a kind of credential towards instances | `domain/identity.rs` (`Proof`), then `identity/source.rs`, `config/raw/identities.rs`, `config/build/identities.rs` |
//! | a metric | `telemetry/metrics/instruments.rs` (declared), `telemetry/metrics.rs` and beside it (counted) |
//! | a field of the access log | `telemetry/record.rs` unless it is there already, `telemetry/access_log.rs`; filled in `proxy/ending.rs`, for heads that are refused in `proxy/connection.rs` |
//! | an event of the log, an alarm | where it happens, `event = "…"`; `admin/alarms.rs` |
//! | what follows an attempt's end | `domain/failover.rs`; who carries it out: `proxy/attempt.rs` |
//! | a fault of the simulator | `simulator/faults/kind.rs`, `simulator/handler/inject_fault.rs` |
//!
//! Who may use whom: `main → {explain, demo → app} → {config, proxy, admin, telemetry, identity, oidc, store, simulator} → domain`,
//! each all to its right, and beside it `proxy → identity, oidc, telemetry` and `admin → telemetry`; `http_client` is a leaf for
//! identity, oidc, telemetry and proxy. `tests/layers.rs` names any other.

pub mod admin;
pub mod app;
pub mod config;
pub mod demo;
pub mod domain;
pub mod explain;
pub mod http_client;
pub mod identity;
pub mod oidc;
pub mod proxy;
pub mod simulator;
pub mod store;
pub mod telemetry;
