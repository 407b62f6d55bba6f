//! `models:` as written: each a pool of deployments.

use crate::config::{
    problem::Placed,
    read::List,
    section::{Required, choice, section},
    value::{Span, Word},
};

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
