//! `otlp:` as written.

use crate::config::{
    problem::Placed,
    read::{List, Named},
    section::{Required, choice, section},
    value::{FilePath, HiddenHeader, Percent, Span, Url, Word},
};

section! {
    /// A collector, or another service that takes OpenTelemetry's protocol (OTLP). No prompt and no answer goes there.
    struct Otlp {
        /// Where it is, like `http://127.0.0.1:4317`; over HTTP, what `/v1/traces` and `/v1/metrics` are below.
        endpoint: Required<Placed<Url>>,
        /// How it is spoken to.
        #[schemars(extend("default" = "grpc"))]
        protocol: Option<OtlpProtocol>,
        /// Headers that each request to it carries, its credential mostly, like `authorization: Bearer ${env:OTLP_TOKEN}`.
        headers: Option<Named<HiddenHeader>>,
        /// What is sent; all unless given.
        #[schemars(length(min = 1), extend("default" = ["traces", "metrics"]))]
        signals: Option<Placed<List<OtlpSignal>>>,
        /// Traces.
        traces: Option<OtlpTraces>,
        /// Metrics.
        metrics: Option<OtlpMetrics>,
        /// What is said of this gateway beside `service.name`, `service.version` and `service.instance.id`, or in their place.
        resource: Option<Named<Word>>,
        /// PEM: more certificate authorities that may have signed its certificate, beside the system's.
        ca: Option<Placed<FilePath>>,
        /// Allows an `http://` endpoint elsewhere than on loopback: what is sent, headers too, can be read on the way.
        #[schemars(extend("default" = false))]
        insecure_http: Option<bool>,
    }
}

choice! {
    /// How a collector is spoken to.
    enum OtlpProtocol {
        /// gRPC: port 4317 of most collectors.
        Grpc = "grpc",
        /// Protobuf over HTTP: port 4318 of most collectors.
        Http = "http",
    }
}

choice! {
    /// A kind of telemetry.
    enum OtlpSignal {
        /// A span for each request, and one for each attempt.
        Traces = "traces",
        /// What `/metrics` shows, and the `gen_ai.*` ones.
        Metrics = "metrics",
    }
}

section! {
    /// Traces.
    struct OtlpTraces {
        /// Of the requests that say nothing of it, so many are traced; with a `traceparent`, its sampled flag decides.
        #[schemars(extend("default" = "100%"))]
        sample: Option<Percent>,
    }
}

section! {
    /// Metrics.
    struct OtlpMetrics {
        /// How often they are sent.
        #[schemars(extend("default" = "60s"))]
        interval: Option<Placed<Span>>,
    }
}
