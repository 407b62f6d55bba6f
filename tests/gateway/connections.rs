//! How many connections a listener has, and how long one may keep it waiting.

use std::time::Duration;

use http::Request;

use crate::{
    certificate_authority::CertificateAuthority,
    harness::{CHAT, Gateway, Harness, KEY, chat, eventually_async, folder, streamed},
    http1_client::{RawConnection, good_chat, post, request},
    metrics_page,
    scripted_upstream::{STREAM, ScriptedUpstream},
};

async fn gauge(harness: &Harness, name: &str) -> f64 {
    let series = format!("{name}{{listener=\"{}\"}}", harness.gateway.address);
    metrics_page::value(&harness.metrics().await, &series)
}

async fn harness_with(listener: &str, more: &str) -> Harness {
    let mut harness = Harness::open_with(&[("well", 1, 1)], more).await;
    let config = harness.gateway.config();
    harness.gateway = Gateway::start_with(&config, listener, &[]).await;
    harness
}

#[tokio::test]
async fn connections_beyond_the_most_are_closed_at_once_and_the_others_go_on() {
    let harness = harness_with(", max_connections: 2", "").await;
    let mut first = RawConnection::open(harness.gateway.address).await;
    let mut second = RawConnection::open(harness.gateway.address).await;
    for wire in [&mut first, &mut second] {
        wire.send(good_chat()).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert_eq!(gauge(&harness, "forebay_connections").await, 2.0);
    for _ in 0..3 {
        let mut beyond = RawConnection::open(harness.gateway.address).await;
        beyond.send(good_chat()).await;
        assert!(beyond.ends().await);
    }
    assert_eq!(
        gauge(&harness, "forebay_connections_refused_total").await,
        3.0
    );
    let told = harness.gateway.stderr();
    assert_eq!(
        told.matches("\"event\":\"listener_full\"").count(),
        1,
        "{told}"
    );
    first.send(good_chat()).await;
    assert_eq!(first.answer().await.unwrap().status, 200);

    drop(second);
    eventually_async("there is room again", async || {
        let mut next = RawConnection::open(harness.gateway.address).await;
        next.send(good_chat()).await;
        next.answer()
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    drop(first);
    eventually_async("no connection is left", async || {
        gauge(&harness, "forebay_connections").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_too_little_is_closed() {
    let harness = harness_with("", "server: { header_timeout: 300ms }").await;
    for address in [harness.gateway.address, harness.gateway.admin] {
        for start in ["", "PRI * HTTP/2.0\r\n\r\nSM", "GET /"] {
            let mut wire = RawConnection::open(address).await;
            wire.send(start).await;
            wire.drained().await;
        }
    }
    eventually_async("none is left", async || {
        gauge(&harness, "forebay_connections").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let folder = folder();
    CertificateAuthority::new(&folder, "ours").certify(&folder, "gateway", "localhost");
    let at = folder.display();
    let tls = format!(", tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key }}");
    let harness = harness_with(&tls, "server: { handshake_timeout: 300ms }").await;
    // Nothing, the start of a record, and a record that promises more.
    for start in [&[][..], &[22, 3], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(start).await;
        assert!(wire.ends().await);
    }
    let address = harness.gateway.address;
    let series = format!(
        "forebay_tls_handshake_failures_total{{listener=\"{address}\",reason=\"timeout\"}}"
    );
    eventually_async("all three are counted, and none is left", async || {
        metrics_page::value(&harness.metrics().await, &series) == 3.0
            && gauge(&harness, "forebay_connections").await == 0.0
    })
    .await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Much more than what the systems at both ends keep for each other.
const MUCH: usize = 64 << 20;

/// Answers with all of it, as far as the gateway takes it.
async fn takes_what_it_can(call: &mut crate::scripted_upstream::ReceivedRequest) {
    let body = vec![b' '; MUCH];
    let answer = call.answer("200 OK", &body);
    let taken = tokio::time::timeout(Duration::from_secs(30), answer).await;
    taken.expect("the gateway takes it, or ends it, in time");
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_its_answer_is_let_go() {
    let (upstream, harness) = ScriptedUpstream::harness("server: { write_timeout: 1s }").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    let mut call = upstream.call().await;
    takes_what_it_can(&mut call).await;
    // What it was not read of is not waited for either.
    assert!(call.leaves().await);
    let log = harness.log(1).await;
    assert_eq!(log[0]["status"], 200);
    eventually_async("its connection is closed", async || {
        gauge(&harness, "forebay_connections").await == 0.0
    })
    .await;
    drop(wire);
}

#[tokio::test]
async fn a_client_that_opens_no_window_for_its_stream_loses_the_stream_alone() {
    let (upstream, harness) = ScriptedUpstream::harness("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(harness.gateway.address)
        .await
        .unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = || {
        let request = Request::post(format!("http://gateway{CHAT}"))
            .header("api-key", KEY)
            .header("content-type", "application/json");
        let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(chat().to_string().into(), true).unwrap();
        answer
    };
    let stuck = ask();
    let mut call = upstream.call().await;
    takes_what_it_can(&mut call).await;
    // It reads the head, and gives back none of its window.
    let mut body = stuck.await.unwrap().into_body();
    assert!(call.leaves().await);
    let mut end = Ok(());
    while let Some(piece) = body.data().await {
        if let Err(error) = piece {
            end = Err(error);
            break;
        }
    }
    assert!(end.unwrap_err().is_reset());
    let answer = ask();
    upstream.call().await.answer("200 OK", b"{}").await;
    assert_eq!(answer.await.unwrap().status(), 200);
    connection.abort();
}

#[tokio::test]
async fn a_client_that_opens_no_window_for_a_stream_of_events_loses_it() {
    let (upstream, harness) = ScriptedUpstream::harness("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(harness.gateway.address)
        .await
        .unwrap();
    let mut client = h2::client::Builder::new();
    client.initial_window_size(100);
    let (mut send, connection) = client.handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://gateway{CHAT}"))
        .header("api-key", KEY)
        .header("content-type", "application/json");
    let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(streamed().to_string().into(), true).unwrap();
    let mut call = upstream.call().await;
    call.send(STREAM).await;
    let delta = format!("{{\"content\":\"{}\"}}", "x".repeat(500));
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
    call.chunk(event).await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 100);
    assert!(call.leaves().await);
    let ended = body.data().await.unwrap();
    assert!(ended.unwrap_err().is_reset());
    let log = harness.log(1).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["end"]),
        (&200.into(), &"client_left".into())
    );
    eventually_async("nothing of it is left", async || {
        metrics_page::value(&harness.metrics().await, "forebay_requests_inflight") == 0.0
    })
    .await;
    connection.abort();
}

#[tokio::test]
async fn a_tunnel_that_is_refused_over_http2_is_not_waited_for() {
    let (_upstream, harness) = ScriptedUpstream::harness("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(harness.gateway.address)
        .await
        .unwrap();
    let mut client = h2::client::Builder::new();
    client.initial_window_size(0);
    let (mut send, connection) = client.handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::connect("gateway:443").body(()).unwrap();
    let (answer, _body) = send.send_request(request, false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 405);
    eventually_async("nothing of it is left", async || {
        metrics_page::value(&harness.metrics().await, "forebay_requests_inflight") == 0.0
    })
    .await;
    assert_eq!(harness.log(1).await[0]["refusal"], "method_not_allowed");
    connection.abort();
}

/// When the system asks next whether the other end of this connection to a deployment is there, in seconds.
fn next_probe(gateway: u32, port: u16) -> Option<f64> {
    let table = std::fs::read_to_string(format!("/proc/{gateway}/net/tcp")).unwrap();
    let to = format!(":{port:04X}");
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[2].ends_with(&to) && line[3] == "01")?;
    // `02`: the keep-alive timer runs, for so many hundredths of a second.
    let left = line[5].strip_prefix("02:")?;
    Some(f64::from(u32::from_str_radix(left, 16).unwrap()) / 100.0)
}

#[tokio::test]
async fn a_connection_to_a_silent_deployment_is_kept_alive_well_within_four_minutes() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(good_chat()).await;
    let mut call = upstream.call().await;
    let port = call.port();
    let pid = harness.gateway.pid();
    eventually_async("the system keeps it alive", async || {
        next_probe(pid, port).is_some_and(|seconds| seconds <= 60.0)
    })
    .await;
    call.answer("200 OK", b"{}").await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_small_request_reaches_its_deployment_in_one_piece() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    for _ in 0..20 {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(good_chat()).await;
        let mut call = upstream.call().await;
        assert_eq!(call.1, 1, "the head came before its body");
        call.answer("200 OK", b"{}").await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
}

/// A connection that ends with its answer is not reset by what its client still sends of the request: the reset may take
/// the answer with it.
#[tokio::test]
async fn what_a_client_still_sends_when_its_last_answer_has_come_resets_nothing() {
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let door = "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f] }";
    let behind = Harness::open_with(&[("well", 1, 1)], door).await;
    let body = "x".repeat(100_000);
    let wrong = |lines: &str| request("POST", CHAT, &format!("api-key: wrong\r\n{lines}"), &body);
    let good = |lines: &str| post(CHAT, lines, &body);
    for (what, harness, whole, status) in [
        (
            "its last request",
            &harness,
            wrong("connection: close\r\n"),
            401,
        ),
        (
            "not waved on",
            &harness,
            wrong("expect: 100-continue\r\n"),
            401,
        ),
        ("not by Front Door", &behind, good(""), 403),
        ("a head like none", &harness, good("x y: z\r\n"), 400),
    ] {
        let (head, rest) = whole.split_at(whole.len() - body.len());
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(head).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.keeps_open()),
            (status, false),
            "{what}"
        );
        assert!(wire.ends().await, "{what}");
        for piece in rest.chunks(10_000) {
            assert!(wire.takes(piece).await, "{what}");
            // For a reset to come back.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
