//! What operators are told of a deployment that fails: in the log and among the alarms, with its status, what it does to clients
//! and the next step.

use serde_json::Value;

use crate::harness::{Harness, eventually_async, status, throttle};

impl Harness {
    /// What the gateway's own log says.
    fn events(&self) -> Vec<Value> {
        let said = self.gateway.stderr();
        let lines = said.lines();
        // The last may still be on its way.
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    async fn event(&self, name: &str) -> Value {
        let mut found = Value::Null;
        eventually_async(&format!("{name} is told"), async || {
            let mut events = self.events().into_iter();
            found = events.find(|it| it["event"] == name).unwrap_or_default();
            !found.is_null()
        })
        .await;
        found
    }
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field}: {of}"))
}

#[tokio::test]
async fn a_deployment_that_fails_is_told_with_its_status_who_serves_and_what_to_do() {
    let more = "breaker: { faults: 2, pause: 60s }\n";
    let harness = Harness::open_with(&[("a", 1, 1), ("b", 2, 1), ("c", 3, 1)], more).await;
    harness.fault("a", status(503, &[]));
    for _ in 0..4 {
        assert_eq!(harness.chat().await.status(), 200);
    }
    let told = harness.event("circuit_open").await;
    assert_eq!(
        (
            &told["level"],
            &told["instance"],
            &told["status"],
            &told["cause"]
        ),
        (&"WARN".into(), &"a".into(), &503.into(), &"fault".into()),
        "{told}"
    );
    let message = text(&told, "message");
    let begins = "503 from a/a-gpt-4o: circuit open, next retry in ";
    assert!(message.starts_with(begins), "{message}");
    assert!(
        message.contains("clients are served by b/b-gpt-4o"),
        "{message}"
    );
    let seconds = told["retry_in_seconds"].as_f64().unwrap();
    assert_eq!(seconds, (seconds * 10.0).round() / 10.0, "{told}");

    harness.fault("b", throttle(60.0));
    assert_eq!(harness.chat().await.status(), 200);
    let told = harness.event("deployment_throttled").await;
    let message = text(&told, "message");
    assert!(
        message.starts_with("429 from b/b-gpt-4o: throttled, cooldown of "),
        "{message}"
    );
    assert!(
        message.ends_with("s; clients are served by c/c-gpt-4o"),
        "{message}"
    );

    harness.fault("c", status(401, &[]));
    assert_eq!(harness.chat().await.status(), 503);
    let told = harness.event("credential_refused").await;
    assert_eq!(told["level"], "ERROR");
    for word in ["401 from c/c-gpt-4o", "identity", "503 with Retry-After"] {
        assert!(text(&told, "message").contains(word), "{told}");
    }

    alarms_say_what_to_do(&harness.status().await);

    for event in harness.events() {
        assert!(
            text(&event, "time").ends_with('Z') && event["event"].is_string(),
            "{event}"
        );
        assert!(event["timestamp"].is_null(), "{event}");
    }
    for line in harness.log(1).await {
        assert!(line["time"].is_string(), "{line}");
    }
}

/// The same three deployments among the alarms of the status page.
fn alarms_say_what_to_do(page: &Value) {
    let alarms = page["alarms"].as_array().unwrap();
    let alarm = |what: &str| alarms.iter().find(|it| it["what"] == what).unwrap();
    for (what, words) in [
        (
            "failing",
            &["503 from a/a-gpt-4o (of gpt-4o): circuit open, next retry in "][..],
        ),
        (
            "credential_refused",
            &["401 from c/c-gpt-4o", "clients get 503"],
        ),
        (
            "model_unavailable",
            &["gpt-4o", "clients get 503", "b/b-gpt-4o: 429, throttled"],
        ),
    ] {
        for word in words {
            assert!(text(alarm(what), "text").contains(word), "{page}");
        }
        assert!(text(alarm(what), "mend").len() > 20, "{page}");
    }
    assert_eq!(alarm("failing")["instance"], "a");
}
