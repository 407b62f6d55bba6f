//! Who may look at the admin listener.

use std::{fs, path::PathBuf};

use reqwest::{Client, Identity, StatusCode};

use crate::{
    certificate_authority::{CertificateAuthority, CertificateFields},
    harness::{Gateway, Harness, client, client_builder, folder},
    http1_client::RawConnection,
};

const TOKEN: &str = "a-token-of-the-operators";
const PATHS: [(&str, bool); 6] = [
    ("/metrics", false),
    ("/status", false),
    ("/elsewhere", false),
    ("/", true),
    ("/health/live", true),
    ("/health/ready", true),
];

/// What a page answers: 200 and 404 let in, the rest does not.
async fn answers(http: &Client, url: &str, headers: &[(&str, &str)]) -> (StatusCode, bool) {
    let request = http.get(url);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = request.send().await.unwrap();
    let asks = answer.headers().get("www-authenticate");
    let asks = asks.is_some_and(|value| value == "Bearer realm=\"forebay\"");
    (answer.status(), asks)
}

#[tokio::test]
async fn on_loopback_nobody_is_asked_but_pages_of_other_names_are_turned_away() {
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let admin = harness.gateway.admin;
    let hosts = [
        (admin.to_string(), 200),
        (format!("localhost:{}", admin.port()), 200),
        ("rebound.example".to_owned(), 403),
        (format!("rebound.example:{}", admin.port()), 403),
        ("10.0.0.4".to_owned(), 403),
    ];
    for path in ["/metrics", "/"] {
        let url = format!("http://{admin}{path}");
        for (host, status) in &hosts {
            let answer = answers(&harness.http, &url, &[("host", host)]).await;
            assert_eq!((answer.0.as_u16(), answer.1), (*status, false), "{host}");
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_and_nothing_like_it_is_taken() {
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let hash = forebay::config::hash_key(TOKEN).unwrap().hash;
    let guard = format!(", token: \"{hash}\"");
    let config = harness.gateway.config();
    let gateway = Gateway::start_with_admin(&config, "", &guard, ("http", client()), &[]).await;
    let hash = hash.to_string();
    let digits = hash.trim_start_matches("sha256:");
    for (shown, known) in [
        (vec![], false),
        (vec![format!("Bearer {TOKEN}")], true),
        (vec![format!("bearer {TOKEN}")], true),
        (vec![format!("Bearer {TOKEN}x")], false),
        (vec![format!("Bearer {}", &TOKEN[1..])], false),
        (vec!["Bearer ".to_owned()], false),
        (vec![TOKEN.to_owned()], false),
        (vec![format!("Basic {TOKEN}")], false),
        // The hash is no token.
        (vec![format!("Bearer {hash}")], false),
        (vec![format!("Bearer {digits}")], false),
        // Of two, who knows which one somebody else looks at.
        (
            vec![format!("Bearer {TOKEN}"), "Bearer x".to_owned()],
            false,
        ),
        (vec![format!("Bearer {}", "x".repeat(5000))], false),
    ] {
        let shown: Vec<_> = shown
            .iter()
            .map(|it| ("authorization", it.as_str()))
            .collect();
        for (path, open) in PATHS {
            let url = format!("http://{}{path}", gateway.admin);
            let (status, asks) = answers(&harness.http, &url, &shown).await;
            let let_in = open || known;
            assert_eq!(status != 401, let_in, "{path} {shown:?}: {status}");
            assert_eq!(asks, !let_in, "{path} {shown:?}");
        }
    }
    let told = gateway.stderr();
    assert!(!told.contains(TOKEN) && !told.contains(digits), "{told}");
}

/// The folder of a gateway's and its operators' certificates, and a client for whoever shows one of them.
struct Operators {
    folder: PathBuf,
    files: String,
}

impl Operators {
    fn new() -> Self {
        let folder = folder();
        let (ours, another) = (
            CertificateAuthority::new(&folder, "ours"),
            CertificateAuthority::new(&folder, "another"),
        );
        ours.certify(&folder, "gateway", "localhost");
        let says = |name, has_ended| CertificateFields {
            subject: Box::leak(Box::new([(rcgen::DnType::CommonName, name)])),
            has_ended,
            ..CertificateFields::default()
        };
        ours.certify_as(&folder, "prometheus", &says("prometheus", false));
        ours.certify_as(&folder, "batch", &says("batch", false));
        ours.certify_as(&folder, "ended", &says("prometheus", true));
        another.certify_as(&folder, "stranger", &says("prometheus", false));
        let at = folder.display();
        let files = format!(
            "certificate: {at}/gateway.crt, key: {at}/gateway.key, client_ca: {at}/ours.ca"
        );
        Self { folder, files }
    }

    fn http(&self, shows: Option<&str>) -> Client {
        let ca = fs::read(self.folder.join("ours.ca")).unwrap();
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let builder = client_builder().add_root_certificate(ca);
        let builder = match shows {
            None => builder,
            Some(name) => {
                let file = |kind| fs::read(self.folder.join(format!("{name}.{kind}"))).unwrap();
                let both = [file("crt"), file("key")].concat();
                builder.identity(Identity::from_pem(&both).unwrap())
            }
        };
        builder.build().unwrap()
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn of_an_authoritys_certificates_those_of_named_operators_open_and_no_other() {
    let operators = Operators::new();
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let config = harness.gateway.config();
    let (files, named) = (
        &operators.files,
        "certificates: [{ common_name: prometheus }]",
    );
    let guard = format!(", tls: {{ {files}, client_certificate: optional }}, {named}");
    let ready = ("https", operators.http(None));
    let gateway = Gateway::start_with_admin(&config, "", &guard, ready, &[]).await;
    for (shows, known) in [
        (None, false),
        (Some("prometheus"), true),
        // One of the same authority, for something else.
        (Some("batch"), false),
    ] {
        for (path, open) in PATHS {
            let url = format!("https://localhost:{}{path}", gateway.admin.port());
            let (status, asks) = answers(&operators.http(shows), &url, &[]).await;
            assert_eq!(status != 403, open || known, "{shows:?} {path}: {status}");
            assert!(!asks, "no token would help");
        }
    }
    let url = format!("https://localhost:{}/health/live", gateway.admin.port());
    for shows in ["stranger", "ended"] {
        let answer = operators.http(Some(shows)).get(&url).send().await;
        assert!(answer.is_err(), "{shows}");
    }

    // Required: who shows none does not even get to ask.
    let guard = format!(", tls: {{ {files} }}, {named}");
    let ready = ("https", operators.http(Some("prometheus")));
    let gateway = Gateway::start_with_admin(&config, "", &guard, ready, &[]).await;
    let url = format!("https://localhost:{}/metrics", gateway.admin.port());
    for shows in [None, Some("stranger"), Some("ended")] {
        let answer = operators.http(shows).get(&url).send().await;
        assert!(answer.is_err(), "{shows:?}");
    }
    for (shows, status) in [("prometheus", 200), ("batch", 403)] {
        let http = operators.http(Some(shows));
        assert_eq!(answers(&http, &url, &[]).await.0, status, "{shows}");
    }
}

#[tokio::test]
async fn where_token_and_certificate_are_configured_both_are_shown() {
    let operators = Operators::new();
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let config = harness.gateway.config();
    let hash = forebay::config::hash_key(TOKEN).unwrap().hash;
    let files = &operators.files;
    let guard = format!(
        ", tls: {{ {files}, client_certificate: optional }}, token: \"{hash}\", certificates: [{{ common_name: prometheus }}]"
    );
    let ready = ("https", operators.http(None));
    let gateway = Gateway::start_with_admin(&config, "", &guard, ready, &[]).await;
    let token = format!("Bearer {TOKEN}");
    let token = [("authorization", token.as_str())];
    let url = format!("https://localhost:{}/status", gateway.admin.port());
    for (shows, headers, expected) in [
        (None, &[][..], (403, false)),
        (None, &token[..], (403, false)),
        (Some("batch"), &token, (403, false)),
        (Some("prometheus"), &[], (401, true)),
        (Some("prometheus"), &token, (200, false)),
    ] {
        let (status, asks) = answers(&operators.http(shows), &url, headers).await;
        assert_eq!((status.as_u16(), asks), expected, "{shows:?}");
    }
}

/// With the status that answers each.
fn malformed_heads(secret: &str) -> Vec<(String, u16)> {
    vec![
        (
            format!("GET /status HTTP/1.1\r\nhost: a\r\n{secret}no colon\r\n\r\n"),
            400,
        ),
        (
            format!("GET /status HTTP/1.1\r\n{secret}host: a\r\nhost: b\r\n\r\n"),
            400,
        ),
        (
            format!("GET  /status HTTP/1.1\r\nhost: a\r\n{secret}\r\n"),
            400,
        ),
        (
            format!("GET /status HTTP/9.9\r\nhost: a\r\n{secret}\r\n"),
            400,
        ),
        (
            format!("GET /status HTTP/1.1\r\nhost: a\r\n{secret}x: \u{1}\r\n\r\n"),
            400,
        ),
        (
            format!("GET /status HTTP/1.1\r\nhost: a\r\n folded: {TOKEN}\r\n\r\n"),
            400,
        ),
        (
            format!(
                "GET /status HTTP/1.1\r\nhost: a\r\n{secret}x: {}\r\n\r\n",
                "y".repeat(70_000)
            ),
            431,
        ),
        (
            format!(
                "POST /status HTTP/1.1\r\nhost: a\r\n{secret}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"
            ),
            400,
        ),
    ]
}

#[tokio::test]
async fn a_malformed_head_is_answered_and_nothing_of_it_is_in_the_log() {
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let config = harness.gateway.config();
    let loudest = [("FOREBAY_LOG", "trace")];
    let gateway = Gateway::start_with_admin(&config, "", "", ("http", client()), &loudest).await;
    let secret = format!("authorization: Bearer {TOKEN}\r\n");
    for (head, status) in malformed_heads(&secret) {
        let mut wire = RawConnection::open(gateway.admin).await;
        wire.send(&head).await;
        let answer = wire.answer_to("GET").await.expect("it is answered");
        assert_eq!(
            (answer.status, answer.keeps_open()),
            (status, false),
            "{head:.60}"
        );
        assert!(wire.ends().await);
    }
    let mut wire = RawConnection::open(gateway.admin).await;
    for _ in 0..2 {
        let host = format!("host: {}\r\n", gateway.admin);
        let head = format!("GET /health/live HTTP/1.1\r\n{host}{secret}\r\n");
        wire.send(head).await;
        assert_eq!(wire.answer_to("GET").await.unwrap().status, 200);
    }
    let told = gateway.stderr();
    assert!(told.contains("was rejected"), "{told}");
    assert!(!told.contains(TOKEN), "a credential is in the log");
    // They are no client's requests.
    let page = crate::metrics_page::page(&client(), gateway.admin).await;
    assert!(
        !page.contains("forebay_refusals_total{client=\"none\",reason=\"malformed"),
        "{page}"
    );
}
