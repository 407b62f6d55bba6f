//! Answers whose usage is not what it should be: none breaks anything, none is believed that can't be.

use forebay::simulator::{Fault, FaultKind, OddUsage, Piece, Raw};
use serde_json::{Value, json};

use super::{Tokens, estimated, harness};

const CHAT: &str = "/openai/v1/chat/completions";

#[tokio::test]
async fn odd_usage_is_estimated_or_its_last_word_taken() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let mut reasons = Vec::new();
    for form in OddUsage::ALL {
        harness.fault("only", FaultKind::OddUsage { form });
        for (path, more) in [
            (CHAT, json!({})),
            (CHAT, json!({"stream": true})),
            (
                CHAT,
                json!({"stream": true, "stream_options": {"include_usage": true}}),
            ),
            ("/openai/v1/responses", json!({})),
            ("/openai/v1/responses", json!({"stream": true})),
        ] {
            let mut body = json!({"model": "gpt-4o", "input": "Why do dams spill?"});
            if path == CHAT {
                body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why do dams spill?"}]});
            }
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let before = harness.stats("gpt-4o");
            let answer = harness.post(path).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{form:?}");
            let text = answer.text().await.unwrap();
            assert!(text.contains("dams"), "{form:?}: {text}");
            let (reason, is_stream) = (reason(form), body["stream"] == true);
            let asks = body["stream_options"]["include_usage"] == true;
            if path == CHAT && is_stream && !asks && form != OddUsage::InEveryChunk {
                assert!(!text.contains("usage"), "{form:?}: {text}");
            }
            reasons.push(reason);
            let log = harness.log(reasons.len()).await;
            let line = &log[reasons.len() - 1];
            let told = Tokens::of_line(line);
            assert_eq!(
                line["usage"]["estimated"],
                reason.is_some(),
                "{form:?}: {line}"
            );
            let mut after = before;
            after += told;
            match reason {
                None => assert_eq!(after, harness.stats("gpt-4o"), "{form:?}: {line}"),
                Some(_) => assert!(
                    told.input() < 100 && (1..100).contains(&told.output()),
                    "{form:?}: {line}"
                ),
            }
        }
    }
    let page = harness.metrics_of(reasons.len() as u64).await;
    for reason in ["missing", "invalid"] {
        let times = reasons.iter().filter(|it| **it == Some(reason)).count();
        assert_eq!(estimated(&page, reason), times as u64, "{reason}");
    }
}

/// Why what an answer says is not believed.
fn reason(form: OddUsage) -> Option<&'static str> {
    match form {
        OddUsage::None | OddUsage::Null => Some("missing"),
        OddUsage::Negative | OddUsage::Huge | OddUsage::Text => Some("invalid"),
        OddUsage::InEveryChunk | OddUsage::Twice => None,
    }
}

#[tokio::test]
async fn a_compressed_answer_is_passed_on_and_its_usage_estimated() {
    let harness = harness(&[("gpt-4o", "model: gpt-4o")], "", "").await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-encoding: br\r\n\r\n";
    let raw = Raw::new(head, [Piece::from(&b"not really compressed"[..])]);
    let fault = Fault::from(FaultKind::Raw(raw)).times(1);
    harness
        .simulator
        .set_fault("only", None, Some(fault))
        .unwrap();
    let body: Value = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]});
    let answer = harness.post(CHAT).json(&body).send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "br");
    assert_eq!(answer.text().await.unwrap(), "not really compressed");
    let log = harness.log(1).await;
    let told = Tokens::of_line(&log[0]);
    assert!(told.input() > 0 && told.output() == 0, "{}", log[0]);
    assert_eq!(log[0]["usage"]["estimated"], true);
    assert_eq!(estimated(&harness.metrics_of(1).await, "encoded"), 1);
}

/// Not every model of pictures is billed by the token, so nobody is to be called for one that tells none.
#[tokio::test]
async fn a_picture_without_usage_is_no_cause_for_alarm() {
    let harness = harness(&[("pictures", "model: gpt-image-1")], "", "").await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n";
    let raw = Raw::new(
        head,
        [Piece::from(&br#"{"created":1,"data":[{"url":"x"}]}"#[..])],
    );
    let fault = Fault::from(FaultKind::Raw(raw));
    harness
        .simulator
        .set_fault("only", None, Some(fault))
        .unwrap();
    let body = json!({"model": "pictures", "prompt": "A dam that spills"});
    let path = "/openai/v1/images/generations";
    let answer = harness.post(path).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let page = harness.metrics_of(1).await;
    let reasons = ["untold", "missing"].map(|reason| estimated(&page, reason));
    assert_eq!(reasons, [1, 0]);
}
