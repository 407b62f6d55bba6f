//! What records become: spans, metrics, or a counted loss.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Histogram, Metric, metric::Data},
    trace::v1::Span,
};

use super::{
    gen_ai::{AZURE, GenAi, Place, Places},
    points::{self, Times},
    *,
};
use crate::{
    domain::{
        collector::Protocol,
        deployment::Endpoint,
        trace::{Sampling, SpanId, TRACEPARENT, Trace},
    },
    telemetry::record::{AnswerEnd, AttemptRecord, tests::record},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A chat in two attempts that its caller wants traced.
fn traced() -> Record {
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::try_from(parent).unwrap())]);
    let mut record = record();
    record.operation = "chat/completions";
    record.trace = Some(Trace::begin(&headers, Sampling::from_share(0.0), 1, 0xaa).into());
    for (i, attempt) in record.attempts.iter_mut().enumerate() {
        attempt.span = Some(SpanId::from_draw(0xb0 + i as u64));
        attempt.began = Duration::from_millis(5 + 30 * i as u64);
    }
    record
}

fn known() -> Places {
    let place = |host: &str, provider| Place {
        host: host.into(),
        port: 443,
        provider,
    };
    Places::from([
        ("east".into(), place("east.example", AZURE)),
        ("west".into(), place("west.example", "openai")),
    ])
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let mut found = attributes.iter().filter(|it| it.key == key);
    let value = found.next()?.value.as_ref()?.value.as_ref()?;
    assert!(found.next().is_none(), "{key} is there twice");
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::DoubleValue(real) => real.to_string(),
        other => panic!("{other:?}"),
    })
}

fn says(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        let said = attribute(&span.attributes, key);
        assert_eq!(said.as_deref(), Some(*value), "{} of {}", key, span.name);
    }
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|it| it.code == 2)
}

#[test]
fn a_request_that_moved_on_is_one_tree() {
    let record = traced();
    let spans = spans::spans(&record, &known());
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        ["chat gpt-4o", "attempt east/gpt-4o", "attempt west/gpt-4o"]
    );
    assert!(
        spans
            .iter()
            .all(|span| hex::encode(&span.trace_id) == TRACE)
    );
    let ids: Vec<_> = spans
        .iter()
        .map(|it| (hex::encode(&it.parent_span_id), hex::encode(&it.span_id)))
        .collect();
    let id = |text: &str| format!("{text:0>16}");
    assert_eq!(ids[0], (id("00f067aa0ba902b7"), id("aa")));
    assert_eq!(ids[1..], [(id("aa"), id("b0")), (id("aa"), id("b1"))]);
    // Server, client, client; of the parents one is somewhere else.
    assert_eq!(
        spans.iter().map(|it| it.kind).collect::<Vec<_>>(),
        [2, 3, 3]
    );
    assert_eq!(
        spans.iter().map(|it| it.flags).collect::<Vec<_>>(),
        [0x301, 0x101, 0x101]
    );

    let arrived = spans::nanos(record.arrived);
    let times: Vec<_> = spans
        .iter()
        .map(|it| {
            (
                it.start_time_unix_nano - arrived,
                it.end_time_unix_nano - arrived,
            )
        })
        .map(|(start, end)| (start / 1_000_000, end / 1_000_000))
        .collect();
    // The attempt that was delivered lasts as long as its answer.
    assert_eq!(times, [(0, 900), (5, 25), (35, 900)]);
}

#[test]
fn each_span_says_what_its_request_or_attempt_was() {
    let spans = spans::spans(&traced(), &known());
    says(
        &spans[0],
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o"),
            ("gen_ai.request.stream", "true"),
            ("gen_ai.response.time_to_first_chunk", "0.0415"),
            ("gen_ai.usage.input_tokens", "30"),
            ("gen_ai.usage.output_tokens", "12"),
            ("gen_ai.usage.cache_read.input_tokens", "10"),
            ("gen_ai.usage.reasoning.output_tokens", "4"),
            ("openai.api.type", "chat_completions"),
            ("http.request.method", "POST"),
            ("http.response.status_code", "200"),
            ("url.path", "/v1/chat/completions"),
            ("network.protocol.version", "1.1"),
            ("client.address", "192.0.2.1"),
            ("forebay.client", "app"),
            ("forebay.request_id", "r-1"),
            ("forebay.instance", "west"),
            ("forebay.deployment", "gpt-4o"),
            ("forebay.end", "complete"),
        ],
    );
    says(
        &spans[1],
        &[
            ("server.address", "east.example"),
            ("server.port", "443"),
            ("gen_ai.provider.name", "azure.ai.openai"),
            ("http.response.status_code", "429"),
            ("error.type", "429"),
            ("forebay.outcome", "throttled"),
            ("forebay.instance", "east"),
            ("forebay.deployment", "gpt-4o"),
        ],
    );
    says(
        &spans[2],
        &[
            ("http.request.resend_count", "1"),
            ("forebay.outcome", "served"),
        ],
    );
    assert_eq!(
        spans.iter().map(is_error).collect::<Vec<_>>(),
        [false, true, false]
    );
    let tokens = |span: &Span| attribute(&span.attributes, "gen_ai.usage.input_tokens").is_some();
    assert_eq!(
        spans.iter().map(tokens).collect::<Vec<_>>(),
        [true, false, false]
    );
}

#[test]
fn what_went_wrong_is_said_by_the_conventions() {
    let of = |change: &dyn Fn(&mut Record)| {
        let mut record = traced();
        change(&mut record);
        let spans = spans::spans(&record, &known());
        let error = attribute(&spans[0].attributes, "error.type");
        assert_eq!(is_error(&spans[0]), error.is_some());
        (error, spans)
    };
    let (error, spans) = of(&|it| (it.status, it.refusal) = (Some(503), Some("no_deployment")));
    assert_eq!(error.as_deref(), Some("no_deployment"));
    says(&spans[0], &[("forebay.refusal", "no_deployment")]);
    // The last attempt's answer was not the request's.
    assert!(spans[2].end_time_unix_nano < spans[0].end_time_unix_nano);
    let (error, spans) = of(&|it| (it.status, it.refusal) = (Some(429), Some("throttled")));
    assert_eq!(error, None);
    says(&spans[0], &[("forebay.refusal", "throttled")]);
    assert_eq!(of(&|it| it.status = Some(500)).0.as_deref(), Some("500"));
    assert_eq!(
        of(&|it| it.end = AnswerEnd::Broken).0.as_deref(),
        Some("broken")
    );
    assert_eq!(
        of(&|it| (it.status, it.end) = (None, AnswerEnd::ClientLeft)).0,
        None
    );

    let attempt = |outcome: &'static str, status: Option<u16>| {
        let change = |it: &mut AttemptRecord| (it.outcome, it.status) = (outcome, status);
        let (_, spans) = of(&|it| change(&mut it.attempts[0]));
        let error = attribute(&spans[1].attributes, "error.type");
        assert_eq!(is_error(&spans[1]), error.is_some());
        error
    };
    assert_eq!(
        attempt("fault_connect", None).as_deref(),
        Some("fault_connect")
    );
    assert_eq!(
        attempt("fault_broken", Some(200)).as_deref(),
        Some("fault_broken")
    );
    assert_eq!(attempt("caller_error", Some(400)).as_deref(), Some("400"));
    assert_eq!(attempt("client_left", None), None);
}

#[test]
fn a_name_of_a_span_is_never_a_clients_word() {
    let mut record = traced();
    (record.operation, record.model) = ("", None);
    record.path = Some("/anything/at/all".into());
    assert_eq!(spans::spans(&record, &known())[0].name, "POST");
    record.method = None;
    assert_eq!(spans::spans(&record, &known())[0].name, "HTTP");
    record.operation = "embeddings";
    assert_eq!(spans::spans(&record, &known())[0].name, "embeddings");
}

#[test]
fn what_is_not_sampled_is_no_span() {
    let mut record = traced();
    record.trace = Some(Trace::begin(&HeaderMap::new(), Sampling::from_share(0.0), 1, 2).into());
    assert_eq!(spans::spans(&record, &known()), []);
    record.trace = None;
    assert_eq!(spans::spans(&record, &known()), []);
}

fn metric<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
    metrics.iter().find(|metric| metric.name == name).unwrap()
}

fn times() -> Times {
    let since = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    Times {
        since,
        now: since + Duration::from_secs(5),
    }
}

/// The conventions' metrics of a request, of a refused one, of a session and of one that named no model.
fn observed() -> Vec<Metric> {
    let gen_ai = GenAi::new();
    gen_ai.observe(&traced(), &known());
    let mut refused = traced();
    (refused.refusal, refused.status) = (Some("throttled"), Some(429));
    (refused.usage, refused.stream) = (None, false);
    refused.attempts.clear();
    gen_ai.observe(&refused, &known());
    let mut session = traced();
    (session.operation, session.status) = ("realtime", Some(101));
    session.usage = None;
    gen_ai.observe(&session, &known());
    let mut stranger = traced();
    stranger.model = None;
    gen_ai.observe(&stranger, &known());

    points::of_gen_ai(&gen_ai.collect(), times())
}

fn histogram(metric: &Metric) -> &Histogram {
    match &metric.data {
        Some(Data::Histogram(histogram)) => histogram,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_conventions_metrics_have_their_names_buckets_and_attributes() {
    let metrics = observed();
    let shown: Vec<_> = metrics.iter().map(|it| (&*it.name, &*it.unit)).collect();
    assert_eq!(
        shown,
        [
            ("gen_ai.client.token.usage", "{token}"),
            ("gen_ai.client.operation.duration", "s"),
            ("gen_ai.client.operation.time_to_first_chunk", "s"),
        ]
    );
    let tokens = histogram(&metrics[0]);
    let points: Vec<_> = tokens
        .data_points
        .iter()
        .map(|it| {
            let kind = attribute(&it.attributes, "gen_ai.token.type").unwrap();
            (kind, it.count, it.sum.unwrap())
        })
        .collect();
    assert_eq!(
        points,
        [("input".into(), 1, 30.0), ("output".into(), 1, 12.0)]
    );
    let input = &tokens.data_points[0];
    assert_eq!(input.explicit_bounds.len() + 1, input.bucket_counts.len());
    assert_eq!(input.explicit_bounds[..4], [1.0, 4.0, 16.0, 64.0]);
    assert_eq!(input.bucket_counts[..5], [0, 0, 0, 1, 0]);
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o"),
        ("server.address", "west.example"),
        ("server.port", "443"),
    ] {
        assert_eq!(attribute(&input.attributes, key).as_deref(), Some(value));
    }
    assert_eq!(
        input.time_unix_nano - input.start_time_unix_nano,
        5_000_000_000
    );
}

#[test]
fn the_conventions_durations_tell_errors_apart_and_requests_that_went_nowhere() {
    let metrics = observed();
    let duration = histogram(&metrics[1]);
    assert_eq!(duration.aggregation_temporality, 2);
    let errors: Vec<_> = duration
        .data_points
        .iter()
        .map(|it| attribute(&it.attributes, "error.type"))
        .collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.contains(&None) && errors.contains(&Some("throttled".into())));
    let nowhere = duration
        .data_points
        .iter()
        .find(|it| it.attributes.iter().all(|it| it.key != "server.address"));
    assert!(
        nowhere.is_some(),
        "a request that went nowhere names no server"
    );
}

#[test]
fn what_prometheus_shows_is_sent_by_its_own_names() {
    let metrics = Metrics::new();
    metrics.account(&traced());
    let sent = points::of_page(&metrics.gather(), times());
    let page = String::from_utf8(metrics.render()).unwrap();
    let shown = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(
        sent.iter().map(|it| &*it.name).collect::<Vec<_>>(),
        shown.collect::<Vec<_>>()
    );

    let Some(Data::Sum(tokens)) = &metric(&sent, "forebay_tokens_total").data else {
        panic!()
    };
    assert!(tokens.is_monotonic && tokens.aggregation_temporality == 2);
    let input = tokens
        .data_points
        .iter()
        .find(|it| attribute(&it.attributes, "type").as_deref() == Some("input"))
        .unwrap();
    assert_eq!(
        attribute(&input.attributes, "client").as_deref(),
        Some("app")
    );
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsDouble;
    assert_eq!(input.value, Some(AsDouble(30.0)));
    let duration = metric(&sent, "forebay_request_duration_seconds");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(duration)) = &duration.data else {
        panic!()
    };
    let mut points = duration.data_points.iter();
    let point = points
        .find(|it| attribute(&it.attributes, "instance").as_deref() == Some("west"))
        .unwrap();
    assert_eq!((point.count, point.bucket_counts.iter().sum()), (1, 1));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let Some(Data::Gauge(_)) = &metric(&sent, "forebay_requests_inflight").data else {
        panic!()
    };
}

/// A collector at an address that nothing answers at.
fn nobody() -> Collector {
    Collector {
        endpoint: Endpoint::parse("http://127.0.0.1:9").unwrap(),
        protocol: Protocol::Http,
        headers: Vec::new(),
        ca: None,
        traces: Some(Sampling::from_share(1.0)),
        metrics: Some(Duration::from_secs(3600)),
        resource: Vec::new(),
    }
}

#[test]
fn more_than_there_is_room_for_is_dropped_and_counted() {
    let metrics = Arc::new(Metrics::new());
    let otlp = Otlp::open(&nobody(), &[], &metrics).unwrap();
    let record = Arc::new(traced());
    // Nothing arrives at all, and more comes than queue and spans together hold.
    let taken = 40_000;
    for _ in 0..taken {
        otlp.take(&record);
    }
    otlp.close();
    // What is left when it ends is dropped too, so that all are counted: three spans each.
    assert_eq!(metrics.signal("traces").dropped.get(), 3 * taken);
    otlp.take(&record);
    assert_eq!(metrics.signal("traces").dropped.get(), 3 * (taken + 1));
    assert!(metrics.signal("metrics").dropped.get() > 0);
}

#[test]
fn a_collector_whose_authorities_cannot_be_read_is_a_mistake() {
    let collector = Collector {
        endpoint: Endpoint::parse("https://collector.example").unwrap(),
        ca: Some("/nowhere/ca.pem".into()),
        ..nobody()
    };
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector {
            protocol,
            ..collector.clone()
        };
        let error = Otlp::open(&collector, &[], &Arc::default()).err().unwrap();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
