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
    enum Capacity as crate::domain::deployment::Capacity {
        /// Per token.
        Standard = "standard",
        /// Provisioned throughput (PTU): billed whether it is used or not.
        Provisioned = "provisioned",
    }
}
