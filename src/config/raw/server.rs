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
