//! Sessions over TLS, on both sides.

use std::{fs, sync::Arc};

use forebay::simulator::{self, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{KEY_LINE, Socket, V1, update};
use crate::harness::{Gateway, Harness, INSTANCE_KEY, KEY, client, folder};

/// A gateway and an instance, both behind TLS, and what a client believes them by.
async fn harness() -> (Harness, RootCertStore) {
    let (folder, authority_key) = (folder(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(certificate.der().to_vec()))
        .unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let (names, key) = (
        CertificateParams::new(["localhost".to_owned()]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    let own = names.signed_by(&key, &issuer).unwrap();
    for (name, pem) in [
        ("ca", certificate.pem()),
        ("crt", own.pem()),
        ("key", key.serialize_pem()),
    ] {
        fs::write(folder.join(name), pem).unwrap();
    }
    let at = folder.display();
    let tls = format!("tls: {{ certificate: {at}/crt, key: {at}/key }}");
    let simulation = format!(
        "control: 127.0.0.1:0\nrecord: full\ninstances:\n  only: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], {tls}, deployments: {{ gpt-4o: {{ model: gpt-4o }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let address = simulator.address("only").unwrap();
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"https://localhost:{}\", connect_to: \"{address}\", identity: key, ca: {at}/ca }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"], operations: [inference, realtime] }} }}\n",
        address.port(),
        forebay::config::hash_key(KEY).unwrap().hash
    );
    let gateway = Gateway::start_with(&config, &format!(", {tls}"), &[]).await;
    fs::remove_dir_all(&folder).unwrap();
    let http = client();
    (
        Harness {
            simulator,
            gateway,
            http,
        },
        roots,
    )
}

/// Both ends would rather speak HTTP/2, which has no such handshake.
#[tokio::test]
async fn a_session_over_tls_is_spoken_over_http_1_on_both_sides() {
    let (harness, roots) = harness().await;
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..2 {
        // An HTTP/2 connection to the instance is there, too.
        let tcp = TcpStream::connect(harness.gateway.address).await.unwrap();
        let stream = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        let mut socket = Socket::over(stream, harness.gateway.address, V1, KEY_LINE).await;
        assert_eq!(socket.hear().await["session"]["model"], "gpt-4o");
        socket.say(&update()).await;
        assert_eq!(socket.hear().await["type"], "session.updated");
        assert!(socket.close(1000, "").await.is_some());
        let seen = harness.seen("only").pop().unwrap();
        assert_eq!(
            (seen.http_version.as_str(), seen.path.as_str()),
            ("HTTP/1.1", "/openai/v1/realtime?model=gpt-4o")
        );
        let trusting = crate::harness::client_builder()
            .danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let url = format!(
            "https://localhost:{}{}",
            harness.gateway.address.port(),
            crate::harness::CHAT
        );
        let chatted = trusting
            .post(url)
            .header("api-key", KEY)
            .json(&crate::harness::chat())
            .send()
            .await
            .unwrap();
        assert_eq!(chatted.status(), 200);
        assert_eq!(harness.seen("only").pop().unwrap().http_version, "HTTP/2.0");
    }
}
