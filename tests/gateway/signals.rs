//! What signals do to a gateway that serves.

use std::time::{Duration, Instant};

use crate::{
    harness::eventually,
    http1_client::{RawConnection, good_chat},
    scripted_upstream::{EVENT, ScriptedUpstream},
};

#[tokio::test]
async fn signals_that_mean_nothing_to_a_gateway_are_named_in_its_log_and_end_nothing() {
    let (upstream, mut harness) = ScriptedUpstream::harness("").await;
    let (mut wire, mut call) = upstream.stream(&harness).await;
    for (name, said) in [
        ("HUP", "restart the gateway to apply changes"),
        ("USR1", "are reopened without a signal"),
        ("USR2", "does not use it"),
    ] {
        harness.gateway.signal(name);
        let named = format!("SIG{name}");
        eventually("it is said", || {
            let log = harness.gateway.stderr();
            log.lines()
                .any(|line| line.contains(&named) && line.contains(said))
        })
        .await;
        call.chunk(EVENT).await;
        assert!(wire.arrives(EVENT).await);
    }
    assert!(harness.gateway.ended().is_none());
    call.chunk("data: [DONE]\n\n").await;
    call.end().await;
    assert_eq!(harness.log(1).await[0]["end"], "complete");
}

#[tokio::test]
async fn an_interrupt_and_a_quit_drain_as_a_terminate_does() {
    for name in ["INT", "QUIT", "TERM"] {
        let more = "drain: { notice: 100ms, deadline: 60s }";
        let (upstream, mut harness) = ScriptedUpstream::harness(more).await;
        let (mut wire, mut call) = upstream.stream(&harness).await;
        harness.gateway.signal(name);
        eventually("it drains", || {
            let log = harness.gateway.stderr();
            log.contains("drain started") && log.contains(&format!("SIG{name}"))
        })
        .await;
        // Past the notice its listeners are closed.
        eventually("it takes nothing new", || {
            std::net::TcpStream::connect(harness.gateway.address).is_err()
        })
        .await;
        call.chunk(EVENT).await;
        assert!(wire.arrives(EVENT).await, "{name}");
        assert!(harness.gateway.ended().is_none());
        call.chunk("data: [DONE]\n\n").await;
        call.end().await;
        eventually("it has ended", || harness.gateway.ended().is_some()).await;
        assert_eq!(harness.log(1).await[0]["end"], "complete", "{name}");
    }
}

#[tokio::test]
async fn a_second_interrupt_ends_a_gateway_at_once_and_the_logs_say_so() {
    // Before the drain's notice is over, and behind it.
    for notice in ["60s", "1ms"] {
        let more = format!("drain: {{ notice: {notice}, deadline: 60s }}");
        let (upstream, mut harness) = ScriptedUpstream::harness(&more).await;
        let (mut wire, _call) = upstream.stream(&harness).await;
        let mut waiting = RawConnection::open(harness.gateway.address).await;
        waiting.send(good_chat()).await;
        let _unanswered = upstream.call().await;
        harness.gateway.signal("INT");
        eventually("it drains", || {
            harness.gateway.stderr().contains("drain started")
        })
        .await;
        if notice == "1ms" {
            eventually("it takes nothing new", || {
                std::net::TcpStream::connect(harness.gateway.address).is_err()
            })
            .await;
        }
        let signalled = Instant::now();
        harness.gateway.signal("INT");
        eventually("it has ended", || harness.gateway.ended().is_some()).await;
        assert!(signalled.elapsed() < Duration::from_secs(20));
        let log = harness.gateway.stderr();
        let line = log
            .lines()
            .find(|line| line.contains("stopped at once"))
            .unwrap();
        assert!(line.contains("\"requests\":2"), "{line}");
        wire.drained().await;
        for line in harness.log(2).await {
            assert_eq!(line["end"], "broken", "{line}");
        }
    }
}

#[tokio::test]
async fn a_start_is_one_line_that_says_what_runs() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    upstream.call().await.answer("200 OK", b"{}").await;
    let log = harness.gateway.stderr();
    let started = |line: &&str| line.contains("forebay is ready and serves requests");
    assert_eq!(log.lines().filter(started).count(), 1, "{log}");
    let line: serde_json::Value = serde_json::from_str(log.lines().find(started).unwrap()).unwrap();
    let gateway = &harness.gateway;
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["listeners"], gateway.address.to_string());
    assert_eq!(line["admin"], gateway.admin.to_string());
    let counts = ["models", "deployments", "clients"].map(|name| line[name].as_u64());
    assert_eq!(counts, [Some(1), Some(2), Some(1)]);
    let hash = line["config"].as_str().unwrap();
    assert!(
        harness
            .metrics()
            .await
            .contains(&format!("forebay_config_hash{{hash=\"{hash}\"}} 1"))
    );
}
