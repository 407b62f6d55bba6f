//! A client that heeds nothing, against the real binary. For three minutes, in virtual time, see the domain's own tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{LIMITED, bounded, header, limited, remaining};
use crate::harness::{CHAT, Harness, client, eventually_async};

const LIMIT: u64 = 60_000;
const CONNECTIONS: u64 = 50;
/// The answer asked for at most, and the prompt.
const ESTIMATE: u64 = 400 + 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hammers_from_fifty_connections_gets_its_minute_and_no_more() {
    let harness = Harness::open_with(
        &[("a", 1, 1)],
        &limited(&format!("tokens_per_minute: {LIMIT}")),
    )
    .await;
    let (served, url) = (Arc::new(AtomicU64::new(0)), harness.url(CHAT));
    let hammer = |refusals| {
        let (http, url, served) = (client(), url.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            let mut refused = 0;
            while refused < refusals {
                let request = http.post(&url).header("api-key", LIMITED);
                let answer = request.json(&bounded(400)).send().await.unwrap();
                match answer.status().as_u16() {
                    200 => {
                        served.fetch_add(1, Relaxed);
                    }
                    429 => {
                        let wait = header(&answer, "retry-after-ms").unwrap();
                        assert!((1..=60_000).contains(&wait), "{wait}");
                        assert_eq!(header(&answer, "retry-after"), Some(wait.div_ceil(1000)));
                        refused += 1;
                    }
                    other => panic!("{other}"),
                }
                answer.bytes().await.unwrap();
            }
        })
    };
    let all: Vec<_> = (0..CONNECTIONS).map(|_| hammer(40)).collect();
    for one in all {
        one.await.unwrap();
    }
    // Those were refused for what others had reserved too; now nothing is.
    hammer(1).await.unwrap();
    let mut used = 0;
    eventually_async("it has had its minute", async || {
        used = LIMIT - remaining(&harness, "tokens_per_minute").await.unwrap();
        used >= LIMIT - LIMIT / 100
    })
    .await;
    assert!(used < LIMIT + ESTIMATE, "{used}");
    let served = served.load(Relaxed);
    assert_eq!(harness.asked("a"), served, "what was refused asked nobody");
    assert!(served >= LIMIT / ESTIMATE, "{served}");
}
