//! What is written while somebody else may be writing: the real session over a pipe with hardly any room.

use futures_util::FutureExt;
use pingora::{
    Error, ErrorType,
    protocols::http::v2::server::{H2Accept, HttpSession, handshake},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{
    stand_in::{Alarm, SLICE, slices},
    *,
};
use crate::domain::{body_outcome::UnsettledAnswer, outcome::Outcome};

const WORD: &[u8] =
    b"data: {\"choices\":[{\"delta\":{\"content\":\"Dams\"},\"finish_reason\":\"stop\"}]}\n\n";

const COMMENT: &str = ": keepalive\n\n";

fn keepalive(every: Duration) -> Keepalive {
    let agent = b"any";
    Keepalive::for_stream(
        every,
        crate::domain::route::Operation::ChatCompletions,
        agent,
    )
    .unwrap()
}

fn stand_in(inner: ServerSession, every: Duration) -> StandIn {
    let late = Instant::now() + Duration::from_secs(3600);
    let relay = Relay::new(Bytes::new(), None, late, Some(keepalive(every)));
    let relay = Arc::new(relay);
    relay.order(Vec::new(), late, Duration::from_secs(3600));
    let mut stand_in = StandIn::new(Box::new(inner), relay);
    stand_in.enable_retry_buffering();
    stand_in
}

fn head() -> HttpTask {
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("content-type", "text/event-stream")
        .unwrap();
    head.insert_header("transfer-encoding", "chunked").unwrap();
    HttpTask::Header(Box::new(head), false)
}

/// A client over HTTP/1.1 whose end of the pipe takes so many bytes.
async fn over_http1(room: usize) -> (ServerSession, DuplexStream) {
    let (mut client, server) = duplex(room);
    let mut session = ServerSession::new_http1(Box::new(server));
    let request = b"POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n";
    let (read, ()) = tokio::join!(session.read_request(), async {
        client.write_all(request).await.unwrap();
    });
    assert!(read.unwrap());
    (session, client)
}

/// Lets the stand-in wait for its client for a moment, and drops it wherever it is, as the engine does.
async fn interrupted(stand_in: &mut StandIn) {
    let idle = stand_in.read_body_or_idle(true);
    assert!(
        tokio::time::timeout(Duration::from_millis(3), idle)
            .await
            .is_err()
    );
}

/// What the client gets byte by byte, the stand-in being interrupted before each.
async fn read_interrupting(
    stand_in: &mut StandIn,
    client: &mut DuplexStream,
    until: &str,
) -> String {
    let (mut text, mut rounds) = (String::new(), 0);
    while !text.ends_with(until) {
        rounds += 1;
        assert!(rounds < 2000, "{text:?}");
        interrupted(stand_in).await;
        let mut some = [0; 1];
        let read = tokio::time::timeout(Duration::from_millis(1), client.read(&mut some)).await;
        if let Ok(count) = read {
            text += std::str::from_utf8(&some[..count.unwrap()]).unwrap();
        }
    }
    text
}

#[tokio::test]
async fn what_a_timer_writes_over_http1_is_whole_wherever_it_was_interrupted() {
    let (session, mut client) = over_http1(8).await;
    let mut stand_in = stand_in(session, Duration::from_millis(1));
    let HttpTask::Header(answer, _) = head() else {
        unreachable!("it is a head")
    };
    let opening =
        UnsettledAnswer::from_head(answer.status, &answer.headers, std::time::SystemTime::now());
    let relay = Arc::clone(&stand_in.relay);
    relay.gate().hold(opening.unwrap(), Instant::now());
    assert!(!stand_in.response_duplex_vec(vec![head()]).await.unwrap());
    assert!(stand_in.response_written().is_none());

    let comment = format!("D\r\n{COMMENT}\r\n");
    let text = read_interrupting(&mut stand_in, &mut client, &comment).await;
    assert!(stand_in.response_written().is_some());
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, comment);

    // Whatever is half written now is finished before this.
    interrupted(&mut stand_in).await;
    let mut word = Some(Bytes::from_static(WORD));
    let said = relay.gate().pass(&mut word, true, None);
    assert_eq!(said, Word::Late(Outcome::Served));
    let last = HttpTask::Body(Some(Bytes::from_static(WORD)), true);
    let mut rest = String::new();
    let (written, read) = tokio::join!(stand_in.response_duplex_vec(vec![last]), async {
        while !rest.ends_with("0\r\n\r\n") {
            let mut some = [0; 8];
            let count = client.read(&mut some).await.unwrap();
            rest += std::str::from_utf8(&some[..count]).unwrap();
        }
    });
    let ((), ended) = (read, written.unwrap());
    assert!(ended);
    let word = format!(
        "{:X}\r\n{}\r\n",
        WORD.len(),
        std::str::from_utf8(WORD).unwrap()
    );
    let rest = rest
        .strip_suffix("0\r\n\r\n")
        .unwrap()
        .strip_suffix(&word)
        .unwrap();
    assert_eq!(rest.replace(&comment, ""), "");
}

/// A client over HTTP/2 that takes so many bytes of a body before it has to allow more.
async fn over_http2(window: u32) -> (ServerSession, h2::client::ResponseFuture) {
    let (client, server) = duplex(1 << 20);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (handshaken, accepted) = tokio::join!(
        builder.handshake::<_, Bytes>(client),
        handshake(Box::new(server), None)
    );
    let (mut requests, connection) = handshaken.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("http://g/").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let (mut connection, digest) = (accepted.unwrap(), Arc::new(Digest::default()));
    let session = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)).await;
    let Ok(Some(H2Accept::Session(session))) = session else {
        panic!("no request came")
    };
    tokio::spawn(async move {
        while let Ok(Some(_)) =
            HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)).await
        {}
    });
    (ServerSession::new_http2(session), response)
}

#[tokio::test]
async fn what_a_timer_writes_over_http2_is_written_whole_or_not_at_all() {
    let (session, response) = over_http2(20).await;
    let mut stand_in = stand_in(session, Duration::from_millis(1));
    stand_in.response_duplex_vec(vec![head()]).await.unwrap();
    let mut body = response.await.unwrap().into_body();
    // There is room for one comment and a half.
    for _ in 0..20 {
        interrupted(&mut stand_in).await;
    }
    let first = body.data().await.unwrap().unwrap();
    assert_eq!(first, COMMENT);
    let (last, mut rest) = (
        HttpTask::Body(Some(Bytes::from_static(WORD)), true),
        Vec::new(),
    );
    let (ended, ()) = tokio::join!(stand_in.response_duplex_vec(vec![last]), async {
        body.flow_control().release_capacity(first.len()).unwrap();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            rest.extend_from_slice(&piece);
        }
    });
    assert!(ended.unwrap());
    assert_eq!(rest, WORD);
}

#[test]
fn a_small_body_is_one_piece_and_a_large_one_slices_without_a_copy() {
    let pieces = [
        Bytes::from_static(b"{\"model\":"),
        Bytes::from_static(b"\"d\""),
        Bytes::from_static(b"}"),
    ];
    assert_eq!(slices(&pieces), [&b"{\"model\":\"d\"}"[..]]);
    let large = Bytes::from(vec![7; 3 * SLICE + 1]);
    let cut = slices(&[Bytes::from_static(b"x"), large.clone()]);
    assert_eq!(
        cut.iter().map(Bytes::len).collect::<Vec<_>>(),
        [1, SLICE, SLICE, SLICE, 1]
    );
    assert_eq!(cut[1].as_ptr(), large.as_ptr());
    assert!(slices(&[]).is_empty());
}

#[test]
fn what_stands_around_a_name_is_one_piece_with_it() {
    let large = Bytes::from(vec![7; SLICE + 1]);
    let [before, name] = [&b"{\"model\":"[..], b"\"d\""].map(Bytes::from_static);
    let pieces = [before, name, large.clone(), Bytes::from_static(b"}")];
    let slices = slices(&pieces);
    assert_eq!(slices[0], "{\"model\":\"d\"");
    let lengths: Vec<_> = slices.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [12, SLICE, 1, 1]);
    assert_eq!(slices.concat(), pieces.concat());
}

/// A stream's tasks, as the engine's hook leaves them of what came from the deployment.
fn hooked(relay: &Relay, piece: &'static str) -> Vec<HttpTask> {
    let mut piece = Some(Bytes::from_static(piece.as_bytes()));
    relay.gate().pass(&mut piece, false, None);
    vec![HttpTask::Body(piece, false)]
}

#[tokio::test]
async fn what_was_held_of_a_last_event_goes_out_at_an_end_that_no_hook_saw() {
    let chunks = [
        "data: {\"a\":1,\"usa",
        "ge\":null}\n\ndata: {\"b\":2,\"usage\":null}",
    ];
    let expected = "data: {\"a\":1}\n\ndata: {\"b\":2}";
    let hour = Duration::from_secs(3600);
    let (session, response) = over_http2(1 << 16).await;
    let mut over_h2 = stand_in(session, hour);
    over_h2.relay.gate().answer.trim_usage();
    over_h2.response_duplex_vec(vec![head()]).await.unwrap();
    let (session, mut client) = over_http1(1 << 16).await;
    let mut over_h1 = stand_in(session, hour);
    over_h1.relay.gate().answer.trim_usage();
    over_h1.response_duplex_vec(vec![head()]).await.unwrap();
    for chunk in chunks {
        for stand_in in [&mut over_h2, &mut over_h1] {
            let tasks = hooked(&stand_in.relay, chunk);
            assert!(!stand_in.response_duplex_vec(tasks).await.unwrap());
        }
    }
    for stand_in in [&mut over_h2, &mut over_h1] {
        let ended = stand_in.response_duplex_vec(vec![HttpTask::Done]).await;
        assert!(ended.unwrap());
    }
    let (mut body, mut text) = (response.await.unwrap().into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        let mut some = [0; 512];
        let count = client.read(&mut some).await.unwrap();
        text += std::str::from_utf8(&some[..count]).unwrap();
    }
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let pieces = "F\r\ndata: {\"a\":1}\n\n\r\nD\r\ndata: {\"b\":2}\r\n0\r\n\r\n";
    assert_eq!(body, pieces);
}

/// So many bytes of body at once, as the engine hands them over.
fn pieces(count: usize, size: usize) -> Vec<HttpTask> {
    let piece = Bytes::from(vec![b'x'; size]);
    let task = || HttpTask::Body(Some(piece.clone()), false);
    std::iter::repeat_with(task).take(count).collect()
}

/// A stream to a client over HTTP/1.1 whose head has gone out.
async fn streaming() -> (StandIn, DuplexStream) {
    let (session, mut client) = over_http1(1 << 20).await;
    let mut stand_in = stand_in(session, Duration::from_secs(3600));
    stand_in.response_duplex_vec(vec![head()]).await.unwrap();
    let head = arrived(&mut client).await;
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    (stand_in, client)
}

/// All that has come to the client, without waiting for more.
async fn arrived(client: &mut DuplexStream) -> String {
    let (mut text, mut some) = (Vec::new(), [0; 4096]);
    while let Some(count) = client.read(&mut some).now_or_never() {
        text.extend_from_slice(&some[..count.unwrap()]);
    }
    String::from_utf8(text).unwrap()
}

fn chunk(size: usize) -> String {
    format!("{size:X}\r\n{}\r\n", "x".repeat(size))
}

#[tokio::test]
async fn pieces_that_come_faster_than_they_leave_go_out_as_one_and_in_order() {
    let (mut stand_in, mut client) = streaming().await;
    for _ in 0..2 {
        assert!(!stand_in.response_duplex_vec(pieces(4, 10)).await.unwrap());
        assert_eq!(arrived(&mut client).await, "");
    }
    // Whoever waits for the client comes by meanwhile, and lets what is ready go first.
    assert!(stand_in.read_body_or_idle(true).now_or_never().is_none());
    assert_eq!(arrived(&mut client).await, "");
    stand_in.response_duplex_vec(pieces(1, 5)).await.unwrap();
    assert_eq!(arrived(&mut client).await, chunk(85));
    // One that comes alone waits for nothing.
    stand_in.response_duplex_vec(pieces(1, 7)).await.unwrap();
    assert_eq!(arrived(&mut client).await, chunk(7));
}

#[tokio::test]
async fn pieces_that_wait_leave_once_nothing_more_is_ready_and_at_the_end() {
    let (mut stand_in, mut client) = streaming().await;
    stand_in.response_duplex_vec(pieces(4, 10)).await.unwrap();
    interrupted(&mut stand_in).await;
    assert_eq!(arrived(&mut client).await, chunk(40));
    interrupted(&mut stand_in).await;
    assert_eq!(arrived(&mut client).await, "");

    stand_in.response_duplex_vec(pieces(4, 20)).await.unwrap();
    let ended = stand_in.response_duplex_vec(vec![HttpTask::Done]).await;
    assert!(ended.unwrap());
    let all = chunk(80) + "0\r\n\r\n";
    assert_eq!(arrived(&mut client).await, all);

    let (mut stand_in, mut client) = streaming().await;
    stand_in.response_duplex_vec(pieces(4, 30)).await.unwrap();
    let failed = HttpTask::Failed(Error::new(ErrorType::ReadError));
    assert!(stand_in.response_duplex_vec(vec![failed]).await.is_err());
    assert_eq!(arrived(&mut client).await, chunk(120));

    let (mut stand_in, mut client) = streaming().await;
    stand_in.response_duplex_vec(pieces(4, 40)).await.unwrap();
    stand_in.finish().await.unwrap();
    assert_eq!(arrived(&mut client).await, chunk(160) + "0\r\n\r\n");
}

#[tokio::test]
async fn what_waits_is_bounded_and_waits_only_where_somebody_comes_by_for_it() {
    let (mut stand_in, mut client) = streaming().await;
    stand_in.response_duplex_vec(pieces(4, 3000)).await.unwrap();
    assert_eq!(arrived(&mut client).await, "");
    stand_in.response_duplex_vec(pieces(4, 3000)).await.unwrap();
    assert_eq!(arrived(&mut client).await, chunk(24_000));
    // Of a large body there may be too much between us and the deployment.
    let (mut stand_in, mut client) = streaming().await;
    stand_in.relay.order(
        vec![vec![0; 3 * SLICE].into()],
        Instant::now(),
        Duration::MAX,
    );
    stand_in.enable_retry_buffering();
    while stand_in.next_slice().is_some() {}
    stand_in.answer.is_stream = true;
    stand_in.response_duplex_vec(pieces(4, 10)).await.unwrap();
    assert_eq!(arrived(&mut client).await, chunk(40));
}

#[tokio::test]
async fn a_time_that_was_put_off_wakes_nobody_twice_and_one_that_came_nearer_is_kept() {
    let (began, mut alarm) = (Instant::now(), Alarm::default());
    let ms = Duration::from_millis;
    alarm.at(began + ms(20)).await;
    alarm.at(began + ms(60)).await;
    assert!(began.elapsed() >= ms(60));
    // Set for a late time, and then for an early one.
    let began = Instant::now();
    let _ = alarm.at(began + ms(60_000)).now_or_never();
    alarm.at(began + ms(20)).await;
    assert!((ms(20)..ms(30_000)).contains(&began.elapsed()));
    // Set for an early one, and then for a late one: it goes off once, and then is late.
    let began = Instant::now();
    let _ = alarm.at(began + ms(20)).now_or_never();
    alarm.at(began + ms(100)).await;
    assert!((ms(20)..ms(90)).contains(&began.elapsed()));
    alarm.at(began + ms(100)).await;
    assert!(began.elapsed() >= ms(100));
}
