//! The same over HTTP/2. What the protocol's own implementation finds malformed it refuses by itself, with a reset or the
//! connection's end; what is left for the gateway to find is answered, logged and counted, and so is a request whose host
//! the engine refuses.

mod refused_hosts;

use serde_json::Value;

use super::counted;
use crate::{
    harness::{CHAT, Harness, KEY, chat, eventually, eventually_async},
    http2_frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2Connection, PADDED, PREFACE,
        RST_STREAM, SETTINGS, StreamOutcome, WINDOW_UPDATE, block, encoded, frame, good_fields,
        request,
    },
};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What the gateway itself answers: status and reason.
type Ours = (u16, &'static str);

/// A good head but for this.
fn changed(change: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let mut fields = good_fields();
    change(&mut fields);
    encoded(&fields)
}

fn plus(name: &str, value: &str) -> Vec<u8> {
    changed(|fields| fields.push((name.into(), value.into())))
}

/// With another value of a field that is there.
fn instead(name: &str, value: &str) -> Vec<u8> {
    changed(|fields| {
        let field = fields
            .iter_mut()
            .find(|(other, _)| other == name.as_bytes());
        field.unwrap().1 = value.into();
    })
}

fn without(names: &[&str]) -> Vec<u8> {
    changed(|fields| fields.retain(|(name, _)| !names.iter().any(|other| other.as_bytes() == name)))
}

fn first(name: &str, value: &str) -> Vec<u8> {
    changed(|fields| fields.insert(0, (name.into(), value.into())))
}

async fn serves(harness: &Harness, after: &str) {
    let mut frames = Http2Connection::open(harness.gateway.address).await;
    frames.send(request(1, &encoded(&good_fields()))).await;
    let outcome = frames.outcome(1).await;
    assert!(
        matches!(outcome, StreamOutcome::Answered { status: 200, .. }),
        "after {after}: {outcome:?}"
    );
}

/// Each over a connection of its own, then a good one over another.
async fn refused(harness: &Harness, cases: &[(&str, Vec<u8>, Option<Ours>)]) {
    for (i, (name, bytes, ours)) in cases.iter().enumerate() {
        let mut frames = Http2Connection::open(harness.gateway.address).await;
        frames.send(bytes).await;
        match (frames.outcome(1).await, ours) {
            (StreamOutcome::Answered { status, body }, Some((expected, _))) => {
                assert_eq!(status, *expected, "{name}");
                let error: Value = serde_json::from_slice(&body).unwrap();
                assert!(error["error"]["message"].is_string(), "{name}: {error}");
            }
            (StreamOutcome::Answered { status, body }, None) => {
                assert!(
                    (400..500).contains(&status) && body.is_empty(),
                    "{name}: {status}"
                );
            }
            (outcome, ours) => assert_eq!(*ours, None, "{name}: {outcome:?}"),
        }
        assert_eq!(
            harness.asked("only"),
            i as u64,
            "{name} reached a deployment"
        );
        serves(harness, name).await;
        assert_eq!(harness.asked("only"), i as u64 + 1, "after {name}");
    }
    let ours: Vec<_> = cases.iter().filter_map(|(_, _, ours)| *ours).collect();
    let least = cases.len() + ours.len();
    eventually_async("all is written down", async || {
        answered(&harness.log(least).await).len() >= ours.len()
    })
    .await;
    let log = harness.log(least).await;
    assert_eq!(answered(&log), ours);
    // A stream that the protocol reset in the middle of its body has a line too, without a status.
    let refusals = log.iter().filter(|line| line["refusal"].is_string());
    counted(harness, refusals.count()).await;
}

/// What the gateway answered by itself, in the order of the log.
fn answered(log: &[Value]) -> Vec<(u16, &str)> {
    let told = log.iter().filter_map(|line| {
        let reason = line["refusal"].as_str()?;
        Some((line["status"].as_u64()? as u16, reason))
    });
    told.collect()
}

#[tokio::test]
async fn a_head_that_http_2_does_not_allow_reaches_no_deployment() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let cases = heads()
        .into_iter()
        .map(|(name, block, ours)| (name, request(1, &block), ours));
    refused(&harness, &cases.collect::<Vec<_>>()).await;
}

#[rustfmt::skip] // One row, one trick.
fn heads() -> Vec<(&'static str, Vec<u8>, Option<Ours>)> {
    let malformed = Some((400, "malformed_request"));
    let framing = Some((400, "ambiguous_framing"));
    let host = Some((400, "ambiguous_host"));
    let length = chat().to_string().len();
    let twice = format!("{length}, {length}");
    let many = changed(|fields| fields.extend((0..101).map(|_| (b"x".to_vec(), b"y".to_vec()))));
    let moved = changed(|fields| fields.rotate_left(1));
    let last = |name: &str, value: &str| plus(name, value);
    vec![
        ("capitals in a name", plus("X-Evil", "1"), None),
        ("a connection header", plus("connection", "close"), None),
        ("a keep-alive header", plus("keep-alive", "timeout=5"), None),
        ("a proxy's connection header", plus("proxy-connection", "close"), None),
        ("a coding", plus("transfer-encoding", "chunked"), None),
        ("an upgrade", plus("upgrade", "websocket"), None),
        ("te of another kind", plus("te", "gzip"), None),
        ("no name", plus("", "x"), None),
        ("a blank in a name", plus("x evil", "1"), None),
        ("a line end in a name", plus("x\r\nevil", "1"), None),
        ("a colon in a name", plus("x:evil", "1"), None),
        ("a line end in a value", plus("x", "1\r\ntransfer-encoding: chunked"), None),
        ("a line feed in a value", plus("x", "1\nevil: 1"), None),
        ("NUL in a value", plus("x", "1\0"), None),
        ("an unknown pseudo-header", first(":evil", "1"), None),
        ("a status in a request", first(":status", "200"), None),
        ("a method behind the headers", moved, None),
        ("a path behind the headers", last(":path", CHAT), None),
        ("two methods", first(":method", "GET"), None),
        ("two paths", first(":path", "/health"), None),
        ("two schemes", first(":scheme", "http"), None),
        ("two authorities", first(":authority", "evil"), None),
        ("no method", without(&[":method"]), None),
        ("no path", without(&[":path"]), None),
        ("no scheme", without(&[":scheme"]), None),
        ("no host at all", without(&[":authority"]), host),
        ("another host in the headers", plus("host", "evil"), host),
        ("the same host and a port", plus("host", "gateway:80"), host),
        ("a user in the host", changed(|fields| {
            fields.retain(|(name, _)| name != b":authority");
            fields.push((b"host".to_vec(), b"evil@gateway".to_vec()));
        }), host),
        ("a user in the authority", instead(":authority", "evil@gateway"), host),
        ("two hosts", changed(|fields| {
            fields.retain(|(name, _)| name != b":authority");
            fields.extend([(b"host".to_vec(), b"gateway".to_vec()), (b"host".to_vec(), b"gateway".to_vec())]);
        }), host),
        ("an empty path", instead(":path", ""), None),
        ("a path without a slash", instead(":path", "openai/v1/chat/completions"), None),
        ("a URL for a path", instead(":path", &format!("http://evil{CHAT}")), None),
        ("an asterisk", instead(":path", "*"), malformed),
        ("a line end in the path", instead(":path", "/health HTTP/1.1\r\nhost: evil\r\n\r\n"), None),
        ("a blank in the path", instead(":path", "/openai/v1/chat completions"), None),
        ("a line end in the method", instead(":method", "POST /evil HTTP/1.1\r\nx: y"), None),
        ("a line end in the authority", instead(":authority", "gateway\r\nx: y"), None),
        ("a line end in the scheme", instead(":scheme", "http\r\nx"), None),
        ("a length that is none", plus("content-length", "x"), None),
        ("a length with a sign", plus("content-length", &format!("+{length}")), None),
        ("two lengths", changed(|fields| fields.extend([
            (b"content-length".to_vec(), length.to_string().into()), (b"content-length".to_vec(), b"0".to_vec()),
        ])), None),
        ("more body than the length", plus("content-length", &(length - 1).to_string()), None),
        ("less body than the length", plus("content-length", &(length + 1).to_string()), None),
        ("a list of the same length", plus("content-length", &twice), None),
        ("the same length in two lines", changed(|fields| fields.extend([
            (b"content-length".to_vec(), length.to_string().into()), (b"content-length".to_vec(), length.to_string().into()),
        ])), framing),
        ("an escaped line end in the path", instead(":path", &format!("{CHAT}%0d%0ax")), malformed),
        ("an escaped NUL in the query", instead(":path", &format!("{CHAT}?x=%00")), malformed),
        ("an escape broken off", instead(":path", &format!("{CHAT}?x=%")), malformed),
        ("a backslash", instead(":path", "/openai\\v1/chat/completions"), malformed),
        ("braces in the path", instead(":path", &format!("{CHAT}?x={{y}}")), malformed),
        ("two slashes first", instead(":path", &format!("/{CHAT}")), Some((404, "unknown_path"))),
        ("an unknown expectation", plus("expect", "200-ok"), Some((417, "expectation_failed"))),
        ("a tunnel to a path", instead(":method", "CONNECT"), None),
        ("too many headers", many, Some((431, "headers_too_large"))),
        ("headers too large", plus("x", &"y".repeat(40 << 10)), Some((431, "headers_too_large"))),
        ("headers much too large", plus("x", &"y".repeat(200 << 10)), None),
        ("a URL too long", instead(":path", &format!("{CHAT}?x={}", "y".repeat(8192))), Some((414, "uri_too_long"))),
    ]
}

#[tokio::test]
async fn a_tunnel_is_refused_in_the_gateways_own_words() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let tunnel = encoded(&[
        (b":method".to_vec(), b"CONNECT".to_vec()),
        (b":authority".to_vec(), b"evil:443".to_vec()),
    ]);
    let head = frame(HEADERS, END_HEADERS, 1, tunnel);
    refused(
        &harness,
        &[("a tunnel", head, Some((405, "method_not_allowed")))],
    )
    .await;
}

#[tokio::test]
async fn frames_that_http_2_does_not_allow_reach_no_deployment() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    refused(&harness, &odd_frames()).await;
}

#[rustfmt::skip] // One row, one trick.
fn odd_frames() -> Vec<(&'static str, Vec<u8>, Option<Ours>)> {
    let good = encoded(&good_fields());
    let head = |flags| frame(HEADERS, flags, 1, &good);
    let body = frame(DATA, END_STREAM, 1, chat().to_string());
    let trailers = |block: Vec<u8>, flags| [head(END_HEADERS), frame(DATA, 0, 1, "{"), frame(HEADERS, flags, 1, block)].concat();
    let x = block(&[(b"x", b"y")]);
    let padded = frame(HEADERS, END_HEADERS | PADDED, 1, [&[255], good.as_slice()].concat());
    // A field whose length says more than there is, an index of nothing, an integer without end.
    let hpack = |bytes: &[u8]| request(1, bytes);
    let endless = [0x7f].into_iter().chain([0xff; 40]).collect::<Vec<u8>>();
    vec![
        ("a head on stream 0", frame(HEADERS, END_HEADERS, 0, &good), None),
        ("a head on a stream of the server's", frame(HEADERS, END_HEADERS, 2, &good), None),
        ("a body on stream 0", frame(DATA, END_STREAM, 0, "x"), None),
        ("a body before its head", frame(DATA, END_STREAM, 1, "x"), None),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &x), None),
        ("a body inside a head", [head(0), body.clone()].concat(), None),
        ("another head inside a head", [head(0), frame(HEADERS, END_HEADERS, 3, &good)].concat(), None),
        ("another stream's continuation", [head(0), frame(CONTINUATION, END_HEADERS, 3, &x)].concat(), None),
        ("settings inside a head", [head(0), frame(SETTINGS, 0, 0, "")].concat(), None),
        ("more padding than frame", padded, None),
        ("a name longer than the block", hpack(&[0, 0x7e, b'x']), None),
        ("an index of nothing", hpack(&[0xff, 0xff, 0x7f]), None),
        ("an index of zero", hpack(&[0x80]), None),
        ("an integer without end", hpack(&endless), None),
        ("a table larger than allowed", hpack(&[0x3f, 0xff, 0xff, 0x7f]), None),
        ("trailers that go on", trailers(x.clone(), END_HEADERS), None),
        ("a window that does not grow", [head(END_HEADERS), frame(WINDOW_UPDATE, 0, 1, [0; 4])].concat(), None),
        ("a window that grows too far", [head(END_HEADERS), frame(WINDOW_UPDATE, 0, 1, [0x7f, 255, 255, 255])].concat(), None),
        ("settings of an odd length", frame(SETTINGS, 0, 0, "x"), None),
        ("settings on a stream", frame(SETTINGS, 0, 1, ""), None),
        ("a reset of nothing", frame(RST_STREAM, 0, 1, [0; 4]), None),
        ("a frame larger than allowed", frame(DATA, 0, 1, vec![0; 20 << 10]), None),
        ("a pause on its own stream", frame(2, 0, 0, [0, 0, 0, 1, 0]), None),
        ("a head that waits for itself", frame(HEADERS, END_HEADERS | 0x20, 1, [&[0, 0, 0, 1, 0], good.as_slice()].concat()), None),
    ]
}

/// The protocol's own implementation lets these pass, and nothing of what is odd in them goes out.
#[tokio::test]
async fn what_stands_behind_a_path_or_a_body_stays_here() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let whole = |block: Vec<u8>| request(1, &block);
    let behind = |fields: &[(&[u8], &[u8])]| {
        let mut bytes = frame(HEADERS, END_HEADERS, 1, encoded(&good_fields()));
        bytes.extend(frame(DATA, 0, 1, chat().to_string()));
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields)));
        bytes
    };
    let cases = [
        whole(instead(":path", &format!("{CHAT}?include=1#evil"))),
        whole(plus("te", "trailers")),
        whole(plus("host", "gateway")),
        behind(&[(b"x-late", b"1"), (b"content-length", b"0")]),
        behind(&[(b":path", b"/evil")]),
    ];
    for (i, bytes) in cases.iter().enumerate() {
        let mut frames = Http2Connection::open(harness.gateway.address).await;
        frames.send(bytes).await;
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(outcome, StreamOutcome::Answered { status: 200, .. }),
            "{i}: {outcome:?}"
        );
        let seen = &harness.seen("only")[i];
        assert!(!seen.path.contains("evil"), "{seen:?}");
        let odd = |name: &str| ["te", "x-late", "trailer"].contains(&name);
        assert!(!seen.headers.iter().any(|(name, _)| odd(name)), "{seen:?}");
        assert_eq!(seen.body_length, harness.seen("only")[0].body_length);
    }
}

/// A bad stream is the end of itself and of no other, where the connection can go on.
#[tokio::test]
async fn a_good_stream_beside_a_bad_one_is_served() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut frames = Http2Connection::open(harness.gateway.address).await;
    frames
        .send(request(1, &plus("transfer-encoding", "chunked")))
        .await;
    frames.send(request(3, &encoded(&good_fields()))).await;
    assert!(matches!(frames.outcome(1).await, StreamOutcome::Reset(_)));
    let outcome = frames.outcome(3).await;
    assert!(
        matches!(outcome, StreamOutcome::Answered { status: 200, .. }),
        "{outcome:?}"
    );
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let open = frame(HEADERS, 0, 1, encoded(&good_fields()));
    let empty = frame(CONTINUATION, 0, 1, "").repeat(20_000);
    let large = frame(CONTINUATION, 0, 1, block(&[(b"x", &[b'y'; 8000])])).repeat(200);
    // Each field of the table once, and then thousands of times by its number.
    let indexed = [&[0x40, 1, b'x', 0x7f, 0xff, 0x1e][..], &[b'y'; 4094]].concat();
    let bomb = [
        frame(HEADERS, 0, 1, indexed),
        frame(CONTINUATION, END_HEADERS, 1, [0xbe; 16_000]),
    ]
    .concat();
    for (name, bytes) in [
        ("empty pieces", [open.clone(), empty].concat()),
        ("large pieces", [open, large].concat()),
        ("a small head that is a large one", bomb),
    ] {
        let mut frames = Http2Connection::open(harness.gateway.address).await;
        frames.send(bytes).await;
        let outcome = frames.outcome(1).await;
        let is_refused = match outcome {
            StreamOutcome::Answered { status, .. } => (400..500).contains(&status),
            _ => true,
        };
        assert!(is_refused, "{name}: {outcome:?}");
        assert_eq!(harness.asked("only"), 0, "{name}");
    }
    serves(&harness, "heads without end").await;
    counted(&harness, 0).await;
}

/// However many streams are opened to be given up at once.
#[tokio::test]
async fn streams_that_are_given_up_at_once_leave_nothing_behind() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut frames = Http2Connection::open(harness.gateway.address).await;
    let block = encoded(&good_fields());
    for stream in (1..4000).step_by(2) {
        let opened = frame(HEADERS, END_HEADERS, stream, &block);
        frames
            .send([opened, frame(RST_STREAM, 0, stream, [0, 0, 0, 8])].concat())
            .await;
    }
    drop(frames);
    serves(&harness, "streams given up").await;
    eventually_async("nothing is under way", async || {
        super::sum(&harness.metrics().await, "forebay_requests_inflight") == 0
    })
    .await;
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn what_begins_as_http_2_and_does_not_go_on_is_ended_in_time() {
    let harness = Harness::open_with(&[("only", 1, 1)], "server: { header_timeout: 1s }").await;
    let open = frame(HEADERS, 0, 1, encoded(&good_fields()));
    let settings = frame(SETTINGS, 0, 0, "");
    let mut stays = Http2Connection::open(harness.gateway.address).await;
    stays.send(request(1, &encoded(&good_fields()))).await;
    assert!(matches!(
        stays.outcome(1).await,
        StreamOutcome::Answered { status: 200, .. }
    ));
    for (name, bytes) in [
        ("a preface", PREFACE.to_vec()),
        ("half a frame", [PREFACE, &settings[..5]].concat()),
        ("half a head", [PREFACE, &settings, &open[..20]].concat()),
        (
            "a head that should go on",
            [PREFACE, &settings, &open].concat(),
        ),
    ] {
        let mut frames = Http2Connection::bare(harness.gateway.address).await;
        frames.send(bytes).await;
        let end = frames.end().await;
        assert!(
            matches!(end, StreamOutcome::Closed | StreamOutcome::GoneAway(_)),
            "{name}: {end:?}"
        );
    }
    // Half a preface is no HTTP/2 yet: it is answered as any head that takes too long.
    let mut wire = crate::http1_client::RawConnection::open(harness.gateway.address).await;
    wire.send(&PREFACE[..10]).await;
    assert_eq!(wire.answer().await.unwrap().status, 408);
    // The one that has begun nothing has stayed.
    stays.send(request(3, &encoded(&good_fields()))).await;
    eventually("the second is asked", || harness.asked("only") == 2).await;
    let log = harness.log(3).await;
    assert!(!format!("{log:?}").contains(KEY));
}
