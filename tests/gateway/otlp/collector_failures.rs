//! Collectors that are down, slow, or say no: requests notice nothing, and what is lost is counted.

use std::time::Instant;

use futures_util::future::join_all;

use super::{
    LONG, PROTOCOLS, TWO,
    collector::{Collector, CollectorBehaviour},
    harness, otlp, spans,
};
use crate::{
    harness::{Harness, eventually, eventually_async, free_address},
    metrics_page,
};

async fn count(harness: &Harness, metric: &str) -> f64 {
    metrics_page::value(&harness.metrics().await, metric)
}

const DROPPED: &str = r#"forebay_otlp_dropped_total{signal="traces"}"#;
const FAILURES: &str = r#"forebay_otlp_failures_total{signal="traces"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_requests_nothing() {
    for protocol in PROTOCOLS {
        let collector = Collector::open().await;
        collector.is(CollectorBehaviour::Silent);
        let mut harness = harness(&collector, protocol, "  metrics: { interval: 100ms }\n").await;
        assert_eq!(harness.chat().await.status(), 200);
        eventually("it was asked", || collector.asked() >= 1).await;
        for _ in 0..40 {
            let answers = join_all((0..25).map(|_| harness.chat())).await;
            assert!(answers.iter().all(|answer| answer.status() == 200));
        }
        // None of them waited for it: each is written down with the gateway's own share of its time, which is none of
        // the ten seconds that the collector is given.
        let log = harness.log(1001).await;
        let slowest = log.iter().map(|line| line["duration_ms"].as_f64().unwrap());
        let slowest = slowest.fold(0.0, f64::max);
        assert!(slowest < 9_000.0, "{slowest}");
        assert_eq!(collector.spans(), []);

        let told = Instant::now();
        harness.gateway.signal("TERM");
        eventually("it ends all the same", || harness.gateway.ended().is_some()).await;
        assert!(told.elapsed() < LONG);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_gets_what_was_kept_for_it() {
    for protocol in PROTOCOLS {
        let address = free_address();
        let endpoint = format!("http://{address}");
        let config = otlp(&endpoint, protocol, "  signals: [traces]\n");
        let harness = Harness::open_with(&TWO, &config).await;
        for _ in 0..10 {
            assert_eq!(harness.chat().await.status(), 200);
        }
        eventually_async("it tried more than once", async || {
            count(&harness, FAILURES).await >= 2.0
        })
        .await;
        let said = harness.gateway.stderr();
        assert_eq!(
            said.matches("sending traces to the OTLP collector failed")
                .count(),
            1,
            "{said}"
        );
        assert!(said.contains("Connection refused"), "{said}");
        assert!(!said.contains("a-collectors-token"), "{said}");

        let collector = Collector::open_again(address).await;
        spans(&collector, 20).await;
        eventually("it says so", || {
            harness
                .gateway
                .stderr()
                .contains("the OTLP collector takes traces again")
        })
        .await;
        assert_eq!(count(&harness, DROPPED).await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_says_no_to_is_tried_again_only_where_that_may_help() {
    // A status that means later, and one that means never, in each protocol's numbers.
    for (protocol, later, never) in [("grpc", 14, 3), ("http", 503, 400)] {
        let collector = Collector::open().await;
        let harness = harness(&collector, protocol, "  signals: [traces]\n").await;
        collector.is(CollectorBehaviour::Refuses(later));
        assert_eq!(harness.chat().await.status(), 200);
        eventually("it is asked again", || collector.asked() >= 2).await;
        assert_eq!(count(&harness, DROPPED).await, 0.0, "{protocol}");
        collector.is(CollectorBehaviour::Takes);
        spans(&collector, 2).await;

        collector.is(CollectorBehaviour::Refuses(never));
        let asked = collector.asked();
        assert_eq!(harness.chat().await.status(), 200);
        eventually_async("it is given up", async || {
            count(&harness, DROPPED).await == 2.0
        })
        .await;
        assert_eq!(collector.asked(), asked + 1, "{protocol}");

        collector.is(CollectorBehaviour::TakesPart(1));
        assert_eq!(harness.chat().await.status(), 200);
        eventually_async("the rest is counted", async || {
            count(&harness, DROPPED).await == 3.0
        })
        .await;
        let said = harness.gateway.stderr();
        assert!(!said.contains("own words"), "{said}");
        assert!(said.contains("rejected part of what it was sent"), "{said}");
    }
}
