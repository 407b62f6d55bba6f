//! HTTP/2 by hand, for what no HTTP/2 client would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{CHAT, KEY, chat};

/// For an answer to come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// One connection to a gateway, over which its preface and settings have gone.
pub(crate) struct Http2Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// Acknowledges nothing.
    is_silent: bool,
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamOutcome {
    Answered {
        status: u16,
        body: Vec<u8>,
    },
    Reset(u32),
    /// The connection was ended with this word.
    GoneAway(u32),
    /// The connection was ended without a word.
    Closed,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Each field as it is, neither compressed nor remembered.
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with seven bits in its first byte (RFC 7541, 5.1).
fn length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(length as u8);
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// The fields of a chat that any gateway of these tests can serve.
pub(crate) fn good_fields() -> Vec<(Vec<u8>, Vec<u8>)> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", CHAT),
        (":authority", "gateway"),
        ("content-type", "application/json"),
        ("api-key", KEY),
    ];
    let owned =
        |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    fields.iter().map(owned).collect()
}

pub(crate) fn encoded(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    block(&fields)
}

/// A request with this head, in as many frames as it takes, and a chat behind it.
pub(crate) fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    const LARGEST: usize = 16 << 10;
    let (first, rest) = block.split_at(block.len().min(LARGEST));
    let pieces = rest.chunks(LARGEST).count();
    let ends = |last: bool| if last { END_HEADERS } else { 0 };
    let mut bytes = frame(HEADERS, ends(pieces == 0), stream, first);
    for (i, piece) in rest.chunks(LARGEST).enumerate() {
        bytes.extend(frame(CONTINUATION, ends(i + 1 == pieces), stream, piece));
    }
    bytes.extend(frame(DATA, END_STREAM, stream, chat().to_string()));
    bytes
}

impl Http2Connection {
    /// As most clients begin: with a connection's window of 16 MiB.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let wide = frame(WINDOW_UPDATE, 0, 0, (16u32 << 20).to_be_bytes());
        Self::open_with(address, &[frame(SETTINGS, 0, 0, ""), wide].concat()).await
    }

    /// With these frames behind the preface.
    pub(crate) async fn open_with(address: SocketAddr, first: &[u8]) -> Self {
        let mut frames = Self::bare(address).await;
        frames.is_silent = false;
        frames.send([PREFACE, first].concat()).await;
        frames
    }

    /// Without a word said, now or in answer to anything.
    pub(crate) async fn bare(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
            is_silent: true,
        }
    }

    /// A peer that has closed already is no failure: it may have answered first.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// What becomes of this stream.
    pub(crate) async fn outcome(&mut self, stream: u32) -> StreamOutcome {
        let outcome = timeout(PATIENCE, self.read_outcome(stream)).await;
        outcome.expect("an answer or an end comes in time")
    }

    /// How the connection ends.
    pub(crate) async fn end(&mut self) -> StreamOutcome {
        loop {
            match self.outcome(u32::MAX).await {
                StreamOutcome::Answered { .. } | StreamOutcome::Reset(_) => {}
                end => return end,
            }
        }
    }

    async fn read_outcome(&mut self, stream: u32) -> StreamOutcome {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let Some((kind, flags, from, payload)) = self.next().await else {
                return StreamOutcome::Closed;
            };
            match kind {
                SETTINGS | PING if self.is_silent => {}
                SETTINGS if flags & 1 == 0 => self.send(frame(SETTINGS, 1, 0, "")).await,
                PING if flags & 1 == 0 => self.send(frame(PING, 1, 0, payload)).await,
                GOAWAY => return StreamOutcome::GoneAway(code(&payload[4..])),
                RST_STREAM if from == stream && status == 0 => {
                    return StreamOutcome::Reset(code(&payload));
                }
                HEADERS if from == stream => {
                    status = status_of(&payload);
                }
                DATA if from == stream => body.extend(payload),
                _ => {}
            }
            // An answer that came before the request was whole ends with a reset that says so.
            let is_end = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
            if from == stream && status > 0 && (is_end || kind == RST_STREAM) {
                return StreamOutcome::Answered { status, body };
            }
        }
    }

    /// The headers of this stream's answer, which are written out, and the length of its body. What other streams get is
    /// passed over.
    pub(crate) async fn written_out(&mut self, stream: u32) -> (Vec<(String, String)>, usize) {
        let (mut headers, mut body) = (Vec::new(), 0);
        loop {
            let next = timeout(PATIENCE, self.next()).await;
            let (kind, flags, from, payload) = next.unwrap().expect("the connection stays");
            match kind {
                SETTINGS if flags & 1 == 0 => self.send(frame(SETTINGS, 1, 0, "")).await,
                HEADERS if from == stream => headers = literals(&payload),
                DATA if from == stream => body += payload.len(),
                _ => {}
            }
            if from == stream && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return (headers, body);
            }
        }
    }

    /// Kind, flags, stream and payload.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        self.fill(9).await?;
        let head: Vec<u8> = self.read.drain(..9).collect();
        let length = code(&[&[0], &head[..3]].concat()) as usize;
        self.fill(length).await?;
        let payload = self.read.drain(..length).collect();
        Some((head[3], head[4], code(&head[5..]), payload))
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        while self.read.len() < length {
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
        Some(())
    }
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The headers behind the status and what changes the table's size, each written out, short, and uncompressed.
fn literals(block: &[u8]) -> Vec<(String, String)> {
    let status = block.iter().position(|byte| *byte == 0x8c);
    let mut rest = &block[status.expect("the status is 400") + 1..];
    let mut fields = Vec::new();
    while let [0, behind @ ..] = rest {
        let mut text = behind;
        let mut next = || {
            let (found, behind) = text[1..].split_at(text[0].into());
            text = behind;
            String::from_utf8(found.to_vec()).unwrap()
        };
        fields.push((next(), next()));
        rest = text;
    }
    assert!(rest.is_empty(), "{block:?}");
    fields
}

/// The status at the start of the first answer of a connection: a number of the static table, or written out.
fn status_of(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        indexed @ 0x88..=0x8e => STATIC[usize::from(indexed - 0x88)],
        _ if block[1] & 0x80 == 0 => String::from_utf8_lossy(&block[2..5]).parse().unwrap(),
        _ => digits(&block[2..][..usize::from(block[1] & 0x7f)]),
    }
}

/// Three digits in Huffman's code (RFC 7541, appendix B).
fn digits(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let (digit, length) = match &bits[at..at + 5] {
            "00000" => (0, 5),
            "00001" => (1, 5),
            "00010" => (2, 5),
            _ => (
                u16::from_str_radix(&bits[at..at + 6], 2).unwrap() - 0b01_1001 + 3,
                6,
            ),
        };
        (at, number) = (at + length, number * 10 + digit);
    }
    number
}
