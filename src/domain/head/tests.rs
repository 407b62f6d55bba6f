use proptest::prelude::*;

use super::*;

const MAX: usize = 4096;

fn read_all(text: &str) -> Result<Head, Refusal> {
    let bytes = text.as_bytes();
    let end = Search::default()
        .end(bytes, MAX)?
        .expect("the head is whole");
    assert_eq!(end, bytes.len(), "{text:?}");
    read(bytes, MAX)
}

fn with(lines: &str) -> Result<Head, Refusal> {
    read_all(&format!("POST /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n"))
}

#[test]
fn a_plain_head_says_how_its_body_ends() {
    for (lines, framing) in [
        ("", Framing::Length(0)),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:17 \r\n", Framing::Length(17)),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
        (
            "Expect: 100-Continue\r\nContent-Length: 3\r\n",
            Framing::Length(3),
        ),
        ("X-Empty:\r\nX-\u{e9}: no\r\n", Framing::Length(0)),
    ] {
        let read = with(lines);
        if lines.contains('\u{e9}') {
            assert_eq!(read, Err(Refusal::MalformedRequest), "{lines:?}")
        } else {
            assert_eq!(read.map(|head| head.framing), Ok(framing), "{lines:?}")
        }
    }
}

#[test]
fn a_head_that_two_readers_could_frame_differently_is_refused() {
    for lines in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        assert_eq!(with(lines), Err(Refusal::AmbiguousFraming), "{lines:?}");
    }
    let old = "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read_all(old), Err(Refusal::AmbiguousFraming));
}

#[test]
fn a_head_that_could_mean_two_hosts_is_refused() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(read_all(head), Err(Refusal::AmbiguousHost), "{head:?}");
    }
    for host in ["a", "a.b-c:8080", "127.0.0.1:1", "[::1]:443", "[::1]"] {
        let head = format!("GET https://{host}/x?y HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(read_all(&head).is_ok(), "{host}");
    }
    assert!(read_all("GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn what_is_no_head_is_refused_as_soon_as_it_shows() {
    for start in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\rx",
        "GET /\0",
        "\u{16}",
        "GET / HTTP/1.1\r\nx: \u{7f}",
        "\n",
    ] {
        let mut search = Search::default();
        let found = start.as_bytes().iter().enumerate().find_map(|(i, _)| {
            search
                .end(&start.as_bytes()[..=i], MAX)
                .err()
                .map(|why| (i, why))
        });
        assert_eq!(
            found,
            Some((start.len() - 1, Refusal::MalformedRequest)),
            "{start:?}"
        );
    }
}

#[test]
fn a_head_ends_at_the_same_place_however_it_comes() {
    let head = "GET /x HTTP/1.1\r\nHost: a\r\nX: \tb\r\n\r\n";
    let all = format!("{head}GET /y");
    for cut in 0..=head.len() {
        let mut search = Search::default();
        let whole = (cut == head.len()).then_some(cut);
        assert_eq!(search.end(&all.as_bytes()[..cut], MAX), Ok(whole), "{cut}");
        if whole.is_none() {
            let found = search.end(all.as_bytes(), MAX);
            assert_eq!(found, Ok(Some(head.len())), "{cut}");
        }
    }
}

#[test]
fn a_head_that_does_not_follow_the_grammar_is_refused() {
    for head in [
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\\x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%+1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?a=%0d%0aX HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\n\r\n",
    ] {
        assert_eq!(read_all(head), Err(Refusal::MalformedRequest), "{head:?}");
    }
    let tunnel = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    assert_eq!(
        read_all(tunnel),
        Err(Refusal::MethodNotAllowed { allow: "" })
    );
    assert_eq!(with("Expect: 200-ok\r\n"), Err(Refusal::ExpectationFailed));
}

#[test]
fn limits_hold_while_a_head_arrives() {
    let long = format!("GET /{}", "x".repeat(MAX_TARGET + 60));
    assert_eq!(
        Search::default().end(long.as_bytes(), MAX),
        Err(Refusal::UriTooLong)
    );
    let exact = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "x".repeat(MAX_TARGET)
    );
    assert_eq!(
        read(exact.as_bytes(), 2 * MAX_TARGET),
        Err(Refusal::UriTooLong)
    );
    let wide = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX));
    assert_eq!(
        Search::default().end(wide.as_bytes(), MAX),
        Err(Refusal::HeadersTooLarge)
    );
    let many = format!("GET / HTTP/1.1\r\n{}", "x:\r\n".repeat(MAX_LINES + 1));
    assert_eq!(
        Search::default().end(many.as_bytes(), MAX),
        Err(Refusal::HeadersTooLarge)
    );
    let fits = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "x:\r\n".repeat(MAX_LINES - 1)
    );
    assert!(read_all(&fits).is_ok());
}

#[test]
fn only_a_websocket_turns_a_connection_into_another() {
    let both = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    assert!(with(both).unwrap().is_upgrade);
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
    ] {
        assert!(!with(lines).unwrap().is_upgrade, "{lines:?}");
    }
}

#[test]
fn a_refused_head_can_be_recognised_in_the_log() {
    let path =
        |text: &str| glimpse(text.as_bytes()).map(|(method, path)| format!("{method} {path}"));
    assert_eq!(
        path("POST /x?api-key=K HTTP/1.1\r\n"),
        Some("POST /x".into())
    );
    assert_eq!(path("GET /x#y HTTP/9\n"), Some("GET /x".into()));
    assert_eq!(path("GET"), None);
    assert_eq!(path("\u{16}\u{3} x y"), None);
}

/// Cut anywhere, the same bytes belong to the body.
#[test]
fn a_chunked_body_ends_where_it_says_however_it_comes() {
    for (body, rest) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n"),
        (
            "A;x=\"y\"\r\n0123456789\r\n00\r\nX-Sum: 1\r\n\r\n",
            "0\r\n\r\n",
        ),
        ("000003\r\n\r\n\n\r\n0\r\n\r\n", "x"),
    ] {
        let all = format!("{body}{rest}");
        for cut in 0..=all.len() {
            let mut chunks = Chunks::default();
            let first = chunks.pass(&all.as_bytes()[..cut]).unwrap();
            let second = chunks.pass(&all.as_bytes()[cut..]).unwrap();
            assert_eq!(first + second, body.len(), "{all:?} cut at {cut}");
            assert!(chunks.is_done());
        }
    }
}

#[test]
fn a_chunked_body_that_two_readers_could_end_differently_is_refused() {
    for body in [
        "\r\n",
        ";x\r\n",
        " 5\r\nhello",
        "5 \r\nhello",
        "0x5\r\nhello",
        "+5\r\nhello",
        "-1\r\n",
        "5\nhello",
        "5\rhello",
        "5;x\nhello",
        "5;\0\r\nhello",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\rX",
        "FFFFFFFFFFFFFFFFF\r\n",
        "FFFFFFFFFFFFFFFF\r\n",
        "00000000000000005\r\nhello",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nContent-Length : 5\r\n\r\n",
        "0\r\ncontent-length: 5\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\n\rX",
        "0\r\n\n",
    ] {
        let found = Chunks::default().pass(body.as_bytes());
        assert_eq!(found, Err(Refusal::AmbiguousFraming), "{body:?}");
    }
    let long = format!("5;{}\r\nhello", "x".repeat(300));
    assert!(Chunks::default().pass(long.as_bytes()).is_err());
    let trailers = format!("0\r\nx: {}", "y".repeat(5000));
    assert!(Chunks::default().pass(trailers.as_bytes()).is_err());
}

/// What stands in heads, and what doesn't, so that each is often next to each.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::sample::select(&b"\t\0\x01\x1f \x7e\x7f\x80\x81\x9f\xff\r\n:"[..]);
    let line = prop::collection::vec(
        prop_oneof![20 => b'a'..=b'z', 1 => odd, 1 => any::<u8>()],
        0..40,
    );
    let end =
        prop_oneof![6 => Just("\r\n"), 1 => Just("\r\n\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    prop::collection::vec((line, end), 0..8).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.into()].concat())
            .collect()
    })
}

proptest! {
    #[test]
    fn how_far_a_line_goes_is_the_same_looked_at_by_the_word_or_the_byte(bytes in bytes()) {
        for start in 0..bytes.len() {
            let bytes = &bytes[start..];
            let end = bytes.iter().position(|byte| !is_text(*byte));
            prop_assert_eq!(text(bytes), end.unwrap_or(bytes.len()), "{:?}", bytes);
        }
    }

    #[test]
    fn whatever_comes_is_the_same_at_once_or_by_the_byte(bytes in bytes(), max in 20..200_usize) {
        let mut search = Search::default();
        let by_byte = (1..=bytes.len()).find_map(|end| search.end(&bytes[..end], max).transpose());
        let at_once = Search::default().end(&bytes, max).transpose();
        prop_assert_eq!(at_once, by_byte, "{:?}", bytes);
    }
}
