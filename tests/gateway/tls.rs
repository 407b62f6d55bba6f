//! TLS on both sides, with HTTP/2 by ALPN, and certificates that must not be believed.

use std::fs;

use forebay::simulator::{self, Config};
use reqwest::{Certificate, Version};

use crate::{
    authority::{Authority, Says, dns},
    house::{
        CHAT, Gateway, House, INSTANCE_KEY, KEY, chat, client, client_builder, error_of, folder,
        served_by,
    },
};

/// The certificate that the instance `strange` shows, and how the gateway knows that instance.
struct Strange {
    signed_by: &'static str,
    host: &'static str,
    has_ended: bool,
    endpoint: &'static str,
    /// Where the gateway believes the system to keep its authorities.
    systems: Option<&'static str>,
}

const SOUND: Strange = Strange {
    signed_by: "ours",
    host: "localhost",
    has_ended: false,
    endpoint: "localhost",
    systems: None,
};

/// Two instances behind TLS: `strange` shows the certificate `strange` is given, `well` a good one. Clients connect
/// with TLS too.
async fn house(strange: Strange) -> (House, Certificate) {
    let folder = folder();
    let ours = Authority::new(&folder, "ours");
    let another = Authority::new(&folder, "another");
    let authority = match strange.signed_by {
        "ours" => &ours,
        _ => &another,
    };
    match strange.has_ended {
        false => authority.certify(&folder, "strange", strange.host),
        true => {
            let others = vec![dns(strange.host)];
            let says = Says {
                others,
                has_ended: true,
                ..Says::default()
            };
            authority.certify_as(&folder, "strange", &says);
        }
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
    let gateway = Gateway::start_as(&config, &listener, &variables).await;
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
    let (house, ca) = house(SOUND).await;
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
    let connections = house.simulator.stats().instances["strange"].connections;
    assert!(
        connections <= 4,
        "{connections} connections for six requests"
    );
}

#[tokio::test]
async fn a_request_over_http_2_with_another_host_is_answered_and_logged() {
    let (house, ca) = house(SOUND).await;
    let http = client_builder().add_root_certificate(ca).build().unwrap();
    let ask = || http.post(url(&house)).header("api-key", KEY).json(&chat());
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let refused = ask().header("host", "evil").send().await.unwrap();
    assert_eq!(refused.version(), Version::HTTP_2);
    let id = refused.headers()["x-request-id"].clone();
    let error = error_of(refused, 400, "400").await;
    assert_eq!(error["error"]["type"], "invalid_request_error");
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let log = house.log(3).await;
    let told = |line: &serde_json::Value| {
        line["refusal"] == "ambiguous_host" && line["request_id"] == id.to_str().unwrap()
    };
    assert_eq!(log.iter().filter(|line| told(line)).count(), 1, "{log:?}");
}

/// Asks once; who served.
async fn ask(house: &House, ca: &Certificate) -> String {
    let builder = client_builder().add_root_certificate(ca.clone());
    let http = builder.build().unwrap();
    let answer = http.post(url(house)).header("api-key", KEY).json(&chat());
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    served_by(&answer)
}

#[tokio::test]
async fn an_instance_with_a_certificate_that_is_not_its_own_is_never_asked_and_why_is_said_once() {
    for (strange, why) in [
        (
            Strange {
                signed_by: "another",
                ..SOUND
            },
            "not trusted here",
        ),
        (
            Strange {
                host: "elsewhere.example",
                ..SOUND
            },
            "for another name",
        ),
        (
            Strange {
                has_ended: true,
                ..SOUND
            },
            "has ended",
        ),
        // By number: a name that DNS would give that number is none of its own.
        (
            Strange {
                endpoint: "127.0.0.1",
                ..SOUND
            },
            "for another name",
        ),
        (
            Strange {
                endpoint: "127.0.0.1",
                host: "127.0.0.2",
                ..SOUND
            },
            "for another name",
        ),
    ] {
        let (house, ca) = house(strange).await;
        for i in 1..=3 {
            assert_eq!(ask(&house, &ca).await, "well");
            let log = house.log(i).await;
            assert_eq!(
                log[i - 1]["attempts"][0]["outcome"],
                "fault_connect",
                "{}",
                log[i - 1]
            );
        }
        assert!(house.seen("strange").is_empty());
        let told = house.gateway.stderr();
        let lines = told
            .lines()
            .filter(|line| line.contains("no connection to the instance"));
        let lines: Vec<_> = lines.collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{why}: {told}");
    }
}

#[tokio::test]
async fn an_instance_known_by_number_shows_a_certificate_for_that_number() {
    let (house, ca) = house(Strange {
        endpoint: "127.0.0.1",
        host: "127.0.0.1",
        ..SOUND
    })
    .await;
    assert_eq!(ask(&house, &ca).await, "strange");
}

#[tokio::test]
async fn authorities_of_its_own_stand_beside_the_systems() {
    let strange = Strange {
        signed_by: "another",
        systems: Some("another"),
        ..SOUND
    };
    let (house, ca) = house(strange).await;
    assert_eq!(ask(&house, &ca).await, "strange");
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_ends_and_harms_nobody() {
    let (mut house, ca) = house(SOUND).await;
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
