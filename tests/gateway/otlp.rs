//! Traces and metrics by OTLP: what a collector gets, and that requests never wait for one.

mod collector;
mod collector_failures;
mod real_collector;

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::{
    certificate_authority::CertificateAuthority,
    harness::{
        CHAT, Harness, chat, eventually, eventually_async, folder, status, streamed, throttle,
    },
};
use collector::{Collector, attribute};

const PROTOCOLS: [&str; 2] = ["grpc", "http"];
/// One that is asked first, and one that is asked then.
const TWO: [(&str, u32, u32); 2] = [("first", 1, 1), ("second", 2, 1)];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// What the collector is shown, and nobody else.
const CREDENTIAL: &str = "Bearer a-collectors-token";

/// `otlp:` for this collector, with more lines.
fn otlp(endpoint: &str, protocol: &str, more: &str) -> String {
    format!(
        "otlp:\n  endpoint: {endpoint}\n  protocol: {protocol}\n  headers: {{ authorization: {CREDENTIAL} }}\n{more}"
    )
}

async fn harness(collector: &Collector, protocol: &str, more: &str) -> Harness {
    let endpoint = format!("http://{}", collector.address);
    let otlp = otlp(&endpoint, protocol, more);
    Harness::open_with(&TWO, &format!("drain: {{ notice: 0s }}\n{otlp}")).await
}

/// The spans once there are so many.
async fn spans(collector: &Collector, number: usize) -> Vec<Span> {
    eventually("the spans have come", || collector.spans().len() >= number).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), number, "{spans:#?}");
    spans
}

fn said<'a>(
    harness: &'a Harness,
    instance: &str,
    header: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let seen = harness.seen(instance).into_iter().flat_map(|it| it.headers);
    seen.filter(move |(name, _)| name == header)
        .map(|(_, value)| value)
}

/// The trace and the caller's span that an instance was told of.
fn told(harness: &Harness, instance: &str) -> Vec<(String, String)> {
    let parts = |text: String| {
        let parts: Vec<&str> = text.split('-').collect();
        assert_eq!((parts.len(), parts[0]), (4, "00"), "{text}");
        (parts[1].to_owned(), parts[2].to_owned())
    };
    said(harness, instance, "traceparent").map(parts).collect()
}

fn of(span: &Span, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_moved_on_is_one_trace_whose_spans_the_deployments_were_told_of() {
    for protocol in PROTOCOLS {
        let collector = Collector::open().await;
        let more =
            "  metrics: { interval: 100ms }\n  resource: { deployment.environment.name: tests }\n";
        let harness = harness(&collector, protocol, more).await;
        harness.fault("first", throttle(60.0));
        let answer = harness.chat().await;
        assert_eq!(answer.status(), 200);
        let request_id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();

        tells_of_each_attempt(&harness, &collector, request_id).await;
        counters_arrive(&collector).await;
        says_who_sends(&collector, protocol);
        let everything = [
            harness.metrics().await,
            harness.status().await.to_string(),
            harness.gateway.stderr(),
        ]
        .concat();
        assert!(!everything.contains("a-collectors-token"), "{everything}");
    }
}

/// The request's span has one for each attempt below it, and each deployment was told of its own.
async fn tells_of_each_attempt(harness: &Harness, collector: &Collector, request_id: String) {
    let spans = spans(collector, 3).await;
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let request = named("chat gpt-4o");
    let first = named("attempt first/first-gpt-4o");
    let second = named("attempt second/second-gpt-4o");
    assert_eq!(request.parent_span_id, [0; 0]);
    for (span, instance) in [(first, "first"), (second, "second")] {
        assert_eq!(span.parent_span_id, request.span_id);
        let ours = (hex::encode(&span.trace_id), hex::encode(&span.span_id));
        assert_eq!(told(harness, instance), [ours], "{instance}");
    }
    assert_eq!(of(request, "forebay.request_id"), Some(request_id));
    assert_eq!(of(request, "forebay.client").as_deref(), Some("tests"));
    assert_eq!(of(request, "forebay.instance").as_deref(), Some("second"));
    assert_eq!(
        of(request, "gen_ai.operation.name").as_deref(),
        Some("chat")
    );
    assert_eq!(of(first, "error.type").as_deref(), Some("429"));
    assert_eq!(
        of(second, "http.response.status_code").as_deref(),
        Some("200")
    );
    let port = harness
        .simulator
        .address("second")
        .unwrap()
        .port()
        .to_string();
    assert_eq!(of(second, "server.port"), Some(port));
    assert!(first.end_time_unix_nano <= second.end_time_unix_nano);
    assert!(request.start_time_unix_nano <= first.start_time_unix_nano);
    assert!(request.end_time_unix_nano >= second.end_time_unix_nano);
}

async fn counters_arrive(collector: &Collector) {
    let success = ("outcome", "served");
    eventually("the counters have come", || {
        collector.count("forebay_attempts_total", success) == 1.0
            && collector.count(
                "gen_ai.client.operation.duration",
                ("gen_ai.request.model", "gpt-4o"),
            ) == 1.0
    })
    .await;
    // What changes without a request is brought up to date without anybody asking for the page.
    let metrics = collector.metrics();
    assert!(
        metrics
            .iter()
            .any(|metric| metric.name == "forebay_deployment_available")
    );
}

/// The resource says whose telemetry it is, and each call shows the collector's credential.
fn says_who_sends(collector: &Collector, protocol: &str) {
    for resource in collector.resources() {
        let says = |key: &str| attribute(&resource.attributes, key);
        assert_eq!(says("service.name").as_deref(), Some("forebay"));
        assert_eq!(
            says("service.version").as_deref(),
            Some(env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(says("service.instance.id").unwrap().len(), 36);
        assert_eq!(
            says("deployment.environment.name").as_deref(),
            Some("tests")
        );
    }
    for (path, headers) in collector.heads() {
        assert_eq!(headers["authorization"], CREDENTIAL, "{path}");
        assert_eq!(path.starts_with("/v1/"), protocol == "http", "{path}");
        let agent = headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("forebay/"), "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_when_it_began_and_its_spans_hold_no_prompt() {
    let collector = Collector::open().await;
    let harness = harness(&collector, "http", "").await;
    let answer = harness.post(CHAT).json(&streamed()).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("[DONE]"));
    let spans = spans(&collector, 2).await;
    let first = of(&spans[0], "gen_ai.response.time_to_first_chunk").unwrap();
    assert!(first.parse::<f64>().unwrap() > 0.0);
    assert_eq!(
        of(&spans[0], "gen_ai.request.stream").as_deref(),
        Some("true")
    );
    assert!(!format!("{spans:?}").contains("dams spill"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_says_neither_whose_trace_it_is_nor_that_it_is_kept() {
    for share in ["0%", "100%"] {
        let collector = Collector::open().await;
        let more = format!("  traces: {{ sample: {share} }}\n");
        let harness = harness(&collector, "grpc", &more).await;
        let strange = reqwest::Method::from_bytes(b"MARKED-METHOD").unwrap();
        for (method, key) in [
            (reqwest::Method::POST, None),
            (reqwest::Method::POST, Some("another")),
            (strange, None),
        ] {
            let request = harness
                .http
                .request(method, harness.url(CHAT))
                .json(&chat());
            let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
            let request = key
                .into_iter()
                .fold(request, |it, key| it.header("api-key", key));
            assert!(request.send().await.unwrap().status().is_client_error());
        }
        // Its client's is kept, by the client's word.
        let request = harness.post(CHAT).json(&chat());
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
        assert_eq!(request.send().await.unwrap().status(), 200);
        let spans = spans(&collector, if share == "0%" { 2 } else { 5 }).await;
        let (known, strangers): (Vec<_>, Vec<_>) = spans
            .iter()
            .partition(|span| hex::encode(&span.trace_id) == TRACE);
        assert_eq!(known.len(), 2);
        for span in strangers {
            assert!(span.parent_span_id.is_empty(), "{span:#?}");
            assert!(!format!("{span:?}").contains("MARKED"), "{span:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_trace_goes_on_and_its_flag_decides_what_is_sent() {
    let collector = Collector::open().await;
    let harness = harness(&collector, "grpc", "  traces: { sample: 0% }\n").await;
    let ask = |flags: &'static str| {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        let request = harness.post(CHAT).json(&chat());
        request
            .header("traceparent", parent)
            .header("tracestate", "rojo=1, congo=2")
            .send()
    };
    // Not to be sent: by the share, by the caller's word.
    assert_eq!(harness.chat().await.status(), 200);
    assert_eq!(ask("00").await.unwrap().status(), 200);
    assert_eq!(ask("01").await.unwrap().status(), 200);

    let spans = spans(&collector, 2).await;
    assert!(
        spans
            .iter()
            .all(|span| hex::encode(&span.trace_id) == TRACE)
    );
    assert!(
        spans
            .iter()
            .all(|span| span.trace_state == "rojo=1,congo=2")
    );
    assert_eq!(hex::encode(&spans[0].parent_span_id), PARENT);
    // Each deployment was told of a span of ours, of the trace it is part of, and whether it is kept.
    let told: Vec<String> = said(&harness, "first", "traceparent").collect();
    assert_eq!(told.len(), 3);
    assert!(
        told[0].ends_with("-02") && !told[0].contains(TRACE),
        "{told:?}"
    );
    for (parent, flags) in [(&told[1], "-00"), (&told[2], "-01")] {
        assert!(parent.starts_with(&format!("00-{TRACE}-")), "{told:?}");
        assert!(
            parent.ends_with(flags) && !parent.contains(PARENT),
            "{told:?}"
        );
    }
    assert_eq!(told[2][36..52], hex::encode(&spans[1].span_id));
    assert_eq!(
        said(&harness, "first", "tracestate").collect::<Vec<_>>(),
        ["rojo=1,congo=2"; 2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_traced_too_and_health_is_not() {
    let collector = Collector::open().await;
    let harness = harness(&collector, "http", "").await;
    let health = harness
        .http
        .get(harness.url("/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    let stranger = harness.http.post(harness.url(CHAT)).json(&chat()).send();
    assert_eq!(stranger.await.unwrap().status(), 401);
    // Not alike: then it is no request's own.
    for (instance, code) in [("first", 500), ("second", 502)] {
        harness.fault(instance, status(code, &[]));
    }
    assert_eq!(harness.chat().await.status(), 503);

    let spans = spans(&collector, 4).await;
    let request = |status: &str| {
        let mut all = spans.iter().filter(|span| span.kind == 2);
        all.find(|it| of(it, "http.response.status_code").as_deref() == Some(status))
            .unwrap()
    };
    let is_error = |span: &Span| span.status.as_ref().is_some_and(|it| it.code == 2);
    assert_eq!(
        (
            of(request("401"), "forebay.client"),
            is_error(request("401"))
        ),
        (None, false)
    );
    assert!(of(request("401"), "forebay.refusal").is_some());
    assert!(is_error(request("503")));
    assert_eq!(
        of(request("503"), "error.type"),
        of(request("503"), "forebay.refusal")
    );
    let attempts = spans.iter().filter(|span| span.kind == 3);
    assert!(
        attempts
            .map(|it| of(it, "error.type").unwrap())
            .all(|it| it == "500" || it == "502")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_signals_that_are_wanted_are_sent() {
    let collector = Collector::open().await;
    let more = "  signals: [metrics]\n  metrics: { interval: 100ms }\n";
    let harness = harness(&collector, "grpc", more).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let asked = harness
        .post(CHAT)
        .json(&chat())
        .header("traceparent", &parent);
    assert_eq!(asked.send().await.unwrap().status(), 200);
    eventually("the request is counted", || {
        collector.count("forebay_requests_total", ("code", "200")) == 1.0
    })
    .await;
    assert_eq!(collector.spans(), []);
    // Without spans of ours the caller's stays the parent.
    assert_eq!(
        said(&harness, "first", "traceparent").collect::<Vec<_>>(),
        [parent]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_behind_tls_is_believed_by_its_authority() {
    let folder = folder();
    let ours = CertificateAuthority::new(&folder, "ours");
    ours.certify(&folder, "collector", "localhost");
    for protocol in PROTOCOLS {
        let collector = Collector::open_behind_tls(&folder, "collector").await;
        let endpoint = format!("https://localhost:{}", collector.address.port());
        let ca = format!("  ca: {}/ours.ca\n", folder.display());
        let config = |more: &str| otlp(&endpoint, protocol, more);

        let stranger = Harness::open_with(&TWO, &config("")).await;
        assert_eq!(stranger.chat().await.status(), 200);
        let failures = r#"forebay_otlp_failures_total{signal="traces"}"#;
        eventually_async("what it shows is not believed", async || {
            crate::metrics_page::value(&stranger.metrics().await, failures) >= 1.0
        })
        .await;
        assert_eq!(collector.asked(), 0);

        let harness = Harness::open_with(&TWO, &config(&ca)).await;
        assert_eq!(harness.chat().await.status(), 200);
        spans(&collector, 2).await;
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_sent_before_the_gateway_ends() {
    for (protocol, signal) in [("grpc", "TERM"), ("http", "TERM"), ("grpc", "INT")] {
        let collector = Collector::open().await;
        let mut harness = harness(&collector, protocol, "  metrics: { interval: 1h }\n").await;
        for _ in 0..20 {
            assert_eq!(harness.chat().await.status(), 200);
        }
        harness.log(20).await;
        harness.gateway.signal(signal);
        eventually("it has ended", || harness.gateway.ended().is_some()).await;
        assert_eq!(collector.spans().len(), 40, "{protocol} {signal}");
        assert_eq!(
            collector.count("forebay_requests_total", ("code", "200")),
            20.0
        );
        let model = ("gen_ai.request.model", "gpt-4o");
        assert_eq!(
            collector.count("gen_ai.client.operation.duration", model),
            20.0
        );
    }
}

/// How long a test may take that a collector's own timeouts are part of.
const LONG: Duration = Duration::from_secs(90);
