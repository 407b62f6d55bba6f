//! How a client's connection ends, over a pipe and with a clock that stands until it is waited for.

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use super::*;
use crate::domain::head;

/// A connection on which a request with this head was let in, and its client's end.
fn admitted(lines: &str) -> (GuardedStream, DuplexStream) {
    let (client, server) = duplex(64);
    let mut stream = GuardedStream::new(Box::new(server));
    let head = format!("POST /v1/models HTTP/1.1\r\nhost: g\r\n{lines}\r\n");
    stream.admit(&head::read(head.as_bytes(), 1 << 10).unwrap());
    (stream, client)
}

/// Both ways to end it: what HTTP/1 calls, and what HTTP/2 does.
async fn end(stream: &mut GuardedStream, over_http2: bool) {
    if over_http2 {
        AsyncWriteExt::shutdown(stream).await.unwrap()
    } else {
        Shutdown::shutdown(stream).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_request_is_read_past_before_its_connection_is_closed() {
    for (lines, over_http2) in [
        ("content-length: 1000\r\n", false),
        ("content-length: 1000\r\n", true),
        ("transfer-encoding: chunked\r\n", false),
    ] {
        let (mut stream, mut client) = admitted(lines);
        let began = Instant::now();
        let mut ends = Box::pin(end(&mut stream, over_http2));
        assert!(ends.as_mut().now_or_never().is_none(), "{lines}");
        // More than the pipe holds.
        let sends = async {
            client.write_all(&[b'x'; 1000]).await.unwrap();
            drop(client);
        };
        tokio::join!(&mut ends, sends);
        assert_eq!(began.elapsed(), Duration::ZERO, "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_and_on_is_read_past_for_a_bounded_time() {
    let (mut stream, mut client) = admitted("content-length: 1000000\r\n");
    let began = Instant::now();
    let sends = async {
        while client.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = end(&mut stream, false) => {}
        () = sends => unreachable!("it is read from"),
    }
    assert!(began.elapsed() >= DRAIN_BODY && began.elapsed() < 2 * DRAIN_BODY);
}

/// Where all has come that was to come, nobody waits for the client to close.
#[tokio::test(start_paused = true)]
async fn a_request_that_has_come_whole_is_waited_behind_only_where_more_has_come() {
    let (mut stream, mut client) = admitted("content-length: 3\r\n");
    client.write_all(b"abc").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    let began = Instant::now();
    end(&mut stream, false).await;
    assert_eq!(began.elapsed(), Duration::ZERO);

    let (mut stream, mut client) = admitted("content-length: 3\r\n");
    client.write_all(b"abcGET / HTTP/1.1\r\n").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    assert!(end(&mut stream, false).now_or_never().is_none());
    client.write_all(b"host: g\r\n\r\n").await.unwrap();
    drop(client);
    end(&mut stream, false).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}
