//! Bad input over real sockets: each refusal says what to do, costs nothing but itself, and reaches no deployment.

use reqwest::{Client, Method};
use serde_json::Value;

use crate::{
    harness::{CHAT, Harness, KEY, chat, client_builder, eventually},
    http1_client::{Answer, RawConnection, good_chat, post, request},
};

const SETTINGS: &str =
    "failover: { max_body: 1MiB }\nserver: { max_headers: 8KiB, body_timeout: 300ms }";
const CLASSIC: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

async fn harness() -> Harness {
    Harness::open_with(&[("only", 1, 1)], SETTINGS).await
}

/// A bad request that HTTP can carry whole, and what is said of it: status, code and reason.
struct BadRequest {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    expected: (u16, &'static str, &'static str),
}

fn bad(
    path: &str,
    body: impl Into<Vec<u8>>,
    expected: (u16, &'static str, &'static str),
) -> BadRequest {
    BadRequest {
        method: "POST",
        path: path.to_owned(),
        headers: vec![("api-key", KEY.to_owned())],
        body: body.into(),
        expected,
    }
}

impl BadRequest {
    fn with(self, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Self { headers, ..self }
    }

    fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn raw(&self) -> Vec<u8> {
        let lines: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        request(self.method, &self.path, &lines, &self.body)
    }
}

fn unknown_paths() -> Vec<BadRequest> {
    let paths = [
        "/",
        "/openai",
        "/openai/",
        "/openai/v1",
        "/openai/v1/",
        "/openai/v2/chat/completions",
        "//openai/v1/chat/completions",
        "/openai//v1/chat/completions",
        "/openai/v1/chat/completions/",
        "/openai/v1/../v1/chat/completions",
        "/x/../openai/v1/chat/completions",
        "/openai/v1/%2e%2e/v1/chat/completions",
        "/openai/v1%2fchat/completions",
        "/openai/v1/chat%2fcompletions",
        "/OPENAI/v1/chat/completions",
        "/openai/deployments/gpt-4o",
        "/openai/deployments/gpt-4o/",
        "/openai/deployments//chat/completions",
        "/openai/deployments/gpt-4o//chat/completions",
        "/openai/deployments/gpt-4o/../gpt-4o/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions/",
        "/openai/deployments/gpt-4o/responses/",
        "/models",
        "/models/responses",
        "/models/gpt-4o",
        "/openai/deployments/%ff/chat/completions",
        "/health/",
        "/healthy",
        "/metrics",
        "/status",
    ];
    let body = chat().to_string();
    paths
        .iter()
        .map(|path| bad(path, body.clone(), (404, "404", "unknown_path")))
        .collect()
}

fn other_methods() -> Vec<BadRequest> {
    let expected = (405, "MethodNotAllowed", "method_not_allowed");
    let calls = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"].map(|method| (method, CHAT));
    let lists = [
        ("POST", "/openai/v1/models"),
        ("DELETE", "/v1/models/gpt-4o"),
        ("POST", "/health"),
    ];
    let all = calls.into_iter().chain(lists);
    all.map(|(method, path)| bad(path, "", expected).by(method))
        .collect()
}

fn unknown_models() -> Vec<BadRequest> {
    let expected = (404, "DeploymentNotFound", "unknown_model");
    let named = r#"{"model":"gpt-5","messages":[]}"#;
    let by_path = [
        "gpt-5",
        "gpt-4o%2fx",
        "%2e%2e",
        "gpt%2d4o%20",
        "..",
        "gpt-4o;x",
    ];
    let by_path = by_path.map(|model| {
        bad(
            &format!("/openai/deployments/{model}/chat/completions?api-version=1"),
            named,
            expected,
        )
    });
    let by_body = [
        CHAT,
        "/v1/chat/completions",
        "/openai/v1/responses",
        "/openai/responses?api-version=1",
    ];
    let by_body = by_body.map(|path| bad(path, named, expected));
    let empty = bad(CHAT, r#"{"model":""}"#, expected);
    let lists = [
        "/openai/v1/models/gpt-5",
        "/openai/models/gpt-5",
        "/v1/models/gpt-5",
        "/health/models/gpt-5",
    ];
    let lists = lists.map(|path| bad(path, "", expected).by("GET"));
    by_path
        .into_iter()
        .chain(by_body)
        .chain([empty])
        .chain(lists)
        .collect()
}

fn bad_credentials() -> Vec<BadRequest> {
    let body = chat().to_string();
    let with = |headers: &[(&'static str, &str)], reason| {
        bad(CHAT, body.clone(), (401, "401", reason)).with(headers)
    };
    let bearer = format!("Bearer {KEY}");
    vec![
        with(&[], "no_credential"),
        with(&[("authorization", "Basic eDp5")], "no_credential"),
        with(&[("x-api-key", KEY)], "no_credential"),
        with(&[("api-key", "")], "unknown_key"),
        with(&[("api-key", "another-key")], "unknown_key"),
        with(&[("authorization", "Bearer another-key")], "unknown_key"),
        with(
            &[("api-key", "another-key"), ("authorization", &bearer)],
            "ambiguous_credential",
        ),
        with(
            &[("api-key", KEY), ("api-key", "another-key")],
            "ambiguous_credential",
        ),
        bad(
            &format!("{CLASSIC}&api-key={KEY}"),
            body.clone(),
            (401, "401", "no_credential"),
        )
        .with(&[]),
    ]
}

fn bad_bodies() -> Vec<BadRequest> {
    let deep = format!(
        "{{\"model\":\"gpt-4o\",\"x\":{}{}}}",
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let endless = "[{\"a\":".repeat(10_000);
    let mut all = Vec::new();
    for path in [CHAT, "/v1/chat/completions"] {
        for (body, reason) in [
            ("", "body_not_json"),
            ("hello", "body_not_json"),
            ("[]", "body_not_json"),
            ("\"gpt-4o\"", "body_not_json"),
            (r#"{"model":"gpt-4o""#, "body_not_json"),
            (r#"{"model":"gpt-4o"} {}"#, "body_not_json"),
            ("\u{feff}{\"model\":\"gpt-4o\"}", "body_not_json"),
            (r#"{"messages":[]}"#, "model_missing"),
            ("{}", "model_missing"),
            (r#"{"model":null}"#, "model_missing"),
            (r#"{"model":7}"#, "model_not_text"),
            (r#"{"model":["gpt-4o"]}"#, "model_not_text"),
            (r#"{"model":"gpt-4o","model":"gpt-4o"}"#, "model_twice"),
            (r#"{"model":"gpt-4o","\u006dodel":"x"}"#, "model_twice"),
            (deep.as_str(), "body_too_deep"),
            (endless.as_str(), "body_too_deep"),
        ] {
            all.push(bad(path, body, (400, "400", reason)));
        }
    }
    // Where the path names the model the same depth is refused.
    all.push(bad(CLASSIC, deep, (400, "400", "body_too_deep")));
    all
}

fn bad_forms() -> Vec<BadRequest> {
    let part = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n";
    let twice = format!("{part}{part}--b--\r\n");
    [
        (
            "multipart/form-data; boundary=b",
            "nonsense",
            "body_not_multipart",
        ),
        ("multipart/form-data; boundary=b", "", "body_not_multipart"),
        (
            "multipart/form-data; boundary=b",
            part,
            "body_not_multipart",
        ),
        (
            "multipart/form-data; boundary=b",
            "--b--\r\n",
            "model_missing",
        ),
        (
            "multipart/form-data; boundary=other",
            &twice,
            "body_not_multipart",
        ),
        ("multipart/form-data; boundary=b", &twice, "model_twice"),
        ("multipart/form-data", &twice, "body_not_multipart"),
    ]
    .map(|(kind, body, reason)| {
        bad("/openai/v1/images/edits", body, (400, "400", reason))
            .with(&[("api-key", KEY), ("content-type", kind)])
    })
    .into()
}

fn too_large() -> Vec<BadRequest> {
    let large = vec![b' '; 2 << 20];
    let junk = "x".repeat(9 << 10);
    vec![
        bad(CHAT, large.clone(), (413, "413", "body_too_large")),
        bad(CLASSIC, large.clone(), (413, "413", "body_too_large")),
        // Refused before the body was read.
        bad(CHAT, large, (401, "401", "unknown_key")).with(&[("api-key", "another-key")]),
        bad(CHAT, chat().to_string(), (431, "431", "headers_too_large"))
            .with(&[("api-key", KEY), ("x-junk", &junk)]),
    ]
}

fn all() -> Vec<BadRequest> {
    [
        unknown_paths(),
        other_methods(),
        unknown_models(),
        bad_credentials(),
        bad_bodies(),
        bad_forms(),
        too_large(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn whatever_is_bad_in_a_whole_request_is_refused_and_the_connection_stays_usable() {
    let mut harness = harness().await;
    let all = all();
    let mut wire = RawConnection::open(harness.gateway.address).await;
    for (i, bad) in all.iter().enumerate() {
        let what = what(bad);
        wire.send(bad.raw()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {what}"));
        refused(&answer, bad.expected, &what);
        // Past a head that is too large the next one is not looked for.
        let ends = bad.expected.2 == "headers_too_large";
        assert_eq!(answer.keeps_open(), !ends, "{what}");
        if ends {
            assert!(wire.ends().await, "{what}");
            wire = RawConnection::open(harness.gateway.address).await;
        }
        wire.send(good_chat()).await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("not usable after {what}"));
        assert_eq!(answer.status, 200, "after {what}");
        assert_eq!(
            harness.asked("only"),
            i as u64 + 1,
            "{what} reached a deployment"
        );
    }
    every_refusal_is_in_the_log_and_counted(&harness, &all, 2 * all.len()).await;
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn the_same_is_refused_over_http_2() {
    let mut harness = harness().await;
    let http = client_builder().http2_prior_knowledge().build().unwrap();
    // No HTTP/2 client sends these paths as they are.
    let all: Vec<_> = all()
        .into_iter()
        .filter(|bad| !bad.path.contains("..") && !bad.path.contains("%2e"))
        .collect();
    for bad in &all {
        let what = what(bad);
        let answer = over_http_2(&http, &harness, bad).await;
        refused(&answer, bad.expected, &what);
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(
        harness
            .post(CHAT)
            .json(&chat())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    every_refusal_is_in_the_log_and_counted(&harness, &all, all.len() + 1).await;
    is_unharmed(&mut harness);
}

async fn over_http_2(http: &Client, harness: &Harness, bad: &BadRequest) -> Answer {
    let method = Method::from_bytes(bad.method.as_bytes()).unwrap();
    let mut request = http
        .request(method, harness.url(&bad.path))
        .body(bad.body.clone());
    for (name, value) in &bad.headers {
        request = request.header(*name, value);
    }
    let response = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", what(bad)));
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.bytes().await.unwrap().into(),
    }
}

fn what(bad: &BadRequest) -> String {
    let body = String::from_utf8_lossy(&bad.body[..bad.body.len().min(60)]).into_owned();
    format!("{} {} {body} ({})", bad.method, bad.path, bad.expected.2)
}

/// Status, Azure's error shape, an id to ask the operator with, and a message that says what to do.
fn refused(answer: &Answer, (status, code, _): (u16, &str, &str), what: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error"]["code"]),
        (status, &code.into()),
        "{what}: {body}"
    );
    let error = body["error"].as_object().unwrap();
    let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"], "{what}");
    assert!(
        error["type"].is_string() && error["param"].is_null(),
        "{what}: {body}"
    );
    let advice = [
        "Send",
        "Paths are",
        "POST",
        "Use a key",
        "lists those",
        "Nest it less",
        "Add `model`",
        "must be",
        "Name it once",
        "follow its boundary",
    ];
    let message = error["message"].as_str().unwrap();
    assert!(
        advice.iter().any(|words| message.contains(words)),
        "{what}: {message}"
    );
    assert_eq!(
        answer.header("x-request-id").map(str::len),
        Some(36),
        "{what}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

async fn every_refusal_is_in_the_log_and_counted(
    harness: &Harness,
    all: &[BadRequest],
    lines: usize,
) {
    let log = harness.log(lines).await;
    assert_eq!(log.len(), lines);
    let mut told: Vec<_> = log
        .iter()
        .filter_map(|line| line["refusal"].as_str())
        .collect();
    let mut expected: Vec<_> = all.iter().map(|bad| bad.expected.2).collect();
    // Streams of one HTTP/2 connection run side by side: an answer may be read before its line is
    // written, and the next stream's line overtakes it.
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert_eq!(refusals(harness).await, all.len() as u64);
}

/// All that `forebay_refusals_total` holds.
async fn refusals(harness: &Harness) -> u64 {
    let metrics = harness.metrics().await;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("forebay_refusals_total{"));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

fn is_unharmed(harness: &mut Harness) {
    assert_eq!(harness.gateway.ended(), None);
    let stderr = harness.gateway.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_answered_and_its_connection_closed() {
    let mut harness = harness().await;
    let chunked = "transfer-encoding: chunked\r\n";
    let unfinished = [
        post(CHAT, "content-length: 500\r\n", "{\"model\":"),
        post(CHAT, "content-length: 500\r\n", ""),
        post(CLASSIC, "content-length: 500\r\n", "{"),
        post(CHAT, chunked, "9\r\n{\"model\":\r\n"),
        post(CHAT, chunked, "9\r\n{\"mod"),
        post(CHAT, chunked, "ff"),
    ];
    for request in &unfinished {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request).await;
        wire.half_close().await;
        let what = String::from_utf8_lossy(request);
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {what}"));
        refused(&answer, (400, "400", ""), &what);
        assert!(wire.ends().await, "{what}");
    }
    assert_eq!(harness.asked("only"), 0);
    let log = harness.log(unfinished.len()).await;
    assert!(
        log.iter().all(|line| line["refusal"] == "body_unfinished"),
        "{log:?}"
    );
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn broken_chunks_are_refused_and_their_connection_closed() {
    let mut harness = harness().await;
    let broken = [
        "xyz\r\n{}\r\n0\r\n\r\n",
        "-1\r\n{}\r\n",
        "2\r\n{}xx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}",
        "2;ext\n{}\r\n0\r\n\r\n",
    ];
    for body in broken {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "transfer-encoding: chunked\r\n", body))
            .await;
        let answer = wire
            .answer()
            .await
            .unwrap_or_else(|| panic!("no answer to {body:?}"));
        refused(&answer, (400, "400", ""), body);
        assert!(wire.ends().await, "{body:?}");
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(refusals(&harness).await, broken.len() as u64);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let mut harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    wire.send(post(CHAT, "transfer-encoding: chunked\r\n", ""))
        .await;
    for _ in 0..32 {
        wire.send(&chunk).await;
    }
    wire.send("0\r\n\r\n").await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (413, "413", ""), "chunked");
    assert!(
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("1048576 bytes")
    );
    if answer.keeps_open() {
        wire.send(good_chat()).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    } else {
        assert!(wire.ends().await);
    }
    harness.log(1).await;
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn headers_of_any_size_are_refused_or_cut_off() {
    let mut harness = harness().await;
    for size in [9 << 10, 100 << 10, 900 << 10, 2 << 20, 8 << 20] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let line = format!("x-junk: {}\r\n", "x".repeat(size));
        wire.send(post(CHAT, &line, chat().to_string())).await;
        match wire.answer().await {
            Some(answer) if size < 1 << 20 => refused(&answer, (431, "431", ""), "large"),
            other => assert!(other.is_none_or(|answer| answer.status >= 400), "{size}"),
        }
    }
    assert_eq!(harness.asked("only"), 0);
    assert_eq!(harness.chat().await.status(), 200);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_body_that_is_too_slow_is_given_up() {
    let mut harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, "content-length: 500\r\n", "{\"model\":"))
        .await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (408, "408", ""), "slow");
    assert!(!answer.keeps_open());
    assert!(wire.ends().await);
    assert_eq!(harness.log(1).await[0]["refusal"], "body_too_slow");
    assert_eq!(harness.asked("only"), 0);
    is_unharmed(&mut harness);
}

#[tokio::test]
async fn a_refused_client_that_waits_for_a_go_ahead_gets_its_refusal_first() {
    let harness = harness().await;
    let body = chat().to_string();
    let lines = format!(
        "api-key: another-key\r\nexpect: 100-continue\r\ncontent-length: {}\r\n",
        body.len()
    );
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(request("POST", CHAT, &lines, "")).await;
    let answer = wire.answer().await.unwrap();
    refused(&answer, (401, "401", ""), "expect");
    assert!(!answer.keeps_open());

    let lines = "expect: 100-continue\r\ncontent-length: 2097152\r\n";
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, lines, "")).await;
    refused(&wire.answer().await.unwrap(), (413, "413", ""), "expect");

    let lines = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, &lines, "")).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.send(&body).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    wire.send(good_chat()).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_sent_at_once_on_one_connection_are_all_answered_in_their_order() {
    let harness = harness().await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let unknown = post("/openai/v1/none", "", "{}");
    wire.send([good_chat(), unknown, good_chat(), good_chat()].concat())
        .await;
    for status in [200, 404, 200, 200] {
        assert_eq!(wire.answer().await.unwrap().status, status);
    }
    assert_eq!((harness.asked("only"), harness.log(4).await.len()), (3, 4));
}

#[tokio::test]
async fn an_error_of_the_gateways_own_says_nothing_of_what_it_was_sent() {
    let harness = harness().await;
    let body = r#"{"model":"secret-project","secret-project":1}"#;
    let response = harness.post(CHAT).body(body).send().await.unwrap();
    let told: Value = response.json().await.unwrap();
    assert!(!told.to_string().contains("secret-project"), "{told}");
    eventually("its line is written", || {
        std::fs::read_to_string(harness.gateway.folder.join("access.jsonl"))
            .is_ok_and(|log| log.contains("unknown_model"))
    })
    .await;
    let log = std::fs::read_to_string(harness.gateway.folder.join("access.jsonl")).unwrap();
    assert!(!log.contains("secret-project"), "{log}");
}
