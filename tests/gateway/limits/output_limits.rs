//! Clients that ask for more output than they may have, in every way there is.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ask, limited};
use crate::harness::{CHAT, Harness, error_of};

const CLASSIC: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=";

/// That the deployment got this body for that one.
async fn becomes(harness: &Harness, path: &str, sent: &str, got: &str) {
    let answer = ask(harness, path)
        .body(sent.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{sent}");
    answer.bytes().await.unwrap();
    let last = harness.seen("a").pop().unwrap();
    let sum = hex::encode(Sha256::digest(got));
    assert_eq!(
        last.body_sha256,
        Some(sum),
        "{path} {sent} has {} bytes",
        last.body_length
    );
}

#[tokio::test]
async fn what_is_asked_for_beyond_the_limit_is_cut_to_it_and_what_is_not_said_is_said() {
    let harness = Harness::open_with(&[("a", 1, 1)], &limited("max_output_tokens: 9")).await;
    let chat = |more: &str| {
        format!(r#"{{"model":"a-gpt-4o",{more}"messages":[{{"role":"user","content":"x"}}]}}"#)
    };
    for (sent, got) in [
        (r#""max_tokens": 5,"#, r#""max_tokens": 5,"#),
        (r#""max_tokens": 10 ,"#, r#""max_tokens": 9 ,"#),
        (
            r#""max_completion_tokens":100000,"#,
            r#""max_completion_tokens":9,"#,
        ),
        (r#""m\u0061x_tokens":100000,"#, r#""m\u0061x_tokens":9,"#),
        (
            r#""max_completion_tokens": null,"#,
            r#""max_completion_tokens": 9,"#,
        ),
    ] {
        let sent = chat(sent).replace("a-gpt-4o", "gpt-4o");
        becomes(&harness, CHAT, &sent, &chat(got)).await;
    }
    let bare = chat("").replace("a-gpt-4o", "gpt-4o");
    let body = &chat("")[1..];
    // What names no maximum is given one, in the field that its reader knows.
    becomes(
        &harness,
        CHAT,
        &bare,
        &format!("{{\"max_completion_tokens\":9,{body}"),
    )
    .await;
    for (version, field) in [
        ("2024-10-21", "max_tokens"),
        ("2024-06-01", "max_tokens"),
        ("2024-12-01-preview", "max_completion_tokens"),
        ("2025-04-01-preview", "max_completion_tokens"),
    ] {
        let got = format!("{{\"{field}\":9,{}", &bare[1..]);
        becomes(&harness, &format!("{CLASSIC}{version}"), &bare, &got).await;
    }
    let response = r#"{"model":"gpt-4o","input":"x"}"#;
    let got = r#"{"max_output_tokens":9,"model":"a-gpt-4o","input":"x"}"#;
    becomes(&harness, "/openai/v1/responses", response, got).await;
    let embed = r#"{"model":"text-embedding-3-small","input":"x"}"#;
    becomes(
        &harness,
        "/v1/embeddings",
        embed,
        &embed.replace("text", "a-text"),
    )
    .await;
}

#[tokio::test]
async fn nothing_that_could_be_read_in_two_ways_gets_round_a_limit() {
    let limits = "max_output_tokens: 9, over_max_output_tokens: refuse, n: 2, best_of: 2";
    let harness = Harness::open_with(&[("a", 1, 1)], &limited(limits)).await;
    let paths = [CHAT, &format!("{CLASSIC}2024-10-21")];
    for path in paths {
        for (members, code) in [
            (r#""max_tokens":10"#, "max_output_tokens_exceeded"),
            (
                r#""max_completion_tokens":10,"max_tokens":1"#,
                "max_output_tokens_exceeded",
            ),
            (r#""max_tokens":"10""#, "unreadable_limit"),
            (r#""max_tokens":1e9"#, "unreadable_limit"),
            (r#""max_tokens":9.0"#, "unreadable_limit"),
            (r#""max_tokens":-1"#, "unreadable_limit"),
            (r#""max_tokens":1,"max_tokens":99"#, "400"),
            (r#""max_tokens":1,"max_t\u006fkens":99"#, "400"),
            (r#""n":3"#, "n_exceeded"),
            (r#""n":[1]"#, "unreadable_limit"),
            (r#""best_of":3"#, "best_of_exceeded"),
            (r#""max_tokens":1"#, ""),
        ] {
            let body = format!(
                r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"x"}}],{members}}}"#
            );
            let answer = ask(&harness, path).body(body.clone()).send().await.unwrap();
            match code {
                "" => assert_eq!(answer.status(), 200, "{path} {body}"),
                code => drop(error_of(answer, 400, code).await),
            }
        }
    }
    let asked = harness.asked("a");
    // Bodies that are no JSON to us could be to others.
    let body =
        json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 99}).to_string();
    let form = ask(&harness, paths[1]).header("content-type", "multipart/form-data; boundary=B");
    let mut forms = form.build().unwrap();
    forms.headers_mut().insert(
        "content-type",
        "multipart/form-data; boundary=B".parse().unwrap(),
    );
    *forms.body_mut() = Some(body.clone().into());
    assert_eq!(harness.http.execute(forms).await.unwrap().status(), 400);
    for odd in [
        format!("\u{feff}{body}"),
        format!("[{body}]"),
        format!("{body}{body}"),
    ] {
        let answer = ask(&harness, paths[1]).body(odd).send().await.unwrap();
        error_of(answer, 400, "400").await;
    }
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    error_of(
        ask(&harness, paths[1]).body(utf16).send().await.unwrap(),
        400,
        "400",
    )
    .await;
    assert_eq!(harness.asked("a"), asked);
}

#[tokio::test]
async fn a_body_that_finds_no_room_is_read_all_the_same_before_it_goes_on() {
    let more = limited("max_output_tokens: 9, over_max_output_tokens: refuse")
        + "failover: { body_memory: 300KiB, max_body: 1MiB }\n";
    let harness = Harness::open_with(&[("a", 1, 1)], &more).await;
    let filler = "wasser ".repeat(40_000);
    let body = |max: u64| {
        let messages = json!([{"role": "user", "content": filler}]);
        format!(r#"{{"model":"gpt-4o","messages":{messages},"max_tokens":{max}}}"#)
    };
    let large = ask(&harness, CHAT).body(body(9)).send();
    let asks_for_more = ask(&harness, CHAT).body(body(10)).send();
    let (large, more) = tokio::join!(large, asks_for_more);
    assert_eq!(large.unwrap().status(), 200);
    error_of(more.unwrap(), 400, "max_output_tokens_exceeded").await;
    // What could never have room is not read in pieces either.
    let huge = format!("{}{}", body(10), " ".repeat(400_000));
    let answer = ask(&harness, &format!("{CLASSIC}2024-10-21"))
        .body(huge)
        .send()
        .await
        .unwrap();
    error_of(answer, 413, "413").await;
    assert_eq!(harness.asked("a"), 1);
}
