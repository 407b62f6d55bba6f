//! Clients known by their certificates, beside keys and in place of them.

use std::{fs, net::SocketAddr, path::PathBuf};

use rcgen::DnType;
use rustls::version;

use crate::{
    authority::{Authority, Says, TlsWire, client_config, dns, email, uri},
    counted,
    house::{CHAT, Gateway, House, KEY, chat, comes_true, folder, free_address},
    raw::request,
};

const OTHER_KEY: &str = "a-key-of-another-client";

/// One listener that requires certificates, one that takes them.
struct Stage {
    house: House,
    folder: PathBuf,
    required: SocketAddr,
    optional: SocketAddr,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The certificates that the clients below show, by their files' names.
fn certify(folder: &std::path::Path) {
    let (ours, another) = (
        Authority::new(folder, "ours"),
        Authority::new(folder, "another"),
    );
    ours.certify(folder, "gateway", "localhost");
    let mesh = || uri("spiffe://contoso/mesh");
    let named = |others| Says {
        others,
        ..Says::default()
    };
    let of = |subject| Says {
        subject,
        ..Says::default()
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
            Says {
                subject: batch,
                others: vec![mesh()],
                has_ended: false,
            },
        ),
        (
            "ended",
            Says {
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

impl Stage {
    async fn open() -> Self {
        let folder = folder();
        certify(&folder);
        let mut house = House::open(&[("well", 1, 1)]).await;
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
        let config = house.gateway.config();
        let (before, _) = config.split_once("clients:\n").unwrap();
        let (at, optional) = (folder.display(), free_address());
        let files = format!(
            "certificate: {at}/gateway.crt, key: {at}/gateway.key, client_ca: {at}/clients.ca"
        );
        fs::copy(folder.join("ours.ca"), folder.join("clients.ca")).unwrap();
        let listener = format!(
            ", tls: {{ {files} }} }}, {{ address: \"{optional}\", tls: {{ {files}, client_certificate: optional }}"
        );
        house.gateway = Gateway::start_as(&format!("{before}{clients}"), &listener, &[]).await;
        Self {
            required: house.gateway.address,
            optional,
            house,
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
        let mut wire = TlsWire::open_with(address, config).await.ok()?;
        wire.ask(request("POST", CHAT, &key, chat().to_string()))
            .await
    }

    /// The client of the last line of the access log, which has so many lines.
    async fn known_as(&self, lines: usize) -> String {
        let log = self.house.log(lines).await;
        assert_eq!(log.len(), lines);
        log[lines - 1]["client"]
            .as_str()
            .unwrap_or("nobody")
            .to_owned()
    }
}

#[tokio::test]
async fn a_certificate_is_its_clients_by_exactly_what_it_says() {
    let stage = Stage::open().await;
    let mut lines = 0;
    for address in [stage.required, stage.optional] {
        for (shows, client) in [
            ("uri", "mesh"),
            ("dns", "mesh"),
            ("email", "mesh"),
            ("both-of-one", "mesh"),
            ("subject", "batch"),
            ("common", "report"),
            ("two-common", "report"),
        ] {
            let (status, body) = stage.chat(address, Some(shows), None).await.unwrap();
            lines += 1;
            assert_eq!(status, 200, "{shows}: {body}");
            assert_eq!(stage.known_as(lines).await, client, "{shows}");
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
            let (status, body) = stage.chat(address, Some(shows), None).await.unwrap();
            lines += 1;
            assert_eq!(status, 401, "{shows}: {body}");
            let log = stage.house.log(lines).await;
            assert_eq!(log[lines - 1]["refusal"], "unknown_certificate", "{shows}");
            assert!(log[lines - 1]["client"].is_null(), "{shows}");
        }
        let (status, _) = stage
            .chat(address, Some("two-clients"), None)
            .await
            .unwrap();
        lines += 1;
        assert_eq!(status, 401);
        let log = stage.house.log(lines).await;
        assert_eq!(log[lines - 1]["refusal"], "ambiguous_credential");
    }
}

#[tokio::test]
async fn what_no_trusted_authority_vouches_for_gets_no_word() {
    let stage = Stage::open().await;
    for address in [stage.required, stage.optional] {
        for shows in ["forged", "ended"] {
            let answer = stage.chat(address, Some(shows), Some(KEY)).await;
            assert_eq!(answer, None, "{shows}");
        }
    }
    assert_eq!(stage.chat(stage.required, None, Some(KEY)).await, None);
    assert_eq!(stage.house.asked("well"), 0);
    let (status, _) = stage.chat(stage.optional, None, Some(KEY)).await.unwrap();
    assert_eq!((status, stage.known_as(1).await), (200, "tests".to_owned()));
    let address = stage.required;
    let series =
        format!("forebay_tls_handshake_failures_total{{listener=\"{address}\",reason=\"failed\"}}");
    comes_true("each is counted", async || {
        counted::value(&stage.house.metrics().await, &series) == 3.0
    })
    .await;
}

#[tokio::test]
async fn a_key_and_a_certificate_must_be_one_clients() {
    let stage = Stage::open().await;
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
        let (status, body) = stage.chat(stage.optional, shows, key).await.unwrap();
        let log = stage.house.log(i + 1).await;
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
    let stage = Stage::open().await;
    let (status, _) = stage.chat(stage.required, Some("uri"), None).await.unwrap();
    assert_eq!(status, 200);
    fs::copy(
        stage.folder.join("another.ca"),
        stage.folder.join("clients.ca"),
    )
    .unwrap();
    comes_true("the new authority's clients are served", async || {
        let answer = stage.chat(stage.required, Some("forged"), None).await;
        answer.is_some_and(|(status, _)| status == 200)
    })
    .await;
    assert_eq!(stage.chat(stage.required, Some("uri"), None).await, None);
    fs::write(stage.folder.join("clients.ca"), "nothing").unwrap();
    comes_true("what is wrong is said", async || {
        let status = stage.house.status().await;
        !status["listeners"][0]["certificate_error"].is_null()
    })
    .await;
    let (status, _) = stage
        .chat(stage.required, Some("forged"), None)
        .await
        .unwrap();
    assert_eq!(status, 200);
}
