//! `failover:` and `breaker:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{choice, section},
    value::{Percent, Size, Span},
};

section! {
    /// Failover: timeouts, attempts and the retry budget.
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

choice! {
    /// What happens to a request when `body_memory` is full.
    enum OverBodyMemory as crate::domain::deployment::OverBodyMemory {
        /// It is served, and its body is streamed through: once sending has begun, it can't fail over.
        Stream = "stream",
        /// It is rejected with 503.
        Refuse = "refuse",
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
