//! `server:`, `health:`, `drain:` and `metrics:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{choice, section},
    value::{Size, Span, Word},
};

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
