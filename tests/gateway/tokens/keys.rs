//! The keys that prove tokens: new ones, withdrawn ones, and issuers that can't be asked or that lie.

use std::time::{Duration, Instant};

use forebay::simulator::IssuerFault;
use serde_json::json;

use super::*;
use crate::house::comes_true;

/// A token of the newest key that no other is like.
fn fresh(house: &House) -> String {
    house.issuer().token(&v2(house.issuer()))
}

/// What `/status` says of the tenant.
async fn tenant(house: &House) -> Value {
    let status = house.status().await;
    let issuers = status["issuers"].as_array().unwrap().clone();
    let name = |issuer: &Value| issuer["issuer"].as_str().unwrap().starts_with("entra/");
    issuers.into_iter().find(name).unwrap()
}

async fn is_fetched(house: &House) {
    comes_true("the keys are fetched", async || {
        tenant(house).await["keys"] != 0
    })
    .await;
}

/// How many fetches of the tenant's keys have ended.
async fn fetches(house: &House) -> u64 {
    tenant(house).await["fetches"].as_u64().unwrap()
}

#[tokio::test]
async fn a_new_key_counts_after_one_fetch_and_a_withdrawn_one_ends_with_all_it_signed() {
    let house = Stage::set().await.open().await;
    let old = fresh(&house);
    assert_eq!(house.chat_as(&old).await.status(), 200);
    assert_eq!(fetches(&house).await, 1);

    assert_eq!(house.issuer().rotate(), "rsa-2");
    let new = fresh(&house);
    assert_eq!(house.chat_as(&new).await.status(), 200);
    assert_eq!(house.chat_as(&old).await.status(), 200);
    assert_eq!(fetches(&house).await, 2);

    house.issuer().withdraw("rsa-1");
    assert_eq!(house.issuer().rotate(), "rsa-3");
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 200);
    assert_eq!(fetches(&house).await, 3);
    // It was remembered as good, and does not count for all that.
    assert_eq!(house.chat_as(&old).await.status(), 401);
    assert_eq!(house.chat_as(&new).await.status(), 200);
    let log = house.log(6).await;
    assert_eq!(log[4]["detail"], "unknown_key_id", "{}", log[4]);
}

#[tokio::test]
async fn a_key_that_is_bound_to_another_tenant_proves_nothing_here() {
    let stage = Stage::set().await;
    stage.issuer().bind("rsa-1", "another-tenant");
    let house = stage.open().await;
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 401);
    assert_eq!(house.log(1).await[0]["detail"], "unknown_key_id");
    house.issuer().bind("rsa-2", TENANT);
    assert_eq!(house.issuer().rotate(), "rsa-2");
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 200);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_fetches_no_more_than_a_few_times() {
    let house = Stage::set().await.open().await;
    is_fetched(&house).await;
    let (claims, begin) = (v2(house.issuer()).to_string(), Instant::now());
    let flood = (0..300).map(|number| {
        let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")});
        let token = house.issuer().sign(&header, claims.as_bytes(), "rsa-1");
        async { house.chat_as(&{ token }).await.status().as_u16() }
    });
    let statuses = futures_util::future::join_all(flood).await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    // Three at once, one more each half minute, and the first.
    let most = 4 + begin.elapsed().as_secs() / 30;
    let fetched = fetches(&house).await;
    assert!((2..=most).contains(&fetched), "{fetched} fetches");
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 200);
    assert_eq!(house.asked("only"), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_waited_for_and_keys_of_clients_go_on() {
    let stage = Stage::set().await;
    stage.issuer().down().await;
    let house = stage.open().await;
    let token = fresh(&house);
    let answer = house.chat_as(&token).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(house.chat().await.status(), 200);
    let status = tenant(&house).await;
    assert_eq!(
        (&status["keys"], &status["keys_age_seconds"]),
        (&json!(0), &Value::Null)
    );
    assert!(status["last_error"].is_string(), "{status}");
    let log = house.log(1).await;
    assert_eq!(log[0]["refusal"], "unchecked_token");

    house.issuer().up().await.unwrap();
    comes_true("the token is believed", async || {
        house.chat_as(&token).await.status() == 200
    })
    .await;
    let status = tenant(&house).await;
    assert_eq!(
        (&status["last_error"], status["keys"].as_u64()),
        (&Value::Null, Some(4))
    );
}

#[tokio::test]
async fn while_an_issuer_is_down_the_keys_it_had_go_on() {
    let house = Stage::set().await.open().await;
    let old = fresh(&house);
    assert_eq!(house.chat_as(&old).await.status(), 200);
    house.issuer().down().await;
    // A key that isn't there makes it look, and fail.
    let unknown = json!({"alg": "RS256", "kid": "unknown"});
    let unknown = house
        .issuer()
        .sign(&unknown, v2(house.issuer()).to_string().as_bytes(), "rsa-1");
    assert_eq!(house.chat_as(&unknown).await.status(), 401);
    let status = tenant(&house).await;
    assert!(
        status["failures"].as_u64() >= Some(1) && status["last_error"].is_string(),
        "{status}"
    );
    assert_eq!(house.chat_as(&old).await.status(), 200);
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 200);
}

#[tokio::test]
async fn keys_of_an_issuer_that_is_not_what_it_should_be_are_not_taken() {
    let away = "http://keys.test/k".to_owned();
    for (fault, words) in [
        (
            IssuerFault::CallsItself {
                issuer: "https://localhost".into(),
            },
            "is another issuer's",
        ),
        (
            IssuerFault::KeysAt { url: away.clone() },
            "names no https:// address",
        ),
        (
            IssuerFault::KeysAt {
                url: "http://127.0.0.1:1/k".into(),
            },
            "names no https:// address",
        ),
        (IssuerFault::Redirect { to: away }, "answered 302"),
        (IssuerFault::Status { status: 500 }, "answered 500"),
        (IssuerFault::Garbage {}, "no discovery document"),
        (IssuerFault::Endless { bytes: 2 << 20 }, "has no end"),
        (IssuerFault::NoKeys {}, "holds no key"),
    ] {
        let stage = Stage::set().await;
        stage.issuer().set_fault(Some(fault.clone()));
        let house = stage.open().await;
        let mut said = Value::Null;
        comes_true("the fetch has failed", async || {
            said = tenant(&house).await["last_error"].clone();
            said.is_string()
        })
        .await;
        assert!(said.as_str().unwrap().contains(words), "{fault:?}: {said}");
        assert_eq!(
            house.chat_as(&fresh(&house)).await.status(),
            503,
            "{fault:?}"
        );
        assert_eq!(house.asked("only"), 0);
    }
}

#[tokio::test]
async fn an_issuer_with_a_certificate_of_another_authority_is_not_believed() {
    let stage = Stage::set().await;
    let another = stage.folder.join("another.pem");
    let house = stage.open_trusting(&another).await;
    assert_eq!(house.chat_as(&fresh(&house)).await.status(), 503);
    let said = tenant(&house).await["last_error"].clone();
    assert!(said.as_str().unwrap().contains("certificate"), "{said}");
    assert_eq!(house.issuer().fetches(), 0);
}

#[tokio::test]
async fn a_slow_issuer_is_waited_for_and_one_that_hangs_is_not() {
    let stage = Stage::set().await;
    stage
        .issuer()
        .set_fault(Some(IssuerFault::Slow { milliseconds: 200 }));
    let house = stage.open().await;
    comes_true("the token is believed", async || {
        house.chat_as(&fresh(&house)).await.status() == 200
    })
    .await;
    assert_eq!(fetches(&house).await, 1);

    let stage = Stage::set().await;
    stage.issuer().set_fault(Some(IssuerFault::Hang {}));
    let house = stage.open().await;
    let (token, begin) = (fresh(&house), Instant::now());
    let (waiting, with_key) = tokio::join!(house.chat_as(&token), house.chat());
    assert_eq!(
        (waiting.status().as_u16(), with_key.status().as_u16()),
        (503, 200)
    );
    // A fetch gives up after ten seconds, a request long before it.
    assert_eq!(fetches(&house).await, 0, "after {:?}", begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(1));
}
