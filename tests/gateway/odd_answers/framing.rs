//! Odd heads and odd ends: what is no HTTP is no answer, and nothing behind an answer's end belongs to anybody.

use std::time::Duration;

use super::*;

/// What must never reach a client.
const FORGED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\nforged";

#[tokio::test]
async fn what_comes_behind_an_answers_end_is_nobodys_answer() {
    let harness = harness().await;
    let body = chat().to_string();
    let length = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let none = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_owned();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for answered in [length, chunked, none] {
        for surplus in [FORGED, "x", "\r\n", "0\r\n\r\n"] {
            for pause in [0, 30] {
                let name = format!("{answered:?} and {surplus:?} {pause} ms later");
                let late = Piece::from(surplus).after(Duration::from_millis(pause));
                harness.answers_once(Raw::new(&answered, [late]).ends(RawEnd::Keep));
                wire.send(good_chat()).await;
                let answer = wire.answer().await.expect("an answer");
                let expected = if answered.contains("400") { "" } else { &body };
                assert_eq!(String::from_utf8(answer.body).unwrap(), expected, "{name}");
                // The surplus has come by then, and lies in wait on the pooled connection.
                tokio::time::sleep(Duration::from_millis(pause * 2)).await;
                all_goes_on(&harness, &mut wire, &name).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let harness = harness().await;
    let heads = [
        "forged",
        "\r\n\r\n",
        "HTTP/1.1 two hundred\r\n\r\n",
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        "HTTP/9.9 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nforged",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nforged",
    ];
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let long = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\n\r\nforged",
        "x".repeat(4 << 20)
    );
    for head in heads.into_iter().chain([long.as_str()]) {
        let name: String = head.chars().take(60).collect();
        harness.simulator.clear_stats();
        harness.answers_once(Raw::new(head, []));
        wire.send(good_chat()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("{name:?}: no answer"));
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status == 200 && !text.contains("forged"),
            "{name:?}: {answer:?}"
        );
        // A pooled connection that ends without a word may be tried once more on a new one.
        let asked = (harness.asked("odd"), harness.asked("well"));
        assert!([(1, 1), (2, 0)].contains(&asked), "{name:?}: {asked:?}");
        all_goes_on(&harness, &mut wire, &name).await;
    }
}

/// Framing that breaks only behind the head: the client must not take it for a whole answer.
#[tokio::test]
async fn a_body_that_breaks_its_own_framing_is_not_whole() {
    let harness = harness().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for rest in [
        "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2\r\n{}no end of a chunk\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}",
        "transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "content-length: 50\r\n\r\n{}",
    ] {
        harness.answers_once(Raw::new([head, rest].concat(), []));
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(good_chat()).await;
        if let Some(answer) = wire.answer().await {
            assert_eq!(
                (answer.status, harness.asked("well")),
                (200, 1),
                "{rest:?}: {answer:?}"
            );
            harness.simulator.clear_stats();
        }
        let mut another = RawConnection::open(harness.gateway.address).await;
        all_goes_on(&harness, &mut another, rest).await;
    }
}

#[tokio::test]
async fn odd_headers_stop_nobody() {
    let harness = harness().await;
    let body = chat().to_string();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for line in [
        &b"x-odd: \xff\xfe\xc3\x28"[..],
        b"content-type: \xff",
        b"content-encoding: \xff\xff",
        b"x-ratelimit-remaining-tokens: \xff",
        b"azure-openai-deployment-utilization: 1e999%",
        b"azure-openai-deployment-utilization: NaN",
        b"x-ratelimit-remaining-tokens: 99999999999999999999999",
        b"x-ms-deployment-name: \xff\xff",
        b"x-ms-spillover-from-deployment: \xff",
        b"retry-after: \xff",
        b"x-empty:",
        b"set-cookie: a=\xff",
        b"connection: \xff, keep-alive",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
        let pieces = [head.as_bytes(), line, b"\r\n\r\n", body.as_bytes()].concat();
        harness.answers_once(Raw::new("", [Piece::from(pieces)]).ends(RawEnd::Keep));
        let name = String::from_utf8_lossy(line);
        wire.send(good_chat()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, body.as_bytes()),
            "{name}"
        );
        all_goes_on(&harness, &mut wire, &name).await;
    }
    assert_eq!(harness.asked("well"), 0);
    assert!(harness.metrics().await.contains("forebay_attempts_total"));
}

#[tokio::test]
async fn informational_answers_come_before_the_answer_and_count_for_nothing() {
    let harness = harness().await;
    let body = chat().to_string();
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(20);
    let head = format!(
        "{early}HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    harness.answers_once(Raw::new(head, [Piece::from(body.clone())]).ends(RawEnd::Keep));
    let answer = harness.chat().await;
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap()),
        (200, body)
    );
    assert_eq!(
        harness.log(1).await[0]["attempts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
