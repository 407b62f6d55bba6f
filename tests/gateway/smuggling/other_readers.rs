//! What the gateway lets pass, another reader reads alike: httparse, which reads after it, and reads more than it.

use forebay::domain::head::{self, Chunks, Framing, Search};
use proptest::prelude::*;

const MAX: usize = 16 << 10;

/// What requests are made of, and what tricks are.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\0",
    "#",
    "?",
    "%",
    "%0d",
    "\\",
    "/",
    "@",
    "..",
    "Host: h\r\n",
    "host: evil\r\n",
    "Content-Length: 5\r\n",
    "content-length : 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tChunked \r\n",
    "chunked",
    "identity",
    "X: y\r\n",
    " z\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "POST ",
    "GET / HTTP/1.1\r\n",
    "\r\n\r\n",
    "http://h",
    "Connection: close\r\n",
    "Upgrade: websocket\r\n",
    "5",
    "0",
    "a",
    "\u{e9}",
    "\u{b}",
    "\u{7f}",
];

/// A sound head with a few things put in or taken out.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let starts = prop::sample::select(vec![
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
        "POST /openai/v1/responses?x=y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://h/health HTTP/1.1\r\nHost: h\r\nX-Long: some value, with commas\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
    ]);
    let edit = (
        any::<prop::sample::Index>(),
        prop::sample::select(PIECES),
        0..4_usize,
    );
    (starts, prop::collection::vec(edit, 0..4)).prop_map(|(start, edits)| edited(start, &edits))
}

fn edited(start: &str, edits: &[(prop::sample::Index, &str, usize)]) -> Vec<u8> {
    let mut bytes = start.as_bytes().to_vec();
    for (at, piece, gone) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, piece.bytes());
    }
    bytes
}

/// Sound chunks with a few things put in or taken out.
fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let starts = prop::sample::select(vec![
        "5\r\nhello\r\n0\r\n\r\n",
        "5;x=y\r\nhello\r\n3\r\n\r\n\n\r\n0\r\nx-sum: 1\r\n\r\nGET / HTTP/1.1\r\n",
        "00000000000000a\r\n0123456789\r\n0\r\n\r\n",
    ]);
    let edit = (
        any::<prop::sample::Index>(),
        prop::sample::select(PIECES),
        0..4_usize,
    );
    (starts, prop::collection::vec(edit, 0..3)).prop_map(|(start, edits)| edited(start, &edits))
}

/// Where another reader finds the end of a chunked body without trailers.
fn other_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (start, size) = match httparse::parse_chunk_size(&bytes[at..]).ok()? {
            httparse::Status::Complete(read) => read,
            httparse::Status::Partial => return None,
        };
        at += start;
        if size == 0 {
            let mut lines = [httparse::EMPTY_HEADER; 32];
            return match httparse::parse_headers(&bytes[at..], &mut lines).ok()? {
                httparse::Status::Complete((length, _)) => Some(at + length),
                httparse::Status::Partial => None,
            };
        }
        at += usize::try_from(size).ok()?;
        at += bytes.get(at..)?.starts_with(b"\r\n").then_some(2)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_head_that_passes_is_the_same_head_to_another_reader(bytes in heads()) {
        let Ok(Some(end)) = Search::default().end(&bytes, MAX) else { return Ok(()) };
        let Ok(head) = head::read(&bytes[..end], MAX) else { return Ok(()) };
        let mut lines = [httparse::EMPTY_HEADER; 256];
        let mut other = httparse::Request::new(&mut lines);
        let read = other.parse(&bytes);
        prop_assert_eq!(read, Ok(httparse::Status::Complete(end)));
        let all = |name: &str| -> Vec<&[u8]> {
            let lines = other.headers.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
            lines.map(|line| line.value.trim_ascii()).collect()
        };
        prop_assert!(all("host").len() == 1 || other.version == Some(0) && all("host").is_empty());
        let framing = match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
            ([], []) => Framing::Length(0),
            ([length], []) => Framing::Length(std::str::from_utf8(length).unwrap().parse().unwrap()),
            ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            both => return Err(TestCaseError::fail(format!("{both:?}"))),
        };
        prop_assert_eq!(head.framing, framing);
        let path = other.path.unwrap();
        prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('#'));
    }

    #[test]
    fn a_chunked_body_that_passes_ends_where_another_reader_finds_its_end(bytes in chunked()) {
        let mut chunks = Chunks::default();
        let Ok(end) = chunks.pass(&bytes) else { return Ok(()) };
        if chunks.is_done() {
            prop_assert_eq!(other_end(&bytes), Some(end), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
