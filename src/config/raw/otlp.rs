//! `otlp:` as written.

use crate::config::{
    problem::Placed,
    read::{List, Named},
    section::{Required, choice, section},
    value::{FilePath, HiddenHeader, Percent, Span, Url, Word},
};

section! {
    /// An OpenTelemetry collector, or another OTLP receiver. Prompts and answers are never sent to it.
    struct Otlp {
        /// Its URL, like `http://127.0.0.1:4317`; with `protocol: http`, the URL below which `/v1/traces` and `/v1/metrics` are.
        endpoint: Required<Placed<Url>>,
        /// The transport protocol.
        #[schemars(extend("default" = "grpc"))]
        protocol: Option<OtlpProtocol>,
        /// Headers of each request to it, usually a credential, like `authorization: Bearer ${env:OTLP_TOKEN}`.
        headers: Option<Named<HiddenHeader>>,
        /// What is sent. Default: everything.
        #[schemars(length(min = 1), extend("default" = ["traces", "metrics"]))]
        signals: Option<Placed<List<OtlpSignal>>>,
        /// Traces.
        traces: Option<OtlpTraces>,
        /// Metrics.
        metrics: Option<OtlpMetrics>,
        /// Resource attributes, in addition to `service.name`, `service.version` and `service.instance.id`, or to replace them.
        resource: Option<Named<Word>>,
        /// PEM: certificate authorities to trust for its endpoint, in addition to the system's.
        ca: Option<Placed<FilePath>>,
        /// Allows an `http://` endpoint that is not on loopback: all data and headers can be read on the network.
        #[schemars(extend("default" = false))]
        insecure_http: Option<bool>,
    }
}

choice! {
    /// The transport protocol of a collector.
    enum OtlpProtocol as crate::domain::collector::Protocol {
        /// gRPC, usually port 4317.
        Grpc = "grpc",
        /// Protobuf over HTTP, usually port 4318.
        Http = "http",
    }
}

choice! {
    /// A kind of telemetry.
    enum OtlpSignal {
        /// A span for each request, and one for each attempt.
        Traces = "traces",
        /// The metrics of `/metrics`, and the `gen_ai.*` metrics.
        Metrics = "metrics",
    }
}

section! {
    /// Traces.
    struct OtlpTraces {
        /// The share of requests that is traced; for requests with a `traceparent`, its sampled flag decides.
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
