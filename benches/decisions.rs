//! What each decision on a request's way costs by itself, and whether that grows with the config.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay::{
    admin::{Admin, Asked, Phase},
    domain::{
        ask::Ask,
        breaker::Settings,
        client::{
            Client, Clients, KeyHash,
            issuer::{Algorithm, Issuer, IssuerKind, KeysAt, LEEWAY, discovery},
            token::{Demand, Rule},
        },
        deployment::{Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight},
        name::ClientName,
        outcome::Outcome,
        pool::Pool,
        route::route,
        usage::Usage,
    },
    entra::Issuers,
    simulator::{self, Config},
    telemetry::{
        metrics::{Bounds, Metrics},
        pulse::Pulse,
        record::{AttemptRecord, End, Record},
    },
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use serde_json::json;

criterion_group!(
    decisions,
    choosing,
    identifying,
    recalling,
    reading,
    routing,
    judging,
    scraping
);
criterion_main!(decisions);

/// Choosing a deployment, judging how it went, and keeping the books of both.
fn choosing(c: &mut Criterion) {
    let mut group = c.benchmark_group("choose_and_judge");
    for (out, percent) in [
        ("all_ready", 0),
        ("a_tenth_out", 10),
        ("nine_tenths_out", 90),
    ] {
        for count in [3, 100, 1000] {
            let (pool, now) = (Arc::new(pool_of(count)), Instant::now());
            // Of three, none and two.
            throttle(&pool, count as usize * percent / 100, now);
            group.bench_function(BenchmarkId::new(out, count), |b| {
                b.iter(|| {
                    let draw = fastrand::u64(..);
                    let mut attempt = pool.choose(&[], now, draw).expect("some are ready");
                    pool.budget().note_request(now);
                    attempt.judge(&Outcome::Served, now, draw)
                });
            });
        }
    }
    group.finish();
}

/// Puts so many of a pool out, spread all over it.
fn throttle(pool: &Arc<Pool>, count: usize, now: Instant) {
    let (wait, size) = (Duration::from_secs(100), pool.members().len());
    for number in 0..count {
        let index = number * size / count;
        let others: Vec<usize> = (0..size).filter(|other| *other != index).collect();
        let attempt = pool.choose(&others, now, 0);
        let mut attempt = attempt.expect("it is ready");
        attempt.judge(&Outcome::Throttled { wait }, now, 0);
    }
}

fn identifying(c: &mut Criterion) {
    let mut group = c.benchmark_group("find_a_client_by_key");
    for count in [10, 10_000] {
        let clients = clients(count);
        let key = format!("key-{}", count / 2);
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| clients.by_key(black_box(key.as_bytes())));
        });
    }
    group.finish();
}

/// A token that was found good before, as long as Entra's are.
fn recalling(c: &mut Criterion) {
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
    for keeper in issuers.keepers() {
        runtime.spawn(Arc::clone(keeper).run(stopped.clone()));
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

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("read_an_ask");
    for (name, size) in [("1KiB", 1 << 10), ("100KiB", 100 << 10), ("1MiB", 1 << 20)] {
        let body = chat(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| Ask::read(Some("application/json"), black_box(body.as_bytes())));
        });
    }
    group.finish();
}

fn routing(c: &mut Criterion) {
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

fn judging(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge_an_answer");
    let (now, mut headers) = (SystemTime::now(), HeaderMap::new());
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-remaining-tokens", "118000"),
        ("apim-request-id", "b1c6ff0c-9f5e-4b68-ae32-5cd1bb1d9c1a"),
        ("retry-after-ms", "6500"),
        ("retry-after", "7"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, status) in [
        ("served", StatusCode::OK),
        ("throttled", StatusCode::TOO_MANY_REQUESTS),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| Outcome::of_response(status, black_box(&headers), now));
        });
    }
    group.finish();
}

fn pool_of(count: u32) -> Pool {
    let deployment = |number| Deployment {
        instance: Arc::new(Instance {
            name: format!("instance-{number}").as_str().into(),
            endpoint: Endpoint::parse("https://contoso.openai.azure.com").expect("it is a URL"),
            kind: Kind::AzureOpenai,
            identity: "vm".into(),
            scope: "https://cognitiveservices.azure.com/.default".into(),
            geography: None,
            ca: None,
            connect_to: None,
        }),
        name: "gpt-4o".into(),
        capacity: Capacity::Standard,
        priority: Priority::FIRST,
        weight: Weight::new(1 + number % 3).expect("it is not zero"),
    };
    let model = Model {
        name: "gpt-4o".into(),
        version: None,
        deployments: (0..count).map(deployment).collect(),
        timeouts: Default::default(),
    };
    Pool::new(model, Settings::default())
}

/// The metrics page of a thousand deployments and ten thousand clients, of which a thousand are told apart.
fn scraping(c: &mut Criterion) {
    let names: Vec<ClientName> = (0..10_000)
        .map(|number| format!("client-{number}").as_str().into())
        .collect();
    let bounds = Bounds {
        clients: 1000,
        series: 100_000,
    };
    let metrics = Arc::new(Metrics::bounded(&names, bounds));
    for (number, client) in names.iter().cycle().take(30_000).enumerate() {
        metrics.account(&served(client.clone(), number % 1000));
    }
    let asked = Asked {
        method: &Method::GET,
        path: "/metrics",
        query: None,
        known: None,
    };
    let now = Instant::now();
    let admin = Admin {
        pulse: Arc::new(Pulse::new(Arc::clone(&metrics), Vec::new(), now)),
        failovers: Arc::default(),
        metrics,
        pools: vec![Arc::new(pool_of(1000))],
        identities: Box::new(Vec::new),
        listeners: Box::new(Vec::new),
        issuers: Box::new(Vec::new),
        token_checks: Box::new(|| 0),
        phase: Box::new(|| Phase::Serving),
        started: now,
    };
    let page = admin.page(&asked).body;
    let lines = page.iter().filter(|byte| **byte == b'\n').count();
    println!("the page: {lines} lines, {} bytes", page.len());
    c.bench_function("scrape/1000_deployments_10000_clients", |b| {
        b.iter(|| admin.page(&asked).body.len());
    });
    c.bench_function("account", |b| {
        let record = served(names[7].clone(), 7);
        b.iter(|| admin.metrics.account(&record));
    });
}

/// A chat that the instance of this number answered.
fn served(client: ClientName, instance: usize) -> Record {
    Record {
        arrived: SystemTime::UNIX_EPOCH,
        request_id: "r-1".into(),
        client: Some(client),
        model: Some("gpt-4o".into()),
        model_version: None,
        operation: "chat/completions",
        stream: true,
        method: Some(Method::POST),
        path: None,
        version: Version::HTTP_11,
        address: None,
        client_address: None,
        attempts: vec![AttemptRecord {
            instance: format!("instance-{instance}").as_str().into(),
            deployment: "gpt-4o".into(),
            capacity: Capacity::Standard,
            priority: Priority::FIRST,
            outcome: "served",
            may_be_billed: false,
            spilled_to: None,
            status: Some(200),
            took: Duration::from_millis(20),
        }],
        refusal: None,
        detail: None,
        out_of_budget: false,
        status: Some(200),
        end: End::Complete,
        unreplayable: false,
        usage: Some(Usage {
            input: 30,
            output: 12,
            ..Usage::default()
        }),
        cost: None,
        request_bytes: 1024,
        response_bytes: 2048,
        time_to_first_byte: Some(Duration::from_micros(41_500)),
        duration: Duration::from_millis(900),
        overhead: Some(Duration::from_micros(120)),
    }
}

fn clients(count: u32) -> Clients {
    Clients::listed((0..count).map(|number| Client {
        keys: vec![KeyHash::of(format!("key-{number}").as_bytes())],
        ..Client::named(&format!("client-{number}"))
    }))
}

/// A chat of this many bytes, in messages of about three hundred.
fn chat(size: usize) -> String {
    let words =
        r#"{"role":"user","content":"Above the dam the water waits until a \"turbine\" is free.\n"#;
    let message = format!(
        "{}{}\"}}",
        words,
        "And what can't be taken spills over. ".repeat(6)
    );
    let mut body = String::from(r#"{"model":"gpt-4o","temperature":0.5,"messages":["#);
    while body.len() + message.len() < size {
        body.push_str(&message);
        body.push(',');
    }
    body.push_str(r#"{"role":"user","content":"Why?"}],"stream":false}"#);
    body
}
