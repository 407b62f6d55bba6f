//! A quiet stream is kept alive between events, and a deployment that is dead does not hide behind that.

use std::{fmt::Write as _, time::Duration};

use futures_util::StreamExt;
use reqwest::Response;
use serde_json::json;

use super::{DONE, WORD, asking, asking_as, next, outcomes, rest};
use crate::{
    harness::eventually,
    scripted_upstream::{ReceivedRequest, STREAM, ScriptedUpstream},
    streams::over_each_protocol,
};

const COMMENT: &str = ": keepalive\n\n";

/// A stream in which the deployment falls silent: between events, inside one, and before the first.
async fn quiet_stream(call: &mut ReceivedRequest, response: &mut Response, form: &str) -> String {
    let mut text = String::new();
    // Each silence lasts until the client has seen what it is to see.
    for (piece, ends_event) in [
        ("", true),
        (WORD, true),
        ("data: {\"choices\":", false),
        ("[]}\n\n", true),
    ] {
        if !piece.is_empty() {
            call.chunk(piece).await;
        }
        let seen = text.matches(form).count();
        while !text.contains(piece) || ends_event && text.matches(form).count() < seen + 2 {
            text += &next(response).await;
        }
        if !ends_event {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    text
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_between_events_in_a_form_that_the_client_reads() {
    let event =
        "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\"}\n\n";
    let python = "azsdk-python-ai-inference/1.0.0b9 Python/3.11";
    for http in over_each_protocol() {
        for (agent, form) in [("OpenAI/Python 3.54", COMMENT), (python, event)] {
            let more = "failover: { hold: 1ms }\nserver: { stream_keepalive: 40ms }";
            let (upstream, harness) = ScriptedUpstream::harness(more).await;
            let response = asking_as(&harness, &http, agent);
            let mut call = upstream.call().await;
            call.send(STREAM).await;
            let mut response = response.await.unwrap();
            let mut text = quiet_stream(&mut call, &mut response, form).await;
            call.chunk(DONE).await;
            call.end().await;
            text += &rest(response).await.0;
            let pieces: Vec<&str> = text.split(form).collect();
            for before in &pieces[..pieces.len() - 1] {
                assert!(before.is_empty() || before.ends_with("\n\n"), "{text}");
            }
            let sent = [WORD, "data: {\"choices\":[]}\n\n", DONE].concat();
            assert_eq!(pieces.concat(), sent);
            assert!(text.ends_with(DONE), "{text}");
        }
    }
}

/// The end of a transfer is in its framing: what is written by the timer may neither tear nor double anything.
#[tokio::test]
async fn a_large_stream_to_a_slow_client_stays_whole_between_keepalives() {
    let mut sent = String::new();
    while sent.len() < 20 << 20 {
        let number = sent.len();
        let filler = "0123456789abcdef".repeat(1 + number % 1200);
        write!(
            sent,
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{number} {filler}\"}}}}]}}\n\n"
        )
        .unwrap();
    }
    let narrow = crate::harness::client_builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(20_000);
    sent.push_str(DONE);
    for http in [crate::harness::client(), narrow.build().unwrap()] {
        let more = "failover: { hold: 1ms }\nserver: { stream_keepalive: 1ms }";
        let (upstream, harness) = ScriptedUpstream::harness(more).await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        let body = sent.clone();
        let sending = tokio::spawn(async move {
            call.send(STREAM).await;
            for (i, event) in body.split_inclusive("\n\n").enumerate() {
                // Some events come in two pieces, some several in one.
                let (one, other) = event.split_at(event.len() * (i % 3) / 2);
                call.chunk(one).await;
                if !other.is_empty() {
                    call.chunk(other).await;
                }
                if i % 8 == 0 {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                if i % 300 == 0 {
                    // Time for the slowest client to have taken all of it.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            call.end().await;
        });
        let (mut text, mut stream) = (Vec::new(), response.await.unwrap().bytes_stream());
        let mut number = 0;
        while let Some(piece) = stream.next().await {
            text.extend_from_slice(&piece.unwrap());
            number += 1;
            if number % 32 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        sending.await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let count = text.matches(COMMENT).count();
        assert!(count > 0);
        assert!(text.replace(COMMENT, "") == sent, "with {count} comments");
        let inside = text.match_indices(COMMENT);
        let mut inside = inside.filter(|(at, _)| *at > 0 && !text[..*at].ends_with("\n\n"));
        assert_eq!(inside.next(), None);
    }
}

#[tokio::test]
async fn keepalives_do_not_hide_that_a_deployment_is_dead() {
    for http in over_each_protocol() {
        let more =
            "failover: { hold: 1ms, idle_timeout: 400ms }\nserver: { stream_keepalive: 20ms }";
        let (upstream, harness) = ScriptedUpstream::harness(more).await;
        let response = asking(&harness, &http);
        let mut call = upstream.call().await;
        call.send(STREAM).await;
        call.chunk(WORD).await;
        let (text, broken) = rest(response.await.unwrap()).await;
        assert!(
            broken && text.contains(COMMENT) && text.contains("\"server_error\""),
            "{text}"
        );
        let log = harness.log(1).await;
        assert_eq!(
            (outcomes(&log[0]), &log[0]["end"]),
            (vec!["fault_broken"], &json!("broken"))
        );
        eventually("the deployment is left alone", || {
            harness.asked("well") == 0
        })
        .await;
    }
}
