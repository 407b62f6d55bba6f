//! Clients known by their certificates, beside keys and in place of them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rcgen::DnType;
use rustls::version;

use crate::{
    certificate_authority::{
        CertificateAuthority, CertificateFields, TlsConnection, client_config, dns, email, uri,
    },
    harness::{CHAT, Gateway, Harness, KEY, chat, eventually_async, folder, free_address},
    http1_client::request,
    metrics_page,
};

const OTHER_KEY: &str = "a-key-of-another-client";

/// One listener that requires certificates, one that takes them.
struct ClientCertificateFixture {
    harness: Harness,
    folder: PathBuf,
    required: SocketAddr,
    optional: SocketAddr,
}

impl Drop for ClientCertificateFixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The certificates that the clients below show, by their files' names.
fn certify(folder: &std::path::Path) {
    let (ours, another) = (
        CertificateAuthority::new(folder, "ours"),
        CertificateAuthority::new(folder, "another"),
    );
    ours.certify(folder, "gateway", "localhost");
    let mesh = || uri("spiffe://contoso/mesh");
    let named = |others| CertificateFields {
        others,
        ..CertificateFields::default()
    };
    let of = |subject| CertificateFields {
        subject,
        ..CertificateFields::default()
    };
    let batch = &[
        (DnType::CountryName, "SE"),
        (DnType::OrganizationName, "Contoso, Inc."),
        (DnType::CommonName, "batch"),
    ][..];
    for (name, says) in [
        ("uri", named(vec![mesh()])),
        ("dns", named(vec![dns("Mesh.Contoso.example")])),
        ("email", named(vec![email("mesh@contoso.example")])),
        (
            "both-of-one",
            named(vec![mesh(), dns("mesh.contoso.example")]),
        ),
        ("subject", of(batch)),
        ("common", of(&[(DnType::CommonName, "report")])),
        ("wildcard", named(vec![dns("*.contoso.example")])),
        ("deeper", named(vec![uri("spiffe://contoso/mesh/more")])),
        ("capital", named(vec![uri("spiffe://contoso/Mesh")])),
        (
            "other-kind",
            of(&[(DnType::CommonName, "mesh.contoso.example")]),
        ),
        ("part", of(&[(DnType::CommonName, "batch")])),
        ("nul", of(&[(DnType::CommonName, "report\0.evil.example")])),
        (
            "two-common",
            of(&[
                (DnType::CommonName, "report"),
                (DnType::OrganizationName, "report"),
            ]),
        ),
        ("stranger", of(&[(DnType::CommonName, "stranger")])),
        (
            "two-clients",
            CertificateFields {
                subject: batch,
                others: vec![mesh()],
                has_ended: false,
            },
        ),
        (
            "ended",
            CertificateFields {
                subject: batch,
                others: vec![mesh()],
                has_ended: true,
            },
        ),
    ] {
        ours.certify_as(folder, name, &says);
    }
    another.certify_as(folder, "forged", &named(vec![mesh()]));
}

impl ClientCertificateFixture {
    async fn open() -> Self {
        let folder = folder();
        certify(&folder);
        let mut harness = Harness::open(&[("well", 1, 1)]).await;
        let hash = |key| forebay::config::hash_key(key).unwrap().hash;
        let clients = format!(
            "clients:\n\
             \x20 tests: {{ keys: [\"{}\"], models: [\"*\"] }}\n\
             \x20 mesh:\n    models: [\"*\"]\n    certificates: [{{ uri: \"spiffe://contoso/mesh\" }}, {{ dns: mesh.contoso.example }}, {{ email: mesh@contoso.example }}]\n\
             \x20 batch:\n    models: [\"*\"]\n    keys: [\"{}\"]\n    certificates: [{{ subject: \"CN=batch,O=Contoso\\\\, Inc.,C=SE\" }}]\n\
             \x20 report:\n    models: [\"*\"]\n    certificates: [{{ common_name: report }}]\n",
            hash(KEY),
            hash(OTHER_KEY)
        );
        let config = harness.gateway.config();
        let (before, _) = config.split_once("clients:\n").unwrap();
        let (at, optional) = (folder.display(), free_address());
        let files = format!(
            "certificate: {at}/gateway.crt, key: {at}/gateway.key, client_ca: {at}/clients.ca"
        );
        fs::copy(folder.join("ours.ca"), folder.join("clients.ca")).unwrap();
        let listener = format!(
            ", tls: {{ {files} }} }}, {{ address: \"{optional}\", tls: {{ {files}, client_certificate: optional }}"
        );
        harness.gateway = Gateway::start_with(&format!("{before}{clients}"), &listener, &[]).await;
        Self {
            required: harness.gateway.address,
            optional,
            harness,
            folder,
        }
    }

    /// A chat with this certificate and key: status and body; `None` where the handshake came to nothing.
    async fn chat(
        &self,
        address: SocketAddr,
        shows: Option<&str>,
        key: Option<&str>,
    ) -> Option<(u16, String)> {
        let key = key.map_or(String::new(), |key| format!("api-key: {key}\r\n"));
        let config = client_config(&self.folder, shows, &[&version::TLS13, &version::TLS12]);
        let mut wire = TlsConnection::open_with(address, config).await.ok()?;
        wire.ask(request("POST", CHAT, &key, chat().to_string()))
            .await
    }

    /// The client of the last line of the access log, which has so many lines.
    async fn known_as(&self, lines: usize) -> String {
        let log = self.harness.log(lines).await;
        assert_eq!(log.len(), lines);
        log[lines - 1]["client"]
            .as_str()
            .unwrap_or("nobody")
            .to_owned()
    }
}

#[tokio::test]
async fn a_certificate_is_its_clients_by_exactly_what_it_says() {
    let fixture = ClientCertificateFixture::open().await;
    let mut lines = 0;
    for address in [fixture.required, fixture.optional] {
        for (shows, client) in [
            ("uri", "mesh"),
            ("dns", "mesh"),
            ("email", "mesh"),
            ("both-of-one", "mesh"),
            ("subject", "batch"),
            ("common", "report"),
            ("two-common", "report"),
        ] {
            let (status, body) = fixture.chat(address, Some(shows), None).await.unwrap();
            lines += 1;
            assert_eq!(status, 200, "{shows}: {body}");
            assert_eq!(fixture.known_as(lines).await, client, "{shows}");
        }
        for shows in [
            "wildcard",
            "deeper",
            "capital",
            "other-kind",
            "part",
            "nul",
            "stranger",
        ] {
            let (status, body) = fixture.chat(address, Some(shows), None).await.unwrap();
            lines += 1;
            assert_eq!(status, 401, "{shows}: {body}");
            let log = fixture.harness.log(lines).await;
            assert_eq!(log[lines - 1]["refusal"], "unknown_certificate", "{shows}");
            assert!(log[lines - 1]["client"].is_null(), "{shows}");
        }
        let (status, _) = fixture
            .chat(address, Some("two-clients"), None)
            .await
            .unwrap();
        lines += 1;
        assert_eq!(status, 401);
        let log = fixture.harness.log(lines).await;
        assert_eq!(log[lines - 1]["refusal"], "ambiguous_credential");
    }
}

#[tokio::test]
async fn what_no_trusted_authority_vouches_for_gets_no_word() {
    let fixture = ClientCertificateFixture::open().await;
    for address in [fixture.required, fixture.optional] {
        for shows in ["forged", "ended"] {
            let answer = fixture.chat(address, Some(shows), Some(KEY)).await;
            assert_eq!(answer, None, "{shows}");
        }
    }
    assert_eq!(fixture.chat(fixture.required, None, Some(KEY)).await, None);
    assert_eq!(fixture.harness.asked("well"), 0);
    let (status, _) = fixture
        .chat(fixture.optional, None, Some(KEY))
        .await
        .unwrap();
    assert_eq!(
        (status, fixture.known_as(1).await),
        (200, "tests".to_owned())
    );
    let address = fixture.required;
    let series =
        format!("forebay_tls_handshake_failures_total{{listener=\"{address}\",reason=\"failed\"}}");
    eventually_async("each is counted", async || {
        metrics_page::value(&fixture.harness.metrics().await, &series) == 3.0
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_a_browser_shows_for_a_page_of_elsewhere_proves_nobody() {
    let fixture = ClientCertificateFixture::open().await;
    let ask = async |lines: String, key: bool| {
        let config = client_config(&fixture.folder, Some("subject"), &[&version::TLS13]);
        let mut wire = TlsConnection::open_with(fixture.required, config)
            .await
            .unwrap();
        let key = if key {
            format!("api-key: {OTHER_KEY}\r\n")
        } else {
            String::new()
        };
        let lines = format!("{key}content-type: text/plain\r\n{lines}");
        wire.ask(request("POST", CHAT, &lines, chat().to_string()))
            .await
            .unwrap()
            .0
    };
    let origin = |origin: &str| format!("origin: {origin}\r\n");
    for (lines, key, status) in [
        (String::new(), false, 200),
        (origin("https://gateway"), false, 200),
        (origin("https://evil.example"), false, 403),
        (origin("null"), false, 403),
        (origin("https://gateway.evil.example"), false, 403),
        // Whoever made this page was given a key.
        (origin("https://evil.example"), true, 200),
    ] {
        assert_eq!(ask(lines.clone(), key).await, status, "{lines} {key}");
    }
    // Nor does it open a WebSocket, which no browser asks about before.
    for (from, code) in [
        ("https://evil.example", "another origin"),
        ("https://gateway", "operation"),
    ] {
        let config = client_config(&fixture.folder, Some("subject"), &[&version::TLS13]);
        let mut wire = TlsConnection::open_with(fixture.required, config)
            .await
            .unwrap();
        let head = format!(
            "GET /v1/realtime?model=gpt-4o HTTP/1.1\r\nhost: gateway\r\norigin: {from}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let (status, body) = wire.ask(head).await.unwrap();
        assert_eq!(status, 403);
        assert!(body.contains(code), "{body}");
    }
}

#[tokio::test]
async fn a_key_and_a_certificate_must_be_one_clients() {
    let fixture = ClientCertificateFixture::open().await;
    for (i, (shows, key, client)) in [
        (Some("subject"), Some(OTHER_KEY), Ok("batch")),
        (Some("stranger"), Some(KEY), Ok("tests")),
        (None, Some(KEY), Ok("tests")),
        (Some("subject"), Some(KEY), Err("ambiguous_credential")),
        (Some("uri"), Some(KEY), Err("ambiguous_credential")),
        (Some("uri"), Some("no-key-of-anybody"), Err("unknown_key")),
        (
            Some("two-clients"),
            Some(OTHER_KEY),
            Err("ambiguous_credential"),
        ),
        (None, None, Err("no_credential")),
        (Some("stranger"), None, Err("unknown_certificate")),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, body) = fixture.chat(fixture.optional, shows, key).await.unwrap();
        let log = fixture.harness.log(i + 1).await;
        let line = &log[i];
        match client {
            Ok(client) => assert_eq!((status, &line["client"]), (200, &client.into()), "{body}"),
            Err(refusal) => {
                assert_eq!((status, &line["refusal"]), (401, &refusal.into()), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn authorities_are_replaced_while_it_serves() {
    let fixture = ClientCertificateFixture::open().await;
    let (status, _) = fixture
        .chat(fixture.required, Some("uri"), None)
        .await
        .unwrap();
    assert_eq!(status, 200);
    fs::copy(
        fixture.folder.join("another.ca"),
        fixture.folder.join("clients.ca"),
    )
    .unwrap();
    eventually_async("the new authority's clients are served", async || {
        let answer = fixture.chat(fixture.required, Some("forged"), None).await;
        answer.is_some_and(|(status, _)| status == 200)
    })
    .await;
    assert_eq!(
        fixture.chat(fixture.required, Some("uri"), None).await,
        None
    );
    fs::write(fixture.folder.join("clients.ca"), "nothing").unwrap();
    eventually_async("what is wrong is said", async || {
        let status = fixture.harness.status().await;
        !status["listeners"][0]["certificate_error"].is_null()
    })
    .await;
    let (status, _) = fixture
        .chat(fixture.required, Some("forged"), None)
        .await
        .unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_partners_authority_can_name_nobody_but_its_own_clients() {
    let folder = folder();
    let (ours, partner) = (
        CertificateAuthority::new(&folder, "ours"),
        CertificateAuthority::new(&folder, "partner"),
    );
    ours.certify(&folder, "gateway", "localhost");
    let mesh = CertificateFields {
        subject: &[(DnType::CommonName, "mesh")],
        ..CertificateFields::default()
    };
    ours.certify_as(&folder, "mesh", &mesh);
    partner.certify_as(&folder, "impostor", &mesh);
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let at = folder.display();
    let files = |ca: &str| {
        format!(
            "tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key, client_ca: {at}/{ca}.ca }}"
        )
    };
    let second = free_address();
    let listeners = format!(
        ", {} }}, {{ address: \"{second}\", {}",
        files("ours"),
        files("partner")
    );
    let config = harness.gateway.config();
    let (before, _) = config.split_once("clients:\n").unwrap();
    let clients = |theirs: &str| {
        format!(
            "{before}clients:\n\
             \x20 mesh: {{ models: [\"*\"], certificates: [{{ common_name: mesh, ca: {at}/ours.ca }}] }}\n\
             \x20 partner: {{ models: [\"*\"], certificates: [{{ {theirs} }}] }}\n"
        )
    };
    let known_as = async |address, shows: &str| status_of(&folder, address, shows).await;
    // The partner's `mesh` is a client of the partner's, and of nobody where it has none of that name.
    for (theirs, impostor) in [
        (
            format!("common_name: mesh, ca: {at}/partner.ca"),
            Some("partner"),
        ),
        (format!("common_name: other, ca: {at}/partner.ca"), None),
    ] {
        let gateway = Gateway::start_with(&clients(&theirs), &listeners, &[]).await;
        let status = known_as(gateway.address, "mesh").await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(client_of_last(&gateway, 1).await.as_deref(), Some("mesh"));
        let status = known_as(second, "impostor").await.unwrap();
        assert_eq!(status, if impostor.is_some() { 200 } else { 401 });
        assert_eq!(client_of_last(&gateway, 2).await.as_deref(), impostor);
        // Nor does either listener believe the other's authority.
        assert_eq!(known_as(gateway.address, "impostor").await, None);
        assert_eq!(known_as(second, "mesh").await, None);
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// What a client is answered that shows this certificate; `None` where its connection ends.
async fn status_of(folder: &Path, address: SocketAddr, shows: &str) -> Option<u16> {
    let config = client_config(folder, Some(shows), &[&version::TLS13, &version::TLS12]);
    let mut wire = TlsConnection::open_with(address, config).await.ok()?;
    let answer = wire.ask(request("POST", CHAT, "", chat().to_string()));
    Some(answer.await?.0)
}

/// Whose the last of so many requests was, by the log.
async fn client_of_last(gateway: &Gateway, lines: usize) -> Option<String> {
    let file = gateway.folder.join("access.jsonl");
    let read = || fs::read_to_string(&file).unwrap_or_default();
    eventually_async("the line is there", async || {
        read().lines().count() == lines
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(read().lines().last().unwrap()).unwrap();
    line["client"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn an_authority_added_to_the_file_is_not_believed_where_names_are_not_bound() {
    let fixture = ClientCertificateFixture::open().await;
    let file = |name: &str| fs::read(fixture.folder.join(name)).unwrap();
    let both = [file("ours.ca"), file("another.ca")].concat();
    fs::write(fixture.folder.join("clients.ca"), both).unwrap();
    eventually_async("what is wrong is said", async || {
        let status = fixture.harness.status().await;
        let error = status["listeners"][0]["certificate_error"].as_str();
        error.is_some_and(|error| error.contains("several certificate authorities"))
    })
    .await;
    let (status, _) = fixture
        .chat(fixture.required, Some("uri"), None)
        .await
        .unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        fixture.chat(fixture.required, Some("forged"), None).await,
        None
    );
}
