//! Odd bodies: passed on as they are where they are an answer, and moved on from where they are none.

use super::*;
use crate::harness::served_by;

/// [`WELL`], but saying "packed", as gzip packs it.
const PACKED: &str = "H4sIAAAAAAACAx3MMQqAMAwF0L2nkD87OGfWVQ9QOoQmYFFasRmE0rsrbm96wsY0NMS9pKgV5BtSFn1A0wjR0xjUcJdTQeBaUzXOhhGxZNNPhIvjoYLeQ3dO/tDP27oE516Qxl8kXwAAAA==";

#[tokio::test]
async fn an_odd_body_arrives_as_it_was_sent() {
    let harness = harness().await;
    let large = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\ndata: [DONE]\n\n",
        "x".repeat(9 << 20)
    );
    // Without its end it would be half an event.
    let deep = "[".repeat(200_000) + "\n\n";
    let odd: [(&str, &[u8]); 12] = [
        ("no event at all", b"what is this?"),
        ("lines of no kind", b"dat: {}\n\nfoo\n\n: a comment\n\ndata: {not json\n\ndata\n\n\xff\xfe\n\ndata: [DONE]\n\n"),
        ("only line feeds", b"\n\n\n\n\n\ndata: 1\n\n"),
        ("carriage returns", b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\rdata: [DONE]\r\r"),
        ("no end marker", b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"),
        ("no blank line behind the last event", b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]"),
        ("zeros", &[0; 5000]),
        ("no characters", b"data: {\"choices\":[{\"delta\":{\"content\":\"\xc3\x28\xff\"}}]}\n\ndata: [DONE]\n\n"),
        ("an error that is only quoted", b"data: {\"choices\":[{\"delta\":{\"content\":\"data: {\\\"error\\\":{\\\"code\\\":\\\"429\\\"}}\"}}]}\n\ndata: [DONE]\n\n"),
        ("a null error", b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"error\":null}\n\ndata: [DONE]\n\n"),
        ("deep nesting", deep.as_bytes()),
        ("an event of many MiB", large.as_bytes()),
    ];
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (name, bytes) in odd {
        harness.answers_once(stream(Bytes::copy_from_slice(bytes)));
        let answer = ask(&mut wire)
            .await
            .unwrap_or_else(|| panic!("{name}: it broke"));
        assert_eq!(answer.status, 200, "{name}");
        assert!(
            answer.body == bytes,
            "{name}: {} bytes of {}",
            answer.body.len(),
            bytes.len()
        );
        all_goes_on(&harness, &mut wire, name).await;
    }
    assert_eq!(harness.asked("well"), 0);
}

/// Asked for as it is, it comes packed all the same; whoever gets it is told so.
#[tokio::test]
async fn a_packed_stream_stays_packed_and_says_so() {
    let harness = harness().await;
    let packed = from_base64(PACKED);
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for coding in ["gzip", "br"] {
        let lines = format!("content-type: text/event-stream\r\ncontent-encoding: {coding}\r\n");
        harness.answers_once(ok(&lines, packed.clone()));
        let answer = ask(&mut wire).await.unwrap();
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!((answer.status, &answer.body), (200, &packed));
        all_goes_on(&harness, &mut wire, coding).await;
    }
}

#[tokio::test]
async fn an_error_that_is_the_callers_matter_arrives_as_it_was_sent_whatever_it_is() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "413 Too Large",
        "422 Odd",
        "499 x",
    ] {
        for (body, kind) in [
            (&b"<html>not found</html>"[..], "text/html"),
            (b"", "application/json"),
            (b"\xff\xfe\x00 {\"error\"", "application/json"),
            (
                b"{\"error\":{\"code\":{\"a\":[]},\"message\":7}}",
                "application/json",
            ),
            (b"[1, 2", "text/event-stream"),
        ] {
            let lines = format!("content-type: {kind}\r\n");
            harness.answers_once(whole(status, &lines, body));
            let answer = ask(&mut wire).await.unwrap();
            assert_eq!(answer.status.to_string(), status[..3]);
            assert_eq!(
                (answer.body.as_slice(), answer.header("content-type")),
                (body, Some(kind)),
                "{status}"
            );
            all_goes_on(&harness, &mut wire, status).await;
        }
    }
}

#[tokio::test]
async fn a_failure_is_one_whatever_its_body_is() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for status in ["500 x", "502 Bad Gateway", "503 x", "424 x", "408 x"] {
        for body in [
            &b"no healthy upstream"[..],
            b"",
            b"\xff\xfe\x00",
            b"{\"error\":7}",
        ] {
            harness.answers_once(whole(status, "content-type: application/json\r\n", body));
            let answer = ask(&mut wire).await.unwrap();
            assert_eq!((answer.status, harness.asked("well")), (200, 1), "{status}");
            harness.simulator.clear_stats();
            all_goes_on(&harness, &mut wire, status).await;
        }
    }
}

/// Nothing in them is output, so nothing of them goes out.
#[tokio::test]
async fn a_stream_that_comes_to_nothing_moves_on() {
    let harness = harness().await;
    let filter = "data: {\"choices\":[],\"id\":\"\",\"prompt_filter_results\":[]}\n\n";
    let error = "data: {\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}";
    let odd = [
        ("empty", String::new()),
        ("comments", ": thinking\n\n: thinking\n\n".to_owned()),
        ("an end without a beginning", filter.to_owned()),
        ("an error without its blank line", error.to_owned()),
        (
            "an error behind lines of no kind",
            format!("what?\n\n{filter}{error}\n\n"),
        ),
        (
            "an error behind what is no JSON",
            format!("data: {{\n\n{error}\n\n"),
        ),
        ("an error and then output", format!("{error}\n\n{WELL}")),
        ("an error in carriage returns", error.to_owned() + "\r\r"),
        (
            "an error behind a mark of order",
            format!("\u{feff}{error}\n\n"),
        ),
    ];
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (name, bytes) in odd {
        harness.answers_once(stream(bytes));
        let answer = ask(&mut wire)
            .await
            .unwrap_or_else(|| panic!("{name}: it broke"));
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(
            (answer.status, harness.asked("well")),
            (200, 1),
            "{name}: {text}"
        );
        assert!(
            text.ends_with("data: [DONE]\n\n") && !text.contains("server_error"),
            "{name}: {text}"
        );
        harness.simulator.clear_stats();
        all_goes_on(&harness, &mut wire, name).await;
    }
}

/// A stream that is cut within an event before any output, and one that is reset there.
#[tokio::test]
async fn a_stream_that_breaks_before_its_output_moves_on() {
    let harness = harness().await;
    let head =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n";
    for piece in [
        "",
        "8\r\ndata: {\"",
        "ffff\r\ndata: {\"choices\":[],\"id\":\"\"}\n\n",
    ] {
        for end in [RawEnd::Close, RawEnd::Reset] {
            let raw = Raw::new(head, [Piece::from(piece)]).ends(end);
            harness.answers_once(raw);
            let answer = harness.post(CHAT).json(&streamed()).send().await.unwrap();
            assert_eq!(served_by(&answer), "well", "{piece:?} {end:?}");
            assert!(answer.text().await.unwrap().ends_with("data: [DONE]\n\n"));
        }
    }
}
