//! The keys that prove tokens: new ones, withdrawn ones, and issuers that can't be asked or that lie.

use std::time::{Duration, Instant};

use forebay::simulator::IssuerFault;
use serde_json::json;

use super::*;
use crate::harness::eventually_async;

/// A token of the newest key that no other is like.
fn fresh(harness: &Harness) -> String {
    harness.issuer().token(&v2(harness.issuer()))
}

/// What `/status` says of the tenant.
async fn tenant(harness: &Harness) -> Value {
    let status = harness.status().await;
    let issuers = status["issuers"].as_array().unwrap().clone();
    let name = |issuer: &Value| issuer["issuer"].as_str().unwrap().starts_with("entra/");
    issuers.into_iter().find(name).unwrap()
}

async fn is_fetched(harness: &Harness) {
    eventually_async("the keys are fetched", async || {
        tenant(harness).await["keys"] != 0
    })
    .await;
}

/// How many fetches of the tenant's keys have ended.
async fn fetches(harness: &Harness) -> u64 {
    tenant(harness).await["fetches"].as_u64().unwrap()
}

#[tokio::test]
async fn a_new_key_counts_after_one_fetch_and_a_withdrawn_one_ends_with_all_it_signed() {
    let harness = TokenFixture::set().await.open().await;
    let old = fresh(&harness);
    assert_eq!(harness.chat_as(&old).await.status(), 200);
    assert_eq!(fetches(&harness).await, 1);

    assert_eq!(harness.issuer().rotate(), "rsa-2");
    let new = fresh(&harness);
    assert_eq!(harness.chat_as(&new).await.status(), 200);
    assert_eq!(harness.chat_as(&old).await.status(), 200);
    assert_eq!(fetches(&harness).await, 2);

    harness.issuer().withdraw("rsa-1");
    assert_eq!(harness.issuer().rotate(), "rsa-3");
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 200);
    assert_eq!(fetches(&harness).await, 3);
    // It was remembered as good, and does not count for all that.
    assert_eq!(harness.chat_as(&old).await.status(), 401);
    assert_eq!(harness.chat_as(&new).await.status(), 200);
    let log = harness.log(6).await;
    assert_eq!(log[4]["detail"], "unknown_key_id", "{}", log[4]);
}

#[tokio::test]
async fn a_key_that_is_bound_to_another_tenant_proves_nothing_here() {
    let fixture = TokenFixture::set().await;
    fixture.issuer().bind("rsa-1", "another-tenant");
    let harness = fixture.open().await;
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 401);
    assert_eq!(harness.log(1).await[0]["detail"], "unknown_key_id");
    harness.issuer().bind("rsa-2", TENANT);
    assert_eq!(harness.issuer().rotate(), "rsa-2");
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 200);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_fetches_no_more_than_a_few_times() {
    let harness = TokenFixture::set().await.open().await;
    is_fetched(&harness).await;
    let (claims, begin) = (v2(harness.issuer()).to_string(), Instant::now());
    let flood = (0..300).map(|number| {
        let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")});
        let token = harness.issuer().sign(&header, claims.as_bytes(), "rsa-1");
        async { harness.chat_as(&{ token }).await.status().as_u16() }
    });
    let statuses = futures_util::future::join_all(flood).await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    // Three at once, one more each half minute, and the first.
    let most = 4 + begin.elapsed().as_secs() / 30;
    let fetched = fetches(&harness).await;
    assert!((2..=most).contains(&fetched), "{fetched} fetches");
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 200);
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_waited_for_and_keys_of_clients_go_on() {
    let fixture = TokenFixture::set().await;
    fixture.issuer().down().await;
    let harness = fixture.open().await;
    let token = fresh(&harness);
    let answer = harness.chat_as(&token).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(harness.chat().await.status(), 200);
    let status = tenant(&harness).await;
    assert_eq!(
        (&status["keys"], &status["keys_age_seconds"]),
        (&json!(0), &Value::Null)
    );
    assert!(status["last_error"].is_string(), "{status}");
    let log = harness.log(1).await;
    assert_eq!(log[0]["refusal"], "unchecked_token");

    harness.issuer().up().await.unwrap();
    eventually_async("the token is believed", async || {
        harness.chat_as(&token).await.status() == 200
    })
    .await;
    let status = tenant(&harness).await;
    assert_eq!(
        (&status["last_error"], status["keys"].as_u64()),
        (&Value::Null, Some(4))
    );
}

#[tokio::test]
async fn while_an_issuer_is_down_the_keys_it_had_go_on() {
    let harness = TokenFixture::set().await.open().await;
    let old = fresh(&harness);
    assert_eq!(harness.chat_as(&old).await.status(), 200);
    harness.issuer().down().await;
    // A key that isn't there makes it look, and fail.
    let unknown = json!({"alg": "RS256", "kid": "unknown"});
    let unknown = harness.issuer().sign(
        &unknown,
        v2(harness.issuer()).to_string().as_bytes(),
        "rsa-1",
    );
    assert_eq!(harness.chat_as(&unknown).await.status(), 401);
    let status = tenant(&harness).await;
    assert!(
        status["failures"].as_u64() >= Some(1) && status["last_error"].is_string(),
        "{status}"
    );
    assert_eq!(harness.chat_as(&old).await.status(), 200);
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 200);
}

#[tokio::test]
async fn keys_of_an_issuer_that_is_not_what_it_should_be_are_not_taken() {
    let away = "http://keys.test/k".to_owned();
    for (fault, words) in [
        (
            IssuerFault::CallsItself {
                issuer: "https://localhost".into(),
            },
            "belongs to another issuer",
        ),
        (
            IssuerFault::KeysAt { url: away.clone() },
            "has no https:// address",
        ),
        (
            IssuerFault::KeysAt {
                url: "http://127.0.0.1:1/k".into(),
            },
            "has no https:// address",
        ),
        (IssuerFault::Redirect { to: away }, "answered 302"),
        (IssuerFault::Status { status: 500 }, "answered 500"),
        (IssuerFault::Garbage {}, "not an OpenID discovery document"),
        (IssuerFault::Endless { bytes: 2 << 20 }, "is too long"),
        (IssuerFault::NoKeys {}, "contains no usable signing key"),
    ] {
        let fixture = TokenFixture::set().await;
        fixture.issuer().set_fault(Some(fault.clone()));
        let harness = fixture.open().await;
        let mut said = Value::Null;
        eventually_async("the fetch has failed", async || {
            said = tenant(&harness).await["last_error"].clone();
            said.is_string()
        })
        .await;
        assert!(said.as_str().unwrap().contains(words), "{fault:?}: {said}");
        assert_eq!(
            harness.chat_as(&fresh(&harness)).await.status(),
            503,
            "{fault:?}"
        );
        assert_eq!(harness.asked("only"), 0);
    }
}

#[tokio::test]
async fn an_issuer_with_a_certificate_of_another_authority_is_not_believed() {
    let fixture = TokenFixture::set().await;
    let another = fixture.folder.join("another.pem");
    let harness = fixture.open_trusting(&another).await;
    assert_eq!(harness.chat_as(&fresh(&harness)).await.status(), 503);
    let said = tenant(&harness).await["last_error"].clone();
    assert!(said.as_str().unwrap().contains("certificate"), "{said}");
    assert_eq!(harness.issuer().fetches(), 0);
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_and_one_that_hangs_is_not() {
    let fixture = TokenFixture::set().await;
    fixture
        .issuer()
        .set_fault(Some(IssuerFault::Slow { milliseconds: 200 }));
    let harness = fixture.open().await;
    eventually_async("the token is believed", async || {
        harness.chat_as(&fresh(&harness)).await.status() == 200
    })
    .await;
    assert_eq!(fetches(&harness).await, 1);

    let fixture = TokenFixture::set().await;
    fixture.issuer().set_fault(Some(IssuerFault::Hang {}));
    let harness = fixture.open().await;
    let (token, begin) = (fresh(&harness), Instant::now());
    let (waiting, with_key) = tokio::join!(harness.chat_as(&token), harness.chat());
    assert_eq!(
        (waiting.status().as_u16(), with_key.status().as_u16()),
        (503, 200)
    );
    // A fetch gives up after ten seconds, a request long before it.
    assert_eq!(fetches(&harness).await, 0, "after {:?}", begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(1));
}
