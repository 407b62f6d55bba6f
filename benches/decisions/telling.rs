//! What operators see of it.

use std::{hint::black_box, sync::Arc, time::Instant};

use criterion::Criterion;
use forebay::{
    admin::{Admin, Asked, Phase},
    domain::{health::HealthVerdict, name::ClientName},
    telemetry::{
        metrics::{Bounds, Metrics},
        traffic_rates::TrafficRates,
    },
};
use http::Method;

use crate::samples;

/// Counting a request whose like has been counted before.
pub(crate) fn accounting(c: &mut Criterion) {
    let (metrics, record) = (Metrics::new(), samples::record());
    c.bench_function("account", |b| {
        b.iter(|| metrics.account(black_box(&record)));
    });
}

/// The metrics page of a thousand deployments and ten thousand clients, of which a thousand are told apart.
pub(crate) fn scraping(c: &mut Criterion) {
    let names: Vec<ClientName> = (0..10_000)
        .map(|number| format!("client-{number}").as_str().into())
        .collect();
    let bounds = Bounds {
        clients: 1000,
        series: 100_000,
    };
    let metrics = Arc::new(Metrics::bounded(&names, bounds));
    for (number, client) in names.iter().cycle().take(30_000).enumerate() {
        metrics.account(&samples::served(client.clone(), number % 1000));
    }
    let asked = Asked {
        method: &Method::GET,
        path: "/metrics",
        query: None,
        known: None,
    };
    let now = Instant::now();
    let admin = Admin {
        host: "a".to_owned(),
        limits: Box::new(Vec::new),
        rates: Arc::new(TrafficRates::new(Arc::clone(&metrics), Vec::new(), now)),
        failovers: Arc::default(),
        metrics,
        pools: vec![Arc::new(samples::pool_of(1000))],
        identities: Box::new(Vec::new),
        listeners: Box::new(Vec::new),
        issuers: Box::new(Vec::new),
        token_checks: Box::new(|| 0),
        phase: Box::new(|| Phase::Serving),
        health: Box::new(|| HealthVerdict::Healthy),
        started: now,
        refreshing: Default::default(),
    };
    let page = admin.page(&asked).body;
    let lines = page.iter().filter(|byte| **byte == b'\n').count();
    println!("the page: {lines} lines, {} bytes", page.len());
    c.bench_function("scrape/1000_deployments_10000_clients", |b| {
        b.iter(|| admin.page(&asked).body.len());
    });
}
