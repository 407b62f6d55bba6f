//! `failover:` and `breaker:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{choice, section},
    value::{Percent, Size, Span},
};

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
