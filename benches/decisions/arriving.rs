//! Who asks, and what.

use std::{hint::black_box, sync::Arc, time::SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput};
use forebay::{
    domain::{
        ask::{Ask, prompt_tokens},
        client::{
            Client, Clients,
            credential::Credential,
            issuer::{Algorithm, Issuer, IssuerKind, KeysAt, LEEWAY, discovery},
            token::{Demand, Rule},
        },
        head::{self, Search},
        route::{Operation, route},
    },
    oidc::Issuers,
    simulator::{self, Config},
};
use http::Method;
use serde_json::json;

use crate::samples;

/// Whether a request's head can be trusted, and came the right way.
pub(crate) fn heads(c: &mut Criterion) {
    let (most, path) = (32 << 10, "/openai/v1/chat/completions");
    let (headers, front_door) = (samples::headers(), samples::front_door());
    let from = Some([10, 0, 0, 7].into());
    let mut group = c.benchmark_group("check_a_head");
    group.bench_function("http1", |b| {
        b.iter(|| {
            let bytes = black_box(samples::HEAD);
            let end = Search::default().end(bytes, most);
            (end, head::read(bytes, most))
        });
    });
    group.bench_function("http2", |b| {
        b.iter(|| head::check(&Method::POST, path.as_bytes(), black_box(&headers), most));
    });
    group.bench_function("front_door", |b| {
        b.iter(|| front_door.admit(path, from, black_box(&headers)));
    });
    group.finish();
}

pub(crate) fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("route_a_path");
    for (name, path) in [
        ("classic", "/openai/deployments/gpt-4o/chat/completions"),
        ("v1", "/openai/v1/chat/completions"),
        ("unknown", "/openai/v1/nothing/of/the/kind"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| route(&Method::POST, black_box(path)).is_ok());
        });
    }
    group.finish();
}

pub(crate) fn identifying(c: &mut Criterion) {
    let headers = samples::headers();
    for count in [10, 10_000] {
        let (clients, certificate) = (samples::clients(count), samples::certificate(count / 2));
        c.bench_function(&format!("find_a_client_by_key/{count}"), |b| {
            b.iter(|| {
                let credential =
                    Credential::from_request(black_box(&headers), None).expect("there is one");
                clients.by_key(credential.as_bytes()).is_some()
            });
        });
        c.bench_function(&format!("find_a_client_by_certificate/{count}"), |b| {
            let now = SystemTime::UNIX_EPOCH;
            b.iter(|| clients.by_certificate(black_box(&certificate), now).is_ok());
        });
    }
}

/// A token that was found good before, as long as Entra's are.
pub(crate) fn recalling(c: &mut Criterion) {
    let mut group = c.benchmark_group("recall_a_token");
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let _guard = runtime.enter();
    let simulation = "control: 127.0.0.1:0\nissuer: {}\ninstances: { i: { keys: [k], deployments: { m: { model: m } } } }";
    let simulation = Config::parse(simulation).expect("it is a simulation");
    let simulator = runtime.block_on(simulator::start(simulation));
    let simulator = simulator.expect("ports are free");
    let issuer = simulator.issuer().expect("it is configured");
    let (issuers, clients) = issuers(issuer.url());
    let issuers = Issuers::new(&[issuers], &clients).expect("nothing in it is read from files");
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    for cache in issuers.caches() {
        runtime.spawn(Arc::clone(cache).run(stopped.clone()));
    }
    for size in [1000, 1500, 3000] {
        let claims = json!({"iss": issuer.url(), "aud": "forebay", "sub": "jobs", "exp": 4_102_444_800u64, "x": "x".repeat(size / 4 * 3 - 420)});
        let token = issuer.token(&claims);
        runtime
            .block_on(issuers.identify(token.as_bytes()))
            .expect("it is good");
        group.bench_function(BenchmarkId::from_parameter(token.len()), |b| {
            b.iter(|| {
                issuers
                    .recall(black_box(token.as_bytes()), SystemTime::now())
                    .is_some()
            });
        });
    }
    group.finish();
}

fn issuers(url: &str) -> (Arc<Issuer>, Clients) {
    let issuer = Issuer {
        name: "ci".into(),
        url: url.into(),
        keys: KeysAt::Discovery(discovery(url)),
        kind: IssuerKind::Oidc,
        algorithms: Algorithm::USUAL.to_vec(),
        leeway: LEEWAY,
        ca: None,
    };
    let demand = Demand::Claim {
        name: "sub".into(),
        value: "jobs".into(),
    };
    let rule = Rule {
        issuer: "ci".into(),
        audiences: ["forebay".to_owned()].into(),
        demands: [demand].into(),
    };
    let client = Client {
        tokens: vec![rule],
        ..Client::named("jobs")
    };
    (Arc::new(issuer), Clients::listed([client]))
}

pub(crate) fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read_an_ask");
    for (name, size) in [
        ("1KiB", 1 << 10),
        ("100KiB", 100 << 10),
        ("256KiB", 256 << 10),
        ("1MiB", 1 << 20),
        ("4MiB", 4 << 20),
    ] {
        let body = samples::chat(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| Ask::read(Some("application/json"), black_box(body.as_bytes())));
        });
    }
    group.finish();
}

/// What a prompt comes to, on its arrival.
pub(crate) fn estimating(c: &mut Criterion) {
    let mut group = c.benchmark_group("estimate_a_prompt");
    let chinese = |size: usize| {
        let text = "大坝上游的水库蓄满了水，等待着涡轮机空闲下来。".repeat(size / 69);
        json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string()
    };
    let picture = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(95_325))}}]}]});
    let short =
        json!({"model": "m", "messages": vec![json!({"role": "user", "content": "Hi"}); 25_000]});
    for (name, body) in [
        ("1KiB", samples::chat(1 << 10)),
        ("1MiB", samples::chat(1 << 20)),
        ("1MiB_chinese", chinese(1 << 20)),
        ("1MiB_picture", picture.to_string()),
        ("1MiB_of_short_messages", short.to_string()),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| prompt_tokens(Operation::ChatCompletions, black_box(body.as_bytes())));
        });
    }
    group.finish();
}
