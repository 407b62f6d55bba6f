//! Bad requests that HTTP can carry whole, and what is said of each.

use super::CLASSIC;
use crate::{
    harness::{CHAT, KEY, chat},
    http1_client::request,
};

/// A bad request that HTTP can carry whole, and what is said of it: status, code and reason.
pub(super) struct BadRequest {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) expected: (u16, &'static str, &'static str),
}

pub(super) fn bad(
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

    pub(super) fn raw(&self) -> Vec<u8> {
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

pub(super) fn all() -> Vec<BadRequest> {
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
