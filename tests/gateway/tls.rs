//! TLS on both sides, with HTTP/2 by ALPN, and certificates that must not be believed.

use std::{fs, path::Path};

use forebay::simulator::{self, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Version};

use crate::house::{
    CHAT, Gateway, House, INSTANCE_KEY, KEY, chat, client, client_builder, folder, served_by,
};

/// An authority of this test's own: its certificate lies in `FOLDER/NAME.ca`.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let (mut params, key) = (
            CertificateParams::new([]).unwrap(),
            KeyPair::generate().unwrap(),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(format!("{name}.ca")), certificate.pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes a certificate for a host and its key into `FOLDER/NAME.crt` and `.key`.
    fn certify(&self, folder: &Path, name: &str, host: &str) {
        let (params, key) = (
            CertificateParams::new([host.to_owned()]).unwrap(),
            KeyPair::generate().unwrap(),
        );
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Two instances behind TLS: `strange` shows the certificate `strange` is given, `well` a good one. Clients connect
/// with TLS too.
async fn house(strange_host: &str, strange_is_signed_by_another: bool) -> (House, Certificate) {
    let folder = folder();
    let ours = Authority::new(&folder, "ours");
    let another = Authority::new(&folder, "another");
    let strange = if strange_is_signed_by_another {
        &another
    } else {
        &ours
    };
    strange.certify(&folder, "strange", strange_host);
    for name in ["well", "gateway"] {
        ours.certify(&folder, name, "localhost");
    }
    let at = folder.display();
    let instance = |name: &str| {
        format!(
            "  {name}: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], tls: {{ certificate: {at}/{name}.crt, key: {at}/{name}.key }}, deployments: {{ gpt-4o: {{ model: gpt-4o }} }} }}\n"
        )
    };
    let simulation = format!(
        "control: 127.0.0.1:0\nrecord: full\ninstances:\n{}{}",
        instance("strange"),
        instance("well")
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let endpoint = |name: &str| {
        let address = simulator.address(name).unwrap();
        format!(
            "  {name}: {{ endpoint: \"https://localhost:{}\", connect_to: \"{address}\", identity: key, ca: {at}/ours.ca }}\n",
            address.port()
        )
    };
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n{}{}\
         models: {{ gpt-4o: {{ deployments: [{{ instance: strange, priority: 1 }}, {{ instance: well, priority: 2 }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"] }} }}\n",
        endpoint("strange"),
        endpoint("well"),
        forebay::config::hash_key(KEY).unwrap().hash
    );
    let listener = format!(", tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key }}");
    let gateway = Gateway::start_as(&config, &listener, &[]).await;
    let ca = Certificate::from_pem(&fs::read(folder.join("ours.ca")).unwrap()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    (
        House {
            simulator,
            gateway,
            http: client(),
        },
        ca,
    )
}

fn url(house: &House) -> String {
    format!("https://localhost:{}{CHAT}", house.gateway.address.port())
}

#[tokio::test]
async fn clients_choose_their_protocol_by_alpn_and_instances_are_asked_over_http_2() {
    let (house, ca) = house("localhost", false).await;
    for (builder, version) in [
        (client_builder(), Version::HTTP_2),
        (client_builder().http1_only(), Version::HTTP_11),
    ] {
        let http = builder.add_root_certificate(ca.clone()).build().unwrap();
        for _ in 0..3 {
            let answer = http
                .post(url(&house))
                .header("api-key", KEY)
                .json(&chat())
                .send()
                .await
                .unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            assert_eq!(served_by(&answer), "strange");
        }
    }
    let seen = house.seen("strange");
    assert!(
        seen.iter().all(|seen| seen.http_version == "HTTP/2.0"),
        "{seen:?}"
    );
    let connections = house.simulator.books().instances["strange"].connections;
    assert!(
        connections <= 4,
        "{connections} connections for six requests"
    );
}

#[tokio::test]
async fn an_instance_with_a_certificate_that_is_not_its_own_is_never_asked() {
    for (host, by_another) in [("localhost", true), ("elsewhere.example", false)] {
        let (house, ca) = house(host, by_another).await;
        let http = client_builder().add_root_certificate(ca).build().unwrap();
        let answer = http
            .post(url(&house))
            .header("api-key", KEY)
            .json(&chat())
            .send()
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), served_by(&answer)),
            (200, "well".to_owned())
        );
        assert!(house.seen("strange").is_empty());
        let log = house.log(1).await;
        assert_eq!(
            log[0]["attempts"][0]["outcome"], "fault_connect",
            "{}",
            log[0]
        );
    }
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_ends_and_harms_nobody() {
    let (mut house, ca) = house("localhost", false).await;
    let mut wire = crate::raw::Wire::open(house.gateway.address).await;
    wire.send(crate::raw::good_chat()).await;
    assert!(wire.answer().await.is_none());
    let http = client_builder().add_root_certificate(ca).build().unwrap();
    let answer = http
        .post(url(&house))
        .header("api-key", KEY)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), house.gateway.ended()),
        (200, None)
    );
}
