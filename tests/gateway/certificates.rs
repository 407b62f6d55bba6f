//! A listener's certificate is renewed while it serves; files that are not sound change nothing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustls::{HandshakeKind, ProtocolVersion, version};

use crate::{
    certificate_authority::{
        CertificateAuthority, CertificateFields, TlsConnection, client_config, dns,
    },
    harness::{
        CHAT, Gateway, Harness, KEY, chat, client_builder, eventually, eventually_async, folder,
        forebay, output_of, streamed,
    },
    http1_client::good_chat,
    metrics_page,
    scripted_upstream::{STREAM, ScriptedUpstream},
};

/// A gateway behind TLS, whose certificate lies in a folder of the test's own, and the authority that signs it.
struct RenewalFixture {
    harness: Harness,
    upstream: Option<ScriptedUpstream>,
    authority: CertificateAuthority,
    folder: PathBuf,
}

impl Drop for RenewalFixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl RenewalFixture {
    async fn open() -> Self {
        let folder = folder();
        let authority = CertificateAuthority::new(&folder, "ours");
        authority.certify(&folder, "gateway", "localhost");
        let harness = Harness::open(&[("well", 1, 1)]).await;
        Self::before(harness, None, authority, folder, "gateway").await
    }

    async fn before(
        mut harness: Harness,
        upstream: Option<ScriptedUpstream>,
        authority: CertificateAuthority,
        folder: PathBuf,
        name: &str,
    ) -> Self {
        let config = harness.gateway.config();
        let at = folder.join(name).display().to_string();
        let tls = format!(", tls: {{ certificate: {at}.crt, key: {at}.key }}");
        harness.gateway = Gateway::start_with(&config, &tls, &[]).await;
        Self {
            harness,
            upstream,
            authority,
            folder,
        }
    }

    async fn connect(&self) -> TlsConnection {
        TlsConnection::open(self.harness.gateway.address, &self.folder).await
    }

    /// Until a new handshake shows another certificate than this.
    async fn renewed(&self, old: &[u8]) -> Vec<u8> {
        let mut shown = old.to_vec();
        eventually_async("a new handshake shows the new certificate", async || {
            shown = self.connect().await.shown();
            shown != old
        })
        .await;
        shown
    }

    async fn reloads(&self, result: &str) -> f64 {
        let address = self.harness.gateway.address;
        let series = format!(
            "forebay_certificate_reloads_total{{listener=\"{address}\",result=\"{result}\"}}"
        );
        metrics_page::value(&self.harness.metrics().await, &series)
    }

    async fn error(&self) -> Option<String> {
        let status = self.harness.status().await;
        status["listeners"][0]["certificate_error"]
            .as_str()
            .map(str::to_owned)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A folder that stands for a mounted secret: its files are links through a link that is swapped in one step.
fn mount(folder: &Path, version: &str, pair: (String, String)) {
    fs::create_dir(folder.join(version)).unwrap();
    crate::certificate_authority::write(&folder.join(version), "tls", pair);
    let new = folder.join("..new");
    symlink(version, &new).unwrap();
    fs::rename(&new, folder.join("..data")).unwrap();
}

fn for_localhost() -> rcgen::CertificateParams {
    rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap()
}

#[tokio::test]
async fn a_renewal_under_load_drops_no_connection_and_no_stream() {
    let fixture = mounted().await;
    let upstream = fixture.upstream.as_ref().unwrap();
    let ca = fs::read(fixture.file("ours.ca")).unwrap();
    let url = format!(
        "https://localhost:{}{CHAT}",
        fixture.harness.gateway.address.port()
    );

    // A stream that runs through it all, over HTTP/2.
    let http = || {
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        client_builder().add_root_certificate(ca).build().unwrap()
    };
    let stream = http().post(&url).header("api-key", KEY).json(&streamed());
    let stream = tokio::spawn(async move { stream.send().await.unwrap() });
    let mut call = upstream.call().await;
    call.send(STREAM).await;
    call.chunk(delta("before")).await;
    let mut stream = stream.await.unwrap();
    assert_eq!(stream.version(), reqwest::Version::HTTP_2);
    let mut text = String::new();
    while !text.contains("before") {
        text += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }

    // From here on the upstream answers every request at once.
    let answering = {
        let upstream = fixture.upstream.as_ref().unwrap();
        async move {
            loop {
                let mut call = upstream.call().await;
                call.answer("200 OK", br#"{"choices":[]}"#).await;
            }
        }
    };
    let mut kept = fixture.connect().await;
    let old = kept.shown();
    let load = renews_under_load(&fixture, &mut kept, &old, http, &url);
    let new = tokio::select! {
        new = load => new,
        () = answering => unreachable!(),
    };
    assert_ne!(new, old);
    // The connection of before goes on, and so does the stream.
    let (answer, _) = tokio::join!(kept.ask(good_chat()), async {
        let mut call = upstream.call().await;
        call.answer("200 OK", br#"{"choices":[]}"#).await;
    });
    assert_eq!(answer.unwrap().0, 200);
    call.chunk(delta("after")).await;
    call.chunk("data: [DONE]\n\n").await;
    call.end().await;
    while let Some(piece) = stream.chunk().await.unwrap() {
        text += std::str::from_utf8(&piece).unwrap();
    }
    assert!(
        text.contains("after") && text.ends_with("[DONE]\n\n"),
        "{text}"
    );
    assert_eq!(
        (
            fixture.reloads("success").await,
            fixture.reloads("failure").await
        ),
        (1.0, 0.0)
    );
}

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// A gateway whose certificate is mounted as Kubernetes does it, before a scripted upstream.
async fn mounted() -> RenewalFixture {
    let folder = folder();
    let authority = CertificateAuthority::new(&folder, "ours");
    mount(&folder, "..1", authority.sign(for_localhost()));
    for kind in ["crt", "key"] {
        symlink(
            format!("..data/tls.{kind}"),
            folder.join(format!("tls.{kind}")),
        )
        .unwrap();
    }
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    RenewalFixture::before(harness, Some(upstream), authority, folder, "tls").await
}

/// Four askers go on while the certificate is renewed; what is shown then.
async fn renews_under_load(
    fixture: &RenewalFixture,
    kept: &mut TlsConnection,
    old: &[u8],
    http: impl Fn() -> reqwest::Client,
    url: &str,
) -> Vec<u8> {
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut askers = tokio::task::JoinSet::new();
    for i in 0..4 {
        let mut wire = fixture.connect().await;
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        let (http, url) = (http(), url.to_owned());
        askers.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                // Half of them over one connection by hand, which must not end.
                if i % 2 == 0 {
                    assert_eq!(wire.ask(good_chat()).await.expect("it goes on").0, 200);
                } else {
                    let answer = http.post(&url).header("api-key", KEY).json(&chat());
                    assert_eq!(answer.send().await.unwrap().status(), 200);
                }
                asked.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    assert_eq!(kept.ask(good_chat()).await.unwrap().0, 200);
    eventually("there is load", || asked.load(Ordering::Acquire) > 20).await;
    mount(
        &fixture.folder,
        "..2",
        fixture.authority.sign(for_localhost()),
    );
    let new = fixture.renewed(old).await;
    let at_renewal = asked.load(Ordering::Acquire);
    eventually("the load goes on", || {
        asked.load(Ordering::Acquire) > at_renewal + 20
    })
    .await;
    stop.store(true, Ordering::Release);
    while let Some(asker) = askers.join_next().await {
        asker.unwrap();
    }
    new
}

/// They are looked at every second, and can't be opened for a while.
#[tokio::test]
async fn a_gateway_out_of_open_files_takes_no_certificate_for_unsound() {
    let fixture = RenewalFixture::open().await;
    let old = fixture.connect().await.shown();
    crate::open_files::limit(&fixture.harness.gateway, "8:");
    fixture
        .authority
        .certify(&fixture.folder, "gateway", "localhost");
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    crate::open_files::limit(&fixture.harness.gateway, "4096:");
    fixture.renewed(&old).await;
    let reloads = (
        fixture.reloads("success").await,
        fixture.reloads("failure").await,
    );
    assert_eq!(reloads, (1.0, 0.0));
    let said = fixture.harness.gateway.stderr();
    assert!(!said.contains("certificate_invalid"), "{said}");
}

#[tokio::test]
async fn half_a_renewal_is_not_taken_and_the_other_half_completes_it() {
    let fixture = RenewalFixture::open().await;
    let old = fixture.connect().await.shown();
    let (certificate, key) = fixture.authority.sign(for_localhost());
    fs::write(fixture.file("gateway.crt"), certificate).unwrap();
    eventually_async("the misfit is said", async || {
        fixture.error().await.is_some()
    })
    .await;
    assert!(
        fixture
            .error()
            .await
            .unwrap()
            .contains("does not match the certificate")
    );
    assert_eq!(fixture.connect().await.shown(), old);
    assert_eq!(
        (
            fixture.reloads("success").await,
            fixture.reloads("failure").await
        ),
        (0.0, 1.0)
    );

    fs::write(fixture.file("gateway.key"), key).unwrap();
    fixture.renewed(&old).await;
    assert_eq!(fixture.error().await, None);
    assert_eq!(
        (
            fixture.reloads("success").await,
            fixture.reloads("failure").await
        ),
        (1.0, 1.0)
    );
    let told = fixture.harness.gateway.stderr();
    assert_eq!(
        told.matches("have changed but can't be used").count(),
        1,
        "{told}"
    );
    assert_eq!(
        told.matches("the renewed certificate is now in use")
            .count(),
        1,
        "{told}"
    );
}

#[tokio::test]
async fn files_that_are_no_certificates_change_nothing_and_are_told_once() {
    let fixture = RenewalFixture::open().await;
    let old = fixture.connect().await.shown();
    let file = fixture.file("gateway.crt");
    let sound = fs::read(&file).unwrap();
    let ended = || {
        let mut params = for_localhost();
        (params.not_before, params.not_after) = (
            rcgen::date_time_ymd(2020, 1, 1),
            rcgen::date_time_ymd(2021, 1, 1),
        );
        fixture.authority.sign(params)
    };
    type Break<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let breaks: [Break<'_>; 4] = [
        (
            "contains no certificate",
            Box::new(|| fs::write(&file, "not PEM").unwrap()),
        ),
        (
            "can't be read",
            Box::new(|| fs::remove_file(&file).unwrap()),
        ),
        (
            "is not a valid PEM",
            Box::new(|| fs::write(&file, &sound[..sound.len() / 2]).unwrap()),
        ),
        (
            "has already expired",
            Box::new(|| crate::certificate_authority::write(&fixture.folder, "gateway", ended())),
        ),
    ];
    for (words, harm) in breaks {
        harm();
        eventually_async(words, async || {
            fixture
                .error()
                .await
                .is_some_and(|error| error.contains(words))
        })
        .await;
        assert_eq!(fixture.connect().await.shown(), old, "{words}");
    }
    let failures = fixture.reloads("failure").await;
    assert_eq!((fixture.reloads("success").await, failures), (0.0, 4.0));
    let told = fixture.harness.gateway.stderr();
    assert_eq!(
        told.matches("have changed but can't be used").count(),
        4,
        "{told}"
    );
    assert!(!told.contains("PRIVATE"), "{told}");
}

#[tokio::test]
async fn clients_of_tls_1_2_and_1_3_are_served_and_the_end_is_told() {
    let fixture = RenewalFixture::open().await;
    for (tls, negotiated) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = client_config(&fixture.folder, None, &[tls]);
        let mut wire = TlsConnection::open_with(fixture.harness.gateway.address, config)
            .await
            .unwrap();
        assert_eq!(wire.0.get_ref().1.protocol_version(), Some(negotiated));
        assert_eq!(wire.ask(good_chat()).await.unwrap().0, 200);
    }
    let address = fixture.harness.gateway.address;
    let series = format!("forebay_certificate_expiry_timestamp_seconds{{listener=\"{address}\"}}");
    let ends = metrics_page::value(&fixture.harness.metrics().await, &series);
    // rcgen's certificates end in the year 4096.
    assert!((6.7e10..6.8e10).contains(&ends), "{ends}");
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_served_with_a_warning() {
    let folder = folder();
    let authority = CertificateAuthority::new(&folder, "ours");
    let says = CertificateFields {
        others: vec![dns("localhost")],
        has_ended: true,
        ..CertificateFields::default()
    };
    authority.certify_as(&folder, "gateway", &says);
    let harness = Harness::open(&[("well", 1, 1)]).await;
    let fixture = RenewalFixture::before(harness, None, authority, folder, "gateway").await;
    let told = fixture.harness.gateway.stderr();
    assert!(told.contains("this certificate has expired"), "{told}");
    let file = fixture.harness.gateway.folder.join("forebay.yaml");
    let mut check = forebay();
    let (code, out, err) = output_of(check.args(["check", "--config"]).arg(file));
    assert_eq!(code, Some(0));
    assert!([out, err].concat().contains("this certificate has expired"));
}

/// More than the sessions that a server would keep for its clients.
const OTHERS: usize = 300;

#[tokio::test]
async fn a_client_resumes_its_session_however_many_others_have_come_since() {
    let fixture = RenewalFixture::open().await;
    for version in [&version::TLS13, &version::TLS12] {
        let config = || client_config(&fixture.folder, None, &[version]);
        let open =
            async |config| TlsConnection::open_with(fixture.harness.gateway.address, config).await;
        let (ours, mut kinds) = (config(), Vec::new());
        for _ in 0..2 {
            let mut wire = open(Arc::clone(&ours)).await.unwrap();
            // Over TLS 1.3 tickets come behind the handshake, and are read with an answer.
            wire.ask(good_chat()).await.unwrap();
            kinds.extend(wire.0.get_ref().1.handshake_kind());
            for _ in 0..OTHERS {
                open(config()).await.unwrap();
            }
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
}
