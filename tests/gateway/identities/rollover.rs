//! Tokens of five seconds under load for two minutes: nobody notices that they are renewed.

use std::{
    env,
    time::{Duration, Instant},
};

use super::Setup;
use crate::{
    harness::chat,
    http1_client::{RawConnection, request},
};

/// How long a token lives, and when the schedule asks for the next at the earliest: IMDS tells whole seconds, so a token of
/// five may seem to live for four, of which half is over by then.
const LIFE: Duration = Duration::from_secs(5);
const EARLIEST: Duration = Duration::from_secs(2);

/// Connections, and how far apart each of them asks: two hundred requests a second together.
const CONNECTIONS: u32 = 16;
const APART: Duration = Duration::from_millis(80);

/// `FOREBAY_ROLLOVER_SECONDS`, 120 unless set.
fn duration() -> Duration {
    let set = env::var("FOREBAY_ROLLOVER_SECONDS");
    Duration::from_secs(set.map_or(120, |seconds| seconds.parse().unwrap()))
}

#[tokio::test]
async fn tokens_roll_over_under_load_without_a_failed_request_or_a_token_request_too_many() {
    let app =
        "client_secret: { tenant_id: t, client_id: c, secret: s, authority: \"http://{tokens}\" }";
    let vm = "managed_identity: { endpoint: \"http://{tokens}\" }";
    let newer = ", scope: \"https://ai.azure.com/.default\"";
    let setup = Setup {
        // Kept tokens would be told more than once.
        tokens: "lifetime: 5s, kept_for: 0",
        proofs: &[("app", app, ""), ("vm", vm, newer)],
        ..Setup::default()
    };
    let fixture = setup.open().await;
    let (started, address) = (Instant::now(), fixture.gateway.address);
    let connections = (0..CONNECTIONS).map(|nth| {
        let first = started + APART / CONNECTIONS * nth;
        tokio::spawn(busy(
            address,
            ["app", "vm"][nth as usize % 2],
            first,
            started + duration(),
        ))
    });
    let mut served = 0;
    for connection in futures_util::future::join_all(connections).await {
        served += connection.unwrap();
    }
    let (took, stats) = (started.elapsed(), fixture.simulator.stats().tokens);
    eprintln!("rollover: {served} requests in {took:?}, {stats:?}");
    assert_eq!(
        served,
        fixture.asked("app") + fixture.asked("vm"),
        "each was sent once"
    );
    assert_eq!(
        (stats.asked, stats.refused),
        (stats.issued, 0),
        "each token request gave a token"
    );
    let most = took.as_secs_f64() / EARLIEST.as_secs_f64() + 2.0;
    let least = duration().as_secs_f64() / LIFE.as_secs_f64();
    assert_eq!(stats.issued_to.len(), 2, "{stats:?}");
    for (to, count) in &stats.issued_to {
        let count = *count as f64;
        assert!(
            count <= most && count >= least,
            "{to}: {count} tokens, {least} to {most}"
        );
    }
    let unused = stats.issued - stats.used;
    assert!(
        unused <= 2,
        "of each identity only the newest may be unused: {stats:?}"
    );
    for name in ["app", "vm"] {
        let it = fixture.identity(name).await;
        assert_eq!(
            (&it["ready"], &it["failures"]),
            (&true.into(), &0.into()),
            "{it}"
        );
    }
    let errors = fixture.said(&["\"level\":\"ERROR\""]);
    assert!(errors.is_empty(), "{errors:?}");
}

/// Asks for a model at even times until the end, late ones at once; each request is served.
async fn busy(address: std::net::SocketAddr, model: &str, mut due: Instant, end: Instant) -> u64 {
    let mut body = chat();
    body["model"] = model.into();
    let head = format!(
        "api-key: {}\r\ncontent-type: application/json\r\n",
        crate::harness::KEY
    );
    let body = body.to_string();
    let asking = request("POST", crate::harness::CHAT, &head, &body);
    let (mut wire, mut served) = (RawConnection::open(address).await, 0);
    while Instant::now() < end {
        tokio::time::sleep_until(due.into()).await;
        due += APART;
        wire.send(&asking).await;
        let answer = wire.answer().await.expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{text}");
        if !answer.keeps_open() {
            wire = RawConnection::open(address).await;
        }
        served += 1;
    }
    served
}
