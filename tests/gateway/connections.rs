//! How many connections a listener has, and how long one may keep it waiting.

use std::time::Duration;

use http::Request;

use crate::{
    authority::Authority,
    counted,
    house::{CHAT, Gateway, House, KEY, chat, comes_true, folder, streamed},
    puppet::{Puppet, STREAM},
    raw::{Wire, good_chat, post, request},
};

async fn gauge(house: &House, name: &str) -> f64 {
    let series = format!("{name}{{listener=\"{}\"}}", house.gateway.address);
    counted::value(&house.metrics().await, &series)
}

async fn house_with(listener: &str, more: &str) -> House {
    let mut house = House::open_with(&[("well", 1, 1)], more).await;
    let config = house.gateway.config();
    house.gateway = Gateway::start_as(&config, listener, &[]).await;
    house
}

#[tokio::test]
async fn connections_beyond_the_most_are_closed_at_once_and_the_others_go_on() {
    let house = house_with(", max_connections: 2", "").await;
    let mut first = Wire::open(house.gateway.address).await;
    let mut second = Wire::open(house.gateway.address).await;
    for wire in [&mut first, &mut second] {
        wire.send(good_chat()).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert_eq!(gauge(&house, "forebay_connections").await, 2.0);
    for _ in 0..3 {
        let mut beyond = Wire::open(house.gateway.address).await;
        beyond.send(good_chat()).await;
        assert!(beyond.ends().await);
    }
    assert_eq!(
        gauge(&house, "forebay_connections_refused_total").await,
        3.0
    );
    let told = house.gateway.stderr();
    assert_eq!(
        told.matches("\"event\":\"listener_full\"").count(),
        1,
        "{told}"
    );
    first.send(good_chat()).await;
    assert_eq!(first.answer().await.unwrap().status, 200);

    drop(second);
    comes_true("there is room again", async || {
        let mut next = Wire::open(house.gateway.address).await;
        next.send(good_chat()).await;
        next.answer()
            .await
            .is_some_and(|answer| answer.status == 200)
    })
    .await;
    drop(first);
    comes_true("no connection is left", async || {
        gauge(&house, "forebay_connections").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_too_little_is_closed() {
    let house = house_with("", "server: { header_timeout: 300ms }").await;
    for address in [house.gateway.address, house.gateway.admin] {
        for start in ["", "PRI * HTTP/2.0\r\n\r\nSM", "GET /"] {
            let mut wire = Wire::open(address).await;
            wire.send(start).await;
            wire.drained().await;
        }
    }
    comes_true("none is left", async || {
        gauge(&house, "forebay_connections").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let folder = folder();
    Authority::new(&folder, "ours").certify(&folder, "gateway", "localhost");
    let at = folder.display();
    let tls = format!(", tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key }}");
    let house = house_with(&tls, "server: { handshake_timeout: 300ms }").await;
    // Nothing, the start of a record, and a record that promises more.
    for start in [&[][..], &[22, 3], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut wire = Wire::open(house.gateway.address).await;
        wire.send(start).await;
        assert!(wire.ends().await);
    }
    let address = house.gateway.address;
    let series = format!(
        "forebay_tls_handshake_failures_total{{listener=\"{address}\",reason=\"timeout\"}}"
    );
    comes_true("all three are counted, and none is left", async || {
        counted::value(&house.metrics().await, &series) == 3.0
            && gauge(&house, "forebay_connections").await == 0.0
    })
    .await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Much more than what the systems at both ends keep for each other.
const MUCH: usize = 64 << 20;

/// Answers with all of it, as far as the gateway takes it.
async fn takes_what_it_can(call: &mut crate::puppet::Call) {
    let body = vec![b' '; MUCH];
    let answer = call.answer("200 OK", &body);
    let taken = tokio::time::timeout(Duration::from_secs(30), answer).await;
    taken.expect("the gateway takes it, or ends it, in time");
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_its_answer_is_let_go() {
    let (puppet, house) = Puppet::house("server: { write_timeout: 1s }").await;
    let mut wire = Wire::open(house.gateway.address).await;
    wire.send(good_chat()).await;
    let mut call = puppet.call().await;
    takes_what_it_can(&mut call).await;
    // What it was not read of is not waited for either.
    assert!(call.leaves().await);
    let log = house.log(1).await;
    assert_eq!(log[0]["status"], 200);
    comes_true("its connection is closed", async || {
        gauge(&house, "forebay_connections").await == 0.0
    })
    .await;
    drop(wire);
}

#[tokio::test]
async fn a_client_that_opens_no_window_for_its_stream_loses_the_stream_alone() {
    let (puppet, house) = Puppet::house("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(house.gateway.address)
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
    let mut call = puppet.call().await;
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
    puppet.call().await.answer("200 OK", b"{}").await;
    assert_eq!(answer.await.unwrap().status(), 200);
    connection.abort();
}

#[tokio::test]
async fn a_client_that_opens_no_window_for_a_stream_of_events_loses_it() {
    let (puppet, house) = Puppet::house("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(house.gateway.address)
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
    let mut call = puppet.call().await;
    call.send(STREAM).await;
    let delta = format!("{{\"content\":\"{}\"}}", "x".repeat(500));
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
    call.chunk(event).await;
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 100);
    assert!(call.leaves().await);
    let ended = body.data().await.unwrap();
    assert!(ended.unwrap_err().is_reset());
    let log = house.log(1).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["end"]),
        (&200.into(), &"client_left".into())
    );
    comes_true("nothing of it is left", async || {
        counted::value(&house.metrics().await, "forebay_requests_inflight") == 0.0
    })
    .await;
    connection.abort();
}

#[tokio::test]
async fn a_tunnel_that_is_refused_over_http2_is_not_waited_for() {
    let (_puppet, house) = Puppet::house("server: { write_timeout: 1s }").await;
    let stream = tokio::net::TcpStream::connect(house.gateway.address)
        .await
        .unwrap();
    let mut client = h2::client::Builder::new();
    client.initial_window_size(0);
    let (mut send, connection) = client.handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::connect("gateway:443").body(()).unwrap();
    let (answer, _body) = send.send_request(request, false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 405);
    comes_true("nothing of it is left", async || {
        counted::value(&house.metrics().await, "forebay_requests_inflight") == 0.0
    })
    .await;
    assert_eq!(house.log(1).await[0]["refusal"], "method_not_allowed");
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
    let (puppet, house) = Puppet::house("").await;
    let mut wire = Wire::open(house.gateway.address).await;
    wire.send(good_chat()).await;
    let mut call = puppet.call().await;
    let port = call.port();
    let pid = house.gateway.pid();
    comes_true("the system keeps it alive", async || {
        next_probe(pid, port).is_some_and(|seconds| seconds <= 60.0)
    })
    .await;
    call.answer("200 OK", b"{}").await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_small_request_reaches_its_deployment_in_one_piece() {
    let (puppet, house) = Puppet::house("").await;
    for _ in 0..20 {
        let mut wire = Wire::open(house.gateway.address).await;
        wire.send(good_chat()).await;
        let mut call = puppet.call().await;
        assert_eq!(call.1, 1, "the head came before its body");
        call.answer("200 OK", b"{}").await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
}

/// A connection that ends with its answer is not reset by what its client still sends of the request: the reset may take
/// the answer with it.
#[tokio::test]
async fn what_a_client_still_sends_when_its_last_answer_has_come_resets_nothing() {
    let house = House::open(&[("well", 1, 1)]).await;
    let door = "front_door: { ids: [0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f] }";
    let behind = House::open_with(&[("well", 1, 1)], door).await;
    let body = "x".repeat(100_000);
    let wrong = |lines: &str| request("POST", CHAT, &format!("api-key: wrong\r\n{lines}"), &body);
    let good = |lines: &str| post(CHAT, lines, &body);
    for (what, house, whole, status) in [
        (
            "its last request",
            &house,
            wrong("connection: close\r\n"),
            401,
        ),
        (
            "not waved on",
            &house,
            wrong("expect: 100-continue\r\n"),
            401,
        ),
        ("not by Front Door", &behind, good(""), 403),
        ("a head like none", &house, good("x y: z\r\n"), 400),
    ] {
        let (head, rest) = whole.split_at(whole.len() - body.len());
        let mut wire = Wire::open(house.gateway.address).await;
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
