//! A WebSocket client, and handshakes by hand.

use std::net::SocketAddr;

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue, Request},
        protocol::CloseFrame,
    },
};

use crate::harness::Harness;

/// For an answer to come.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// An open session.
pub(super) struct Socket<S = TcpStream> {
    inner: WebSocketStream<S>,
    /// Of the 101; names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

/// The bytes of a handshake, with these header lines.
pub(crate) fn handshake(path: &str, lines: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// A text as one frame of a client's, under a mask that changes nothing. It is short.
pub(super) fn masked(text: &[u8]) -> Vec<u8> {
    frame(0x81, text)
}

/// A client's close with code 1000.
pub(super) fn masked_close() -> Vec<u8> {
    frame(0x88, &1000_u16.to_be_bytes())
}

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 126);
    [&[kind, 0x80 | length, 0, 0, 0, 0], content].concat()
}

/// An event that is answered.
pub(super) fn update() -> Value {
    json!({"type": "session.update", "session": {"modalities": ["text"]}})
}

fn asked(address: SocketAddr, path: &str, lines: &str) -> Request<()> {
    let url = format!("ws://{address}{path}");
    let mut request = url.into_client_request().unwrap();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// A session with the gateway at this address.
pub(super) async fn opened(address: SocketAddr, path: &'static str, lines: &'static str) -> Socket {
    let stream = TcpStream::connect(address).await.unwrap();
    Socket::over(stream, address, path, lines).await
}

impl Socket {
    pub(super) async fn open(harness: &Harness, path: &str, lines: &str) -> Self {
        let stream = TcpStream::connect(harness.gateway.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, harness.gateway.address, path, lines).await
    }

    /// Ends the connection without a word.
    pub(super) fn reset(self) {
        let _ = self.inner.get_ref().set_zero_linger();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A session over a connection that is there already.
    pub(super) async fn over(stream: S, address: SocketAddr, path: &str, lines: &str) -> Self {
        let opened = timeout(PATIENCE, client_async(asked(address, path, lines), stream)).await;
        let (inner, head) = opened.expect("an answer comes in time").unwrap();
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let headers = head.headers().iter().map(header).collect();
        Self { inner, headers }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) async fn say(&mut self, event: &Value) {
        self.send(Message::Text(event.to_string().into())).await;
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.inner.send(message).await.unwrap();
    }

    /// The next message; `None` if the connection ends instead.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.inner.next()).await;
        next.expect("a message or an end comes in time")?.ok()
    }

    /// The next event.
    pub(super) async fn hear(&mut self) -> Value {
        let next = self.next().await;
        let Some(Message::Text(text)) = next else {
            panic!("no event: {next:?}");
        };
        serde_json::from_str(&text).unwrap()
    }

    /// Ends the session; gives how that is answered.
    pub(super) async fn close(&mut self, code: u16, reason: &str) -> Option<CloseFrame> {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.inner.close(Some(frame)).await.unwrap();
        loop {
            if let Message::Close(frame) = self.next().await? {
                return frame;
            }
        }
    }

    /// What it says and what it hears, each by itself.
    pub(super) fn split(
        self,
    ) -> (
        SplitSink<WebSocketStream<S>, Message>,
        SplitStream<WebSocketStream<S>>,
    ) {
        self.inner.split()
    }

    /// Ends the client's side of the connection, without a close.
    pub(super) async fn half_close(&mut self) {
        let _ = self.inner.get_mut().shutdown().await;
    }
}
