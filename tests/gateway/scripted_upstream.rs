//! An instance that says what a test tells it to, when it tells it to, byte by byte over HTTP/1.1.

use std::{fmt::Write as _, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    harness::{CHAT, Gateway, Harness, INSTANCE_KEY, KEY, streamed},
    http1_client::{RawConnection, post},
};

/// For a request to come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct ScriptedUpstream(TcpListener);

/// One request that it was asked, read to its end; and in how many pieces that was there.
pub(crate) struct ReceivedRequest(TcpStream, pub(crate) usize);

pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// Output, in a chat's stream.
pub(crate) const EVENT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"A\"}}]}\n\n";

impl ScriptedUpstream {
    /// A gateway before a scripted upstream, which is asked first, and `well`, which is simulated. Answers say who gave them.
    pub(crate) async fn harness(more: &str) -> (Self, Harness) {
        let mut harness = Harness::open(&[("well", 1, 1)]).await;
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [
            ("puppet", upstream.local_addr().unwrap()),
            ("well", harness.simulator.address("well").unwrap()),
        ];
        let mut config =
            format!("identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n");
        let mut deployments = Vec::new();
        for (i, (name, address)) in addresses.iter().enumerate() {
            let endpoint = format!("endpoint: \"http://{address}\", identity: key");
            writeln!(config, "  {name}: {{ {endpoint} }}").unwrap();
            let place = format!("deployment: {name}-gpt-4o, priority: {}", i + 1);
            deployments.push(format!("{{ instance: {name}, {place} }}"));
        }
        let hash = forebay::config::hash_key(KEY).unwrap().hash;
        writeln!(
            config,
            "models: {{ gpt-4o: {{ deployments: [{}] }} }}\n\
             clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"], operations: [inference, realtime] }} }}\nreveal: true\n{more}",
            deployments.join(", ")
        )
        .unwrap();
        harness.gateway = Gateway::start(&config).await;
        (Self(upstream), harness)
    }

    /// A client with a stream under way, of which an event has come, and its call here.
    pub(crate) async fn stream(&self, harness: &Harness) -> (RawConnection, ReceivedRequest) {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "", streamed().to_string())).await;
        let mut call = self.call().await;
        call.send(STREAM).await;
        call.chunk(EVENT).await;
        assert!(wire.arrives(EVENT).await);
        (wire, call)
    }

    /// The next request, over a connection of its own.
    pub(crate) async fn call(&self) -> ReceivedRequest {
        let called = timeout(PATIENCE, self.next()).await;
        called.expect("a request comes in time")
    }

    async fn next(&self) -> ReceivedRequest {
        loop {
            let mut stream = self.0.accept().await.unwrap().0;
            stream.set_nodelay(true).unwrap();
            if let Some(pieces) = reads_request(&mut stream).await {
                return ReceivedRequest(stream, pieces);
            }
        }
    }
}

/// The gateway also looks whether anybody is there, and asks nothing.
async fn reads_request(stream: &mut TcpStream) -> Option<usize> {
    let (mut read, mut pieces) = (Vec::with_capacity(1 << 20), 0);
    while !is_whole(&read) {
        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return None;
        }
        pieces += 1;
    }
    Some(pieces)
}

pub(crate) fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    // A WebSocket's handshake says none.
    let length = head.split("content-length: ").nth(1).unwrap_or("0");
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    body.len() >= length
}

impl ReceivedRequest {
    /// A gateway that has gone is no failure: that may be what the test is about.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// The upstream's own port.
    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Sends this as one chunk of a body; nothing if it is empty, since that would end the body.
    pub(crate) async fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return;
        }
        let head = format!("{:x}\r\n", bytes.len());
        self.send([head.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// The next request over the same connection; whether one came.
    pub(crate) async fn again(&mut self) -> bool {
        let read = timeout(PATIENCE, reads_request(&mut self.0)).await;
        read.expect("a request or an end comes in time").is_some()
    }

    /// Ends a body that was sent in chunks.
    pub(crate) async fn end(mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// A whole answer whose body has this length.
    pub(crate) async fn answer(&mut self, head: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await;
    }

    /// Whether the gateway ends the connection now.
    pub(crate) async fn leaves(mut self) -> bool {
        let read = timeout(PATIENCE, self.0.read(&mut [0])).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    /// Ends the connection without a word.
    pub(crate) fn die(self) {
        let _ = self.0.set_zero_linger();
    }
}
