//! Every way to be refused, with a secret wherever the request has room for one.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use forebay::simulator::FaultKind;

use super::{CLIENT_KEY, PROMPT, ShownToClient, UNKNOWN_KEY};
use crate::{
    harness::{CHAT, Gateway, Harness},
    http1_client::{RawConnection, request},
};

/// In the clear inside of a token it can't be found; what is looked for is how it is spelled there.
const TOKEN_MARK: &str = "MARKED-token-3d21";
/// Nothing that a client can do leads to `internal`; for want of room see `room`; a certificate's names are no secret, nor
/// is the page that a browser shows one for (cors.rs); a session has no id in its refusal.
const NOT_HERE: [&str; 7] = [
    "internal",
    "may_have_acted",
    "call_id_malformed",
    "body_memory_full",
    "unknown_certificate",
    "ended_certificate",
    "foreign_origin",
];

/// A token of the issuer `issuer`, which it says itself.
fn token(issuer: &str) -> String {
    let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
    let header = part(format!(r#"{{"alg":"RS256","kid":"{TOKEN_MARK}"}}"#));
    let claims = part(format!(r#"{{"sub":"{TOKEN_MARK}","iss":"{issuer}"}}"#));
    format!("{header}.{claims}.{}", part(TOKEN_MARK.to_owned()))
}

/// The parts of the tokens that are sent, none of which may be seen again.
pub(super) fn token_parts(issuer: &str) -> Vec<String> {
    let (unchecked, invalid) = (token(issuer), token("https://nobody.example"));
    let parts = unchecked.split('.').chain(invalid.split('.'));
    parts
        .map(str::to_owned)
        .chain([TOKEN_MARK.to_owned()])
        .collect()
}

/// What is stored, kept or later, and what nobody answers in time.
async fn refused_by_what_it_asks(harness: &Harness, told: &mut ShownToClient) {
    let key = ("api-key", CLIENT_KEY);
    let kept = format!(r#"{{"model":"gpt-4o","input":"{PROMPT}","store":true}}"#);
    told.ask(harness, "/openai/v1/responses", key, kept).await;
    let stored = format!(r#"{{"prompt":{{"id":"{PROMPT}"}}}}"#);
    told.ask(harness, "/openai/v1/responses", key, stored).await;
    let later = format!(r#"{{"model":"gpt-4o","input":"{PROMPT}","background":true}}"#);
    told.ask(harness, "/openai/v1/responses", key, later).await;
    harness.fault("keys", FaultKind::Hang {});
    let slow = crate::harness::chat().to_string().replace("gpt-4o", "slow");
    told.ask(harness, CHAT, key, slow).await;
    harness.fault("keys", None);
}

pub(super) async fn everything(harness: &Harness, issuer: &str, told: &mut ShownToClient) {
    for token in [token(issuer), token("https://nobody.example")] {
        let bearer = format!("Bearer {token}");
        let body = crate::harness::chat().to_string();
        told.ask(harness, CHAT, ("authorization", &bearer), body)
            .await;
    }
    refused_by_what_it_asks(harness, told).await;

    let line = format!("api-key: {CLIENT_KEY}\r\n");
    let long = format!("{CHAT}?api-key={CLIENT_KEY}&{}", "a".repeat(9000));
    let session = format!("/openai/v1/realtime?model=gpt-4o&api-key={CLIENT_KEY}");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let form = "content-type: multipart/form-data; boundary=B\r\n";
    let by_another_name = format!("{CHAT}?key={CLIENT_KEY}");
    let by_none = format!("{CHAT}?{CLIENT_KEY}");
    let twice = format!("{CHAT}?api-version=1&api-version={CLIENT_KEY}");
    let naming = format!("x-ms-spillover-deployment: {CLIENT_KEY}\r\n");
    let chat = crate::harness::chat().to_string();
    let misspelled = format!(r#"{{"Model":"{PROMPT}"}}"#);
    let doubled = format!(r#"{{"model":"gpt-4o","n":1,"n":2,"messages":"{PROMPT}"}}"#);
    let tool = format!(r#"{{"model":"gpt-4o","tools":[{{"model":"{PROMPT}"}}]}}"#);
    for (method, path, lines, body) in [
        ("GET", CHAT, "", ""),
        (
            "POST",
            CHAT,
            &format!("authorization: Bearer {UNKNOWN_KEY}\r\n"),
            PROMPT,
        ),
        ("POST", CHAT, "host: another\r\n", PROMPT),
        ("POST", &long, "", PROMPT),
        ("POST", CHAT, "expect: 200-maybe\r\n", PROMPT),
        ("POST", &by_another_name, "", PROMPT),
        ("POST", &by_none, "", PROMPT),
        ("POST", &twice, "", PROMPT),
        ("POST", CHAT, &naming, &chat),
        ("POST", CHAT, "content-encoding: gzip\r\n", PROMPT),
        ("POST", CHAT, "content-type: multipart/mixed\r\n", PROMPT),
        ("POST", CHAT, "", &misspelled),
        ("POST", CHAT, "", &doubled),
        ("POST", "/openai/v1/responses", "", &tool),
        (
            "POST",
            CHAT,
            &format!("x: {}\r\n", "a".repeat(40_000)),
            PROMPT,
        ),
        ("POST", "/v1/audio/transcriptions", form, PROMPT),
        ("GET", &session, "", ""),
        ("GET", &session, upgrade, ""),
    ] {
        let bytes = request(method, path, &format!("{line}{lines}"), body);
        hear(&harness.gateway, bytes, told).await;
    }
    over_limits(harness, told).await;
    // A head and a body that never end.
    let whole = request(
        "POST",
        CHAT,
        &format!("{line}content-length: 500\r\n"),
        PROMPT,
    );
    let head = format!("POST {CHAT} HTTP/1.1\r\n{line}");
    hear(&harness.gateway, head.into_bytes(), told).await;
    hear(&harness.gateway, whole, told).await;
}

/// Limits, each of a client of its own, and what a request then says beside its prompt to be over it.
const LIMITS: [(&str, &str); 11] = [
    ("requests_per_minute: 1", ""),
    ("tokens_per_minute: 60", ""),
    ("tokens_per_hour: 60", ""),
    ("tokens_per_day: 60", ""),
    ("tokens_per_month: 60", ""),
    ("tokens_per_minute: 1", ""),
    (
        "max_output_tokens: 1, over_max_output_tokens: refuse",
        ",\"max_tokens\":2",
    ),
    ("n: 1", ",\"n\":2"),
    ("best_of: 1", ",\"best_of\":2"),
    ("best_of: 2", ",\"best_of\":\"2\""),
    ("concurrency: 1", ""),
];

fn limited_key(number: usize) -> String {
    format!("{CLIENT_KEY}-{number}")
}

/// The clients that have them.
pub(super) fn limited() -> String {
    let mut clients = String::new();
    for (number, (limit, _)) in LIMITS.iter().enumerate() {
        let hash = forebay::config::hash_key(&limited_key(number))
            .unwrap()
            .hash;
        writeln!(
            clients,
            "  limited-{number}: {{ keys: [\"{hash}\"], models: [\"*\"], limits: {{ {limit} }} }}"
        )
        .unwrap();
    }
    clients
}

async fn over_limits(harness: &Harness, told: &mut ShownToClient) {
    for (number, (limit, more)) in LIMITS.iter().enumerate() {
        let key = limited_key(number);
        let body = format!(
            "{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"{PROMPT}\"}}]{more}}}"
        );
        if limit.starts_with("concurrency") {
            harness.fault("keys", FaultKind::Hang {});
            let slow = harness.http.post(harness.url(CHAT)).header("api-key", &key);
            let slow = tokio::spawn(slow.body(body.replace("gpt-4o", "slow")).send());
            let asked = harness.asked("keys");
            crate::harness::eventually("one is under way", || harness.asked("keys") > asked).await;
            told.ask(harness, CHAT, ("api-key", &key), body).await;
            slow.await.unwrap().unwrap();
            harness.fault("keys", None);
            continue;
        }
        for _ in 0..8 {
            told.ask(harness, CHAT, ("api-key", &key), body.clone())
                .await;
        }
    }
}

/// What stands before the gateway is missing.
pub(super) async fn past_front_door(gateway: &Gateway, told: &mut ShownToClient) {
    let line = format!("api-key: {CLIENT_KEY}\r\nx-azure-fdid: {CLIENT_KEY}\r\n");
    hear(gateway, request("POST", CHAT, &line, PROMPT), told).await;
}

async fn hear(gateway: &Gateway, bytes: Vec<u8>, told: &mut ShownToClient) {
    let mut wire = RawConnection::open(gateway.address).await;
    wire.send(bytes).await;
    if let Some(answer) = wire.answer().await {
        let body = String::from_utf8_lossy(&answer.body);
        writeln!(told.0, "{answer:?} {body}").unwrap();
    }
}

/// Every reason that `conf/README.md` has, but those that no test here can bring about.
pub(super) fn reasons() -> BTreeSet<&'static str> {
    let page = include_str!("../../../conf/README.md");
    let table = page.split_once("| status | code | reason").unwrap().1;
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let reasons = rows.flat_map(|row| {
        let cell = row.split('|').nth(3).unwrap();
        cell.split('`').skip(1).step_by(2)
    });
    reasons
        .filter(|reason| !NOT_HERE.contains(reason))
        .collect()
}
