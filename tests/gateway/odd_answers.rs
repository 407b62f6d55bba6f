//! Answers that no honest server gives: none breaks the gateway, none is taken for what it is not, and what can be
//! passed on is passed on byte by byte. After each, the client's connection and the deployment go on.

mod framing;
mod odd_bodies;
mod retry_after;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use forebay::simulator::{Fault, FaultKind, Piece, Raw, RawEnd};
use serde_json::Value;

use crate::{
    harness::{CHAT, Harness, chat, streamed},
    http1_client::{Answer, RawConnection, good_chat, post},
};

/// Events as they are sent, the last one complete.
const WELL: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"odd\"}}]}\n\ndata: [DONE]\n\n";

/// So many faults in a row are no matter here.
const MORE: &str = "breaker: { faults: 1000 }";

async fn harness() -> Harness {
    Harness::open_with(&[("odd", 1, 1), ("well", 2, 1)], MORE).await
}

/// A 200 of these header lines whose bytes end with the connection.
fn ok(lines: &str, bytes: impl Into<Bytes>) -> Raw {
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{lines}\r\n");
    Raw::new(head, [Piece::from(bytes)])
}

fn stream(bytes: impl Into<Bytes>) -> Raw {
    ok("content-type: text/event-stream\r\n", bytes)
}

/// An answer of a known length, after which the connection goes on.
fn whole(status: &str, lines: &str, body: &[u8]) -> Raw {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{lines}\r\n",
        body.len()
    );
    let piece = Piece::from(Bytes::copy_from_slice(body));
    Raw::new(head, [piece]).ends(RawEnd::Keep)
}

impl Harness {
    /// The next request that the odd deployment gets is answered like this.
    fn answers_once(&self, raw: Raw) {
        let fault = Fault::from(FaultKind::Raw(raw)).times(1);
        self.simulator.set_fault("odd", None, Some(fault)).unwrap();
    }
}

/// Asks for a stream on this connection.
async fn ask(wire: &mut RawConnection) -> Option<Answer> {
    wire.send(post(CHAT, "", streamed().to_string())).await;
    wire.answer().await
}

/// The connection is good for another request, and the odd deployment for serving it.
async fn all_goes_on(harness: &Harness, wire: &mut RawConnection, name: &str) {
    let before = harness.asked("odd");
    wire.send(good_chat()).await;
    let answer = wire.answer().await;
    let answer = answer.unwrap_or_else(|| panic!("{name}: the client's connection has ended"));
    assert_eq!(answer.status, 200, "{name}");
    let said = answer.json()["choices"][0]["message"]["content"].clone();
    let asked = chat()["messages"][0]["content"].clone();
    assert_eq!(
        said,
        Value::from(format!("You said: {}", asked.as_str().unwrap())),
        "{name}"
    );
    assert_eq!(
        harness.asked("odd"),
        before + 1,
        "{name}: the deployment was not asked"
    );
}

fn from_base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}
