//! TLS on both sides, with HTTP/2 by ALPN, and certificates that must not be believed.

use std::fs;

use forebay::simulator::{self, Config};
use reqwest::{Certificate, Version};

use crate::{
    certificate_authority::{CertificateAuthority, CertificateFields, dns},
    harness::{
        CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client, client_builder, error_of, folder,
        served_by,
    },
};

/// The certificate that the instance `strange` shows, and how the gateway knows that instance.
struct InstanceCertificate {
    signed_by: &'static str,
    host: &'static str,
    has_ended: bool,
    endpoint: &'static str,
    /// Where the gateway believes the system to keep its authorities.
    systems: Option<&'static str>,
}

const SOUND: InstanceCertificate = InstanceCertificate {
    signed_by: "ours",
    host: "localhost",
    has_ended: false,
    endpoint: "localhost",
    systems: None,
};

/// Two instances behind TLS: `strange` shows the certificate `strange` is given, `well` a good one. Clients connect
/// with TLS too.
async fn harness(strange: InstanceCertificate) -> (Harness, Certificate) {
    let folder = folder();
    let ours = CertificateAuthority::new(&folder, "ours");
    let another = CertificateAuthority::new(&folder, "another");
    let authority = match strange.signed_by {
        "ours" => &ours,
        _ => &another,
    };
    if strange.has_ended {
        let others = vec![dns(strange.host)];
        let says = CertificateFields {
            others,
            has_ended: true,
            ..CertificateFields::default()
        };
        authority.certify_as(&folder, "strange", &says);
    } else {
        authority.certify(&folder, "strange", strange.host)
    }
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
    let endpoint = |name: &str, host: &str| {
        let address = simulator.address(name).unwrap();
        format!(
            "  {name}: {{ endpoint: \"https://{host}:{}\", connect_to: \"{address}\", identity: key, ca: {at}/ours.ca }}\n",
            address.port()
        )
    };
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n{}{}\
         models: {{ gpt-4o: {{ deployments: [{{ instance: strange, priority: 1 }}, {{ instance: well, priority: 2 }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{}\"], models: [\"*\"] }} }}\n",
        endpoint("strange", strange.endpoint),
        endpoint("well", "localhost"),
        forebay::config::hash_key(KEY).unwrap().hash
    );
    let listener = format!(", tls: {{ certificate: {at}/gateway.crt, key: {at}/gateway.key }}");
    let systems = strange.systems.map(|name| format!("{at}/{name}.ca"));
    let variables: Vec<_> = systems
        .iter()
        .map(|file| ("SSL_CERT_FILE", file.as_str()))
        .collect();
    let gateway = Gateway::start_with(&config, &listener, &variables).await;
    let ca = Certificate::from_pem(&fs::read(folder.join("ours.ca")).unwrap()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    (
        Harness {
            simulator,
            gateway,
            http: client(),
        },
        ca,
    )
}

fn url(harness: &Harness) -> String {
    format!("https://localhost:{}{CHAT}", harness.gateway.address.port())
}

#[tokio::test]
async fn clients_choose_their_protocol_by_alpn_and_instances_are_asked_over_http_2() {
    let (harness, ca) = harness(SOUND).await;
    for (builder, version) in [
        (client_builder(), Version::HTTP_2),
        (client_builder().http1_only(), Version::HTTP_11),
    ] {
        let http = builder.add_root_certificate(ca.clone()).build().unwrap();
        for _ in 0..3 {
            let answer = http
                .post(url(&harness))
                .header("api-key", KEY)
                .json(&chat())
                .send()
                .await
                .unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            assert_eq!(served_by(&answer), "strange");
        }
    }
    let seen = harness.seen("strange");
    assert!(
        seen.iter().all(|seen| seen.http_version == "HTTP/2.0"),
        "{seen:?}"
    );
    let connections = harness.simulator.stats().instances["strange"].connections;
    assert!(
        connections <= 4,
        "{connections} connections for six requests"
    );
}

#[tokio::test]
async fn a_request_over_http_2_with_another_host_is_answered_and_logged() {
    let (harness, ca) = harness(SOUND).await;
    let http = client_builder().add_root_certificate(ca).build().unwrap();
    let ask = || {
        http.post(url(&harness))
            .header("api-key", KEY)
            .json(&chat())
    };
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let refused = ask().header("host", "evil").send().await.unwrap();
    assert_eq!(refused.version(), Version::HTTP_2);
    let id = refused.headers()["x-request-id"].clone();
    let error = error_of(refused, 400, "400").await;
    assert_eq!(error["error"]["type"], "invalid_request_error");
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let log = harness.log(3).await;
    let told = |line: &serde_json::Value| {
        line["refusal"] == "ambiguous_host" && line["request_id"] == id.to_str().unwrap()
    };
    assert_eq!(log.iter().filter(|line| told(line)).count(), 1, "{log:?}");
}

/// Asks once; who served.
async fn ask(harness: &Harness, ca: &Certificate) -> String {
    let builder = client_builder().add_root_certificate(ca.clone());
    let http = builder.build().unwrap();
    let answer = http.post(url(harness)).header("api-key", KEY).json(&chat());
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    served_by(&answer)
}

#[tokio::test]
async fn an_instance_with_a_certificate_that_is_not_its_own_is_never_asked_and_why_is_said_once() {
    for (strange, why) in [
        (
            InstanceCertificate {
                signed_by: "another",
                ..SOUND
            },
            "is not trusted",
        ),
        (
            InstanceCertificate {
                host: "elsewhere.example",
                ..SOUND
            },
            "for a different host name",
        ),
        (
            InstanceCertificate {
                has_ended: true,
                ..SOUND
            },
            "has expired",
        ),
        // By number: a name that DNS would give that number is none of its own.
        (
            InstanceCertificate {
                endpoint: "127.0.0.1",
                ..SOUND
            },
            "for a different host name",
        ),
        (
            InstanceCertificate {
                endpoint: "127.0.0.1",
                host: "127.0.0.2",
                ..SOUND
            },
            "for a different host name",
        ),
    ] {
        let (harness, ca) = harness(strange).await;
        for i in 1..=3 {
            assert_eq!(ask(&harness, &ca).await, "well");
            let log = harness.log(i).await;
            assert_eq!(
                log[i - 1]["attempts"][0]["outcome"],
                "fault_connect",
                "{}",
                log[i - 1]
            );
        }
        assert!(harness.seen("strange").is_empty());
        let told = harness.gateway.stderr();
        let lines = told
            .lines()
            .filter(|line| line.contains("could not connect to the instance"));
        let lines: Vec<_> = lines.collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{why}: {told}");
    }
}

#[tokio::test]
async fn an_instance_known_by_number_shows_a_certificate_for_that_number() {
    let (harness, ca) = harness(InstanceCertificate {
        endpoint: "127.0.0.1",
        host: "127.0.0.1",
        ..SOUND
    })
    .await;
    assert_eq!(ask(&harness, &ca).await, "strange");
}

#[tokio::test]
async fn authorities_of_its_own_stand_beside_the_systems() {
    let strange = InstanceCertificate {
        signed_by: "another",
        systems: Some("another"),
        ..SOUND
    };
    let (harness, ca) = harness(strange).await;
    assert_eq!(ask(&harness, &ca).await, "strange");
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_ends_and_harms_nobody() {
    let (mut harness, ca) = harness(SOUND).await;
    let mut wire = crate::http1_client::RawConnection::open(harness.gateway.address).await;
    wire.send(crate::http1_client::good_chat()).await;
    assert!(wire.answer().await.is_none());
    let http = client_builder().add_root_certificate(ca).build().unwrap();
    let answer = http
        .post(url(&harness))
        .header("api-key", KEY)
        .json(&chat())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), harness.gateway.ended()),
        (200, None)
    );
}
