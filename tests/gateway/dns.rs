//! Instances are followed by their names, through a real resolver's configuration: in namespaces of the test's own, with
//! a name server that says what the test wants, and addresses that are there or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use forebay::simulator::{self, Config};
use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use parking_lot::Mutex;
use reqwest::Response;
use tokio::net::UdpSocket;

use crate::{
    harness::{
        CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client, eventually_async, folder,
        served_by,
    },
    namespace::{assert_inside, run, run_inside},
};

#[test]
fn instances_are_followed_where_their_names_go() {
    let inside = "dns::inside_the_namespaces_names_are_followed";
    run_inside(&["--net", "--mount"], inside);
}

/// A name server that says what is in here, each for a second.
#[derive(Default)]
struct Zone {
    records: BTreeMap<&'static str, Vec<&'static str>>,
    is_broken: bool,
    asked: u64,
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let answer = answer(&buffer[..length], &mut zone.lock());
        let _ = socket.send_to(&answer, from).await;
    }
}

fn answer(query: &[u8], zone: &mut Zone) -> Vec<u8> {
    zone.asked += 1;
    let asked = Message::from_vec(query).unwrap();
    let query = asked.queries[0].clone();
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    let name = query.name().to_string();
    match zone.records.get(name.trim_end_matches('.')) {
        _ if zone.is_broken => answer.metadata.response_code = ResponseCode::ServFail,
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            let data = addresses.iter().map(|it| it.parse().unwrap());
            let fits = |data: &RData| match query.query_type() {
                RecordType::A => matches!(data, RData::A(_)),
                RecordType::AAAA => matches!(data, RData::AAAA(_)),
                _ => false,
            };
            let data = data.map(|ip| match ip {
                IpAddr::V4(ip) => RData::A(ip.into()),
                IpAddr::V6(ip) => RData::AAAA(ip.into()),
            });
            for data in data.filter(fits) {
                answer.add_answer(Record::from_rdata(query.name().clone(), 1, data));
            }
        }
    }
    answer.add_query(query);
    answer.to_vec().unwrap()
}

/// Puts a file of the test's own over one of the system's, for this namespace only.
fn cover(folder: &Path, file: &str, text: &str) {
    let own = folder.join(file.replace('/', "-"));
    fs::write(&own, text).unwrap();
    run("mount", &format!("--bind {} {file}", own.display()));
}

/// Every model is named as its one instance is.
const MODELS: [(&str, &str); 5] = [
    ("moving", "moving.contoso.test"),
    ("six", "six.contoso.test"),
    ("dual", "dual.contoso.test"),
    ("short", "short"),
    ("by-hand", "by-hand"),
];

async fn open() -> (Harness, Arc<Mutex<Zone>>) {
    run("ip", "link set lo up");
    for address in ["10.9.9.1/32", "10.9.9.2/32", "fd09::1/128"] {
        // Nobody else could have it.
        run("ip", &format!("address add {address} dev lo nodad"));
    }
    let folder = folder();
    cover(
        &folder,
        "/etc/resolv.conf",
        "nameserver 127.0.0.1\nsearch contoso.test\noptions timeout:1 attempts:1\n",
    );
    cover(
        &folder,
        "/etc/hosts",
        "127.0.0.1 localhost\n10.9.9.2 by-hand\n",
    );
    let zone = Arc::new(Mutex::new(Zone::default()));
    zone.lock().records = BTreeMap::from([
        ("moving.contoso.test", vec!["10.9.9.1"]),
        ("six.contoso.test", vec!["fd09::1"]),
        // Nothing has this address here.
        ("dual.contoso.test", vec!["10.9.9.2", "fd09::dead"]),
        ("short.contoso.test", vec!["10.9.9.1"]),
    ]);
    let socket = UdpSocket::bind("127.0.0.1:53").await.unwrap();
    tokio::spawn(serve(socket, Arc::clone(&zone)));

    let mut simulation = "control: 127.0.0.1:0\ninstances:\n".to_owned();
    for (name, address) in [("a", "10.9.9.1"), ("b", "10.9.9.2"), ("c", "[fd09::1]")] {
        simulation += &format!(
            "  {name}: {{ address: \"{address}:8080\", keys: [{INSTANCE_KEY}], deployments: {{ gpt-4o: {{ model: gpt-4o }} }} }}\n"
        );
    }
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let (mut instances, mut models) = (String::new(), String::new());
    for (model, host) in MODELS {
        instances += &format!(
            "  {model}: {{ endpoint: \"http://{host}:8080\", identity: key, insecure_http: true }}\n"
        );
        models += &format!(
            "  {model}: {{ deployments: [{{ instance: {model}, deployment: gpt-4o }}] }}\n"
        );
    }
    let hash = forebay::config::hash_key(KEY).unwrap().hash;
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\ninstances:\n{instances}models:\n{models}\
         clients: {{ tests: {{ keys: [\"{hash}\"], models: [\"*\"] }} }}\n"
    );
    let gateway = Gateway::start(&config).await;
    let harness = Harness {
        simulator,
        gateway,
        http: client(),
    };
    (harness, zone)
}

async fn ask(harness: &Harness, model: &str) -> Response {
    let mut chat = chat();
    chat["model"] = model.into();
    harness.post(CHAT).json(&chat).send().await.unwrap()
}

/// Asks until another serves, and asserts that nobody noticed.
async fn followed(harness: &Harness, to: &str) {
    eventually_async(to, async || {
        let answer = ask(harness, "moving").await;
        assert_eq!(answer.status(), 200);
        served_by(&answer) == to
    })
    .await;
}

#[tokio::test]
#[ignore = "runs inside the namespaces that the test above makes"]
async fn inside_the_namespaces_names_are_followed() {
    assert_inside();
    let (harness, zone) = open().await;

    // Either family alone, both with one of them dead, by the search list, by the hosts file.
    for (model, by) in [
        ("moving", "a"),
        ("six", "c"),
        ("dual", "b"),
        ("short", "a"),
        ("by-hand", "b"),
    ] {
        for _ in 0..10 {
            let answer = ask(&harness, model).await;
            assert_eq!(answer.status(), 200, "{model}");
            assert_eq!(served_by(&answer), by, "{model}");
        }
    }

    moves_under_load(&harness, &zone).await;
    outlives_a_broken_name_server(&harness, &zone).await;

    // No attempt of any request failed.
    let page = harness.metrics().await;
    let outcomes: BTreeSet<_> = crate::metrics_page::samples(&page, "forebay_attempts_total{")
        .map(|(labels, _)| crate::metrics_page::label(labels, "outcome"))
        .collect();
    assert_eq!(outcomes, BTreeSet::from(["served".to_owned()]));
}

/// From A to B while requests come, and A is gone as soon as nobody is asked there any more.
async fn moves_under_load(harness: &Harness, zone: &Mutex<Zone>) {
    let (since, asked) = (Instant::now(), zone.lock().asked);
    let stop = AtomicBool::new(false);
    let load = async {
        while !stop.load(Ordering::Acquire) {
            assert_eq!(ask(harness, "moving").await.status(), 200);
        }
    };
    let moves = async {
        zone.lock()
            .records
            .insert("moving.contoso.test", vec!["10.9.9.2"]);
        followed(harness, "b").await;
        // Looked up once more: no request is on its way to A.
        let asked = zone.lock().asked;
        eventually_async("its name is looked up again", async || {
            zone.lock().asked > asked + 8
        })
        .await;
        harness.switch("a", "down").await;
        for _ in 0..20 {
            let answer = ask(harness, "moving").await;
            assert_eq!(
                (answer.status().as_u16(), served_by(&answer)),
                (200, "b".to_owned())
            );
        }
        stop.store(true, Ordering::Release);
    };
    tokio::join!(load, moves);
    // Five names at most, of two families, once a second each, and the search list's tries.
    let rate = (zone.lock().asked - asked) as f64 / (since.elapsed().as_secs_f64() + 2.0);
    assert!(rate < 5.0 * 2.0 * 2.0, "{rate} look-ups a second");
}

/// A name server that fails changes nothing, and is said once; when it is back, so is the name.
async fn outlives_a_broken_name_server(harness: &Harness, zone: &Mutex<Zone>) {
    zone.lock().is_broken = true;
    let asked = zone.lock().asked;
    eventually_async("it is asked again and again", async || {
        zone.lock().asked > asked + 20
    })
    .await;
    for _ in 0..5 {
        assert_eq!(ask(harness, "moving").await.status(), 200);
        assert_eq!(ask(harness, "six").await.status(), 200);
    }
    harness.switch("a", "up").await;
    zone.lock().is_broken = false;
    zone.lock()
        .records
        .insert("moving.contoso.test", vec!["10.9.9.1"]);
    followed(harness, "a").await;
    let told = harness.gateway.stderr();
    let failures = |instance: &str| {
        let lines = told
            .lines()
            .filter(|line| line.contains("could not resolve"));
        lines
            .filter(|line| line.contains(&format!("\"instance\":\"{instance}\"")))
            .count()
    };
    assert_eq!((failures("moving"), failures("by-hand")), (1, 0), "{told}");
}
