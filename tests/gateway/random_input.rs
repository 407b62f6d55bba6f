//! Thousands of broken heads, bodies and paths: always an answer or an end, never a panic, and nothing stays behind.

use std::{ops::Range, sync::Arc};

use fastrand::Rng;

use crate::{
    harness::{CHAT, Harness, KEY, chat, eventually_async},
    http1_client::{RawConnection, good_chat, post, request},
};

const SETTINGS: &str = "failover: { max_body: 64KiB, first_byte_timeout: 500ms }\nserver: { max_headers: 8KiB, body_timeout: 500ms }";
const WORKERS: usize = 8;

async fn harness() -> Harness {
    Harness::open_with(&[("only", 1, 1)], SETTINGS).await
}

/// Pieces that parsers trip over.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"[[[[[[[[",
    b"}",
    b":",
    b",\"model\":",
    b"--b",
    b"--",
    b"content-length: 99999999999999999999\r\n",
    b"content-length: -1\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"expect: 100-continue\r\n",
    b"connection: close\r\n",
    b"%",
    b"ffffffff\r\n",
];

/// A few bytes changed, cut out, doubled, or pieces put in.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        let some = |rng: &mut Rng, bytes: &[u8]| -> Range<usize> {
            let end = (at + rng.usize(..40)).min(bytes.len());
            at..end
        };
        match rng.u8(..6) {
            0 => bytes.insert(at, rng.u8(..)),
            1 => {
                let range = some(rng, bytes);
                bytes.drain(range);
            }
            2 => {
                let again = bytes[some(rng, bytes)].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes.truncate(at),
            4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.u8(..8);
                }
            }
            _ => {
                bytes.splice(at..at, PIECES[rng.usize(..PIECES.len())].iter().copied());
            }
        }
    }
}

fn form() -> String {
    "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n--b\r\n\
     Content-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\nPNG\r\n--b--\r\n"
        .to_owned()
}

fn templates() -> Vec<Vec<u8>> {
    let chunked = "5\r\n{\"mod\r\n13\r\nel\":\"gpt-4o\",\"n\":1}\r\n0\r\n\r\n";
    let multipart = "content-type: multipart/form-data; boundary=b\r\n";
    vec![
        good_chat(),
        post(CHAT, "transfer-encoding: chunked\r\n", chunked),
        post("/openai/v1/images/edits", multipart, form()),
        post("/openai/deployments/gpt-4o/chat/completions?api-version=1", "", chat().to_string()),
        request("GET", "/openai/v1/models", &format!("authorization: Bearer {KEY}\r\n"), ""),
        request("HEAD", "/health/models/gpt-4o", "", ""),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01x".to_vec(),
        [good_chat(), good_chat()].concat(),
    ]
}

/// One worker an own seed, so that a failure can be had again.
async fn in_parallel<F: Future<Output = ()> + Send + 'static>(
    harness: &Arc<Harness>,
    work: impl Fn(Arc<Harness>, Rng) -> F,
) {
    let workers: Vec<_> = (0..WORKERS)
        .map(|seed| tokio::spawn(work(Arc::clone(harness), Rng::with_seed(seed as u64))))
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_request_is_answered_or_its_connection_ends() {
    let harness = Arc::new(harness().await);
    in_parallel(&harness, async |harness: Arc<Harness>, mut rng: Rng| {
        let templates = templates();
        for _ in 0..300 {
            let mut bytes = templates[rng.usize(..templates.len())].clone();
            mutate(&mut bytes, &mut rng);
            let mut wire = RawConnection::open(harness.gateway.address).await;
            wire.send(&bytes).await;
            wire.half_close().await;
            // Fails by itself if neither comes.
            wire.drained().await;
        }
    })
    .await;
    is_unharmed(harness).await;
}

#[tokio::test]
async fn whatever_a_well_framed_body_or_path_holds_its_connection_goes_on() {
    let harness = Arc::new(harness().await);
    in_parallel(&harness, async |harness: Arc<Harness>, mut rng: Rng| {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        for _ in 0..300 {
            let request = framed(&mut rng);
            wire.send(&request).await;
            let answer = wire.answer().await;
            let what = String::from_utf8_lossy(&request);
            // Such an escape is a trick, and ends the connection.
            let ends = what.contains("%00");
            let goes_on = answer.is_some_and(|answer| answer.keeps_open());
            assert_ne!(goes_on, ends, "{what:?}");
            if ends {
                wire = RawConnection::open(harness.gateway.address).await;
            }
        }
    })
    .await;
    is_unharmed(harness).await;
}

fn framed(rng: &mut Rng) -> Vec<u8> {
    let mut body = chat().to_string().into_bytes();
    match rng.u8(..4) {
        0 => {
            mutate(&mut body, rng);
            post(CHAT, "", body)
        }
        1 => {
            let mut form = form().into_bytes();
            mutate(&mut form, rng);
            let kind = ["b", "\"b\"", "", "bb", "--b"][rng.usize(..5)];
            let kind = format!("content-type: multipart/form-data; boundary={kind}\r\n");
            post("/openai/v1/images/edits", &kind, form)
        }
        2 => {
            let noise: Vec<u8> = (0..rng.usize(..400)).map(|_| rng.u8(..)).collect();
            post("/v1/chat/completions", "", noise)
        }
        _ => post(&path(rng), "", body),
    }
}

fn path(rng: &mut Rng) -> String {
    const PARTS: [&str; 16] = [
        "openai",
        "v1",
        "deployments",
        "gpt-4o",
        "chat",
        "completions",
        "models",
        "health",
        "..",
        ".",
        "%2f",
        "%2e%2e",
        "%00",
        "%ff",
        "",
        "images/edits",
    ];
    let parts = (0..rng.usize(1..7)).map(|_| PARTS[rng.usize(..PARTS.len())]);
    format!("/{}", parts.collect::<Vec<_>>().join("/"))
}

async fn is_unharmed(harness: Arc<Harness>) {
    assert_eq!(harness.chat().await.status(), 200);
    eventually_async("nothing is in flight", async || {
        let metrics = harness.metrics().await;
        metrics.contains("forebay_requests_inflight 0")
    })
    .await;
    let mut harness = Arc::into_inner(harness).unwrap();
    assert_eq!(harness.gateway.ended(), None);
    let stderr = harness.gateway.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    let internal = harness.metrics().await.contains("reason=\"internal\"");
    assert!(!internal, "{stderr}");
}
