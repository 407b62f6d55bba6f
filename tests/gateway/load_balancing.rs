//! Which deployment serves: shares by weight, order by priority, as the deployments themselves saw it.

use crate::harness::{Harness, served_by, status};

#[tokio::test]
async fn shares_follow_weights_in_real_traffic() {
    let harness = Harness::open(&[("a", 1, 5), ("b", 1, 3), ("c", 1, 2)]).await;
    let requests = 600;
    for _ in 0..requests {
        assert_eq!(harness.chat().await.status(), 200);
    }
    let expected = [("a", 0.5), ("b", 0.3), ("c", 0.2)]
        .map(|(name, share)| (name, share * f64::from(requests)));
    let chi_square: f64 = expected
        .map(|(name, expected)| {
            let off = harness.asked(name) as f64 - expected;
            off * off / expected
        })
        .iter()
        .sum();
    // Two degrees of freedom: more than this happens by chance once in a million runs.
    assert!(chi_square < 27.6, "{chi_square}");
}

#[tokio::test]
async fn the_second_priority_gets_nothing_while_the_first_can_serve() {
    let harness = Harness::open(&[("ptu", 1, 1), ("std-a", 2, 1), ("std-b", 2, 3)]).await;
    for _ in 0..50 {
        assert_eq!(served_by(&harness.chat().await), "ptu");
    }
    assert_eq!((harness.asked("std-a"), harness.asked("std-b")), (0, 0));
    harness.fault("ptu", status(429, &[("retry-after", "60")]));
    for _ in 0..50 {
        assert_ne!(served_by(&harness.chat().await), "ptu");
    }
    assert_eq!(harness.asked("ptu"), 51);
    assert_eq!(harness.asked("std-a") + harness.asked("std-b"), 50);
}

#[tokio::test]
async fn one_throttled_model_does_not_bench_another_on_the_same_instance() {
    let harness = Harness::open(&[("first", 1, 1), ("second", 2, 1)]).await;
    let fault = status(429, &[("retry-after", "60")]);
    harness
        .simulator
        .set_fault("first", Some("first-gpt-4o"), Some(fault.into()))
        .unwrap();
    assert_eq!(served_by(&harness.chat().await), "second");
    let body = serde_json::json!({"model": "text-embedding-3-small", "input": "dams"});
    let embeddings = harness
        .post("/openai/v1/embeddings")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (embeddings.status().as_u16(), served_by(&embeddings)),
        (200, "first".to_owned())
    );
}
