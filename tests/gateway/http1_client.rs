//! HTTP/1.1 by hand, for what no HTTP client would send.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{KEY, chat};

/// For an answer to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to a gateway.
pub(crate) struct RawConnection {
    stream: BufReader<TcpStream>,
}

/// An answer as it was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the connection stays open after it.
    pub(crate) fn keeps_open(&self) -> bool {
        self.header("connection")
            .is_none_or(|value| !value.eq_ignore_ascii_case("close"))
    }
}

impl RawConnection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// A peer that has closed already is no failure: it may have answered first.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.get_mut().write_all(bytes.as_ref()).await;
    }

    /// Whether the other end still takes what is sent, and has not reset the connection.
    pub(crate) async fn takes(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .await
            .is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        let _ = self.stream.get_mut().shutdown().await;
    }

    /// The next answer; `None` if the connection ends instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("POST").await
    }

    pub(crate) async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let read = timeout(PATIENCE, self.read(method)).await;
        read.expect("an answer or an end comes in time")
    }

    /// Whether this comes, among whatever else.
    pub(crate) async fn arrives(&mut self, text: &str) -> bool {
        let mut all = Vec::new();
        let read = timeout(PATIENCE, async {
            while memchr::memmem::find(&all, text.as_bytes()).is_none() {
                if !matches!(self.stream.read_buf(&mut all).await, Ok(1..)) {
                    return false;
                }
            }
            true
        });
        read.await
            .expect("it comes in time, or the connection ends")
    }

    /// Reads whatever comes until the other end closes.
    pub(crate) async fn drained(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut all)).await;
        // A reset is an end as well.
        let _ = read.expect("the connection is closed in time");
        all
    }

    /// Whether the other end closes now, having sent nothing more.
    pub(crate) async fn ends(&mut self) -> bool {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.stream.read(&mut byte)).await;
        matches!(
            read.expect("the connection is closed in time"),
            Ok(0) | Err(_)
        )
    }

    async fn read(&mut self, method: &str) -> Option<Answer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" && status != 100 {
            answer.body = self.body(&answer).await?;
        }
        Some(answer)
    }

    async fn body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            body.resize(length.parse().ok()?, 0);
            self.stream.read_exact(&mut body).await.ok()?;
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).ok()?;
                let start = body.len();
                body.resize(start + size + 2, 0);
                self.stream.read_exact(&mut body[start..]).await.ok()?;
                body.truncate(start + size);
                if size == 0 {
                    break;
                }
            }
        } else {
            self.stream.read_to_end(&mut body).await.ok()?;
        }
        Some(body)
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok()?;
        let line = line.strip_suffix(b"\r\n")?;
        Some(String::from_utf8_lossy(line).into_owned())
    }
}

/// A POST with the client's key and these further header lines.
pub(crate) fn post(path: &str, lines: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST", path, &format!("api-key: {KEY}\r\n{lines}"), body)
}

/// A request with these header lines; `Host`, the body's kind and its length unless they say them.
pub(crate) fn request(method: &str, path: &str, lines: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\n{lines}");
    if !lines.contains("content-type") {
        head.push_str("content-type: application/json\r\n");
    }
    if !lines.contains("content-length") && !lines.contains("transfer-encoding") {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A chat that any gateway of these tests can serve.
pub(crate) fn good_chat() -> Vec<u8> {
    post(crate::harness::CHAT, "", chat().to_string())
}
