//! Front Door before the gateway: who comes past it gets nowhere, and whose word of the client's address counts.

use serde_json::Value;

use crate::{
    harness::{CHAT, Gateway, Harness, KEY, chat, client, eventually},
    http1_client::{RawConnection, post, request},
    http2_frames::{Http2Connection, StreamOutcome, encoded, good_fields},
};

const ID: &str = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f";
const OTHER: &str = "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e60";
const SECOND: &str = "99999999-0a1b-2c3d-4e5f-0a1b2c3d4e5f";

async fn harness(networks: &str) -> Harness {
    let front_door = format!("front_door: {{ ids: [\"{ID}\", \"{SECOND}\"]{networks} }}");
    Harness::open_with(&[("only", 1, 1)], &front_door).await
}

fn lines(ids: &[&str]) -> String {
    ids.iter()
        .map(|id| format!("x-azure-fdid: {id}\r\n"))
        .collect()
}

async fn answered(harness: &Harness, bytes: Vec<u8>) -> (u16, bool) {
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(bytes).await;
    let answer = wire.answer().await.unwrap();
    (answer.status, answer.keeps_open())
}

#[tokio::test]
async fn only_what_came_through_the_operators_own_front_door_is_served() {
    let harness = harness("").await;
    let upper = ID.to_uppercase();
    let body = chat().to_string();
    let mut served = 0;
    for (ids, is_let_in) in [
        (&[ID][..], true),
        (&[SECOND], true),
        (&[upper.as_str()], true),
        (&[], false),
        (&[OTHER], false),
        (&[""], false),
        (&[&ID[..35]], false),
        (&["00000000-0000-0000-0000-000000000000"], false),
        (&[ID, ID], false),
        (&[ID, OTHER], false),
        (&[OTHER, ID], false),
        (&["0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f, x"], false),
    ] {
        let (status, stays) = answered(&harness, post(CHAT, &lines(ids), &body)).await;
        let expected = if is_let_in { (200, true) } else { (403, false) };
        assert_eq!((status, stays), expected, "{ids:?}");
        served += u64::from(is_let_in);
        assert_eq!(harness.asked("only"), served, "{ids:?}");
    }
    let seen = format!("{:?}", harness.seen("only"));
    assert!(!seen.contains("fdid"), "{seen}");
    let log = harness.log(12).await;
    let told = log
        .iter()
        .filter(|line| line["refusal"] == "not_front_door");
    assert_eq!(told.count(), 9);
    let metrics = harness.metrics().await;
    let counted = "forebay_refusals_total{client=\"none\",reason=\"not_front_door\"} 9";
    assert!(metrics.contains(counted), "{metrics}");
}

/// A stranger learns neither which paths there are, nor which models, nor whether a key is one.
#[tokio::test]
async fn whatever_a_stranger_asks_for_the_answer_is_the_same() {
    let harness = harness("").await;
    let mut said = Vec::new();
    for (method, path, key) in [
        ("POST", CHAT, KEY),
        ("POST", CHAT, "another"),
        ("POST", "/nowhere", KEY),
        ("DELETE", CHAT, KEY),
        ("GET", "/openai/v1/models", KEY),
        ("GET", "/v1/models/gpt-4o", KEY),
        ("GET", "/health/models/gpt-4o", ""),
        ("GET", "/health/models/none", ""),
        ("GET", "/health/", ""),
        ("GET", "/HEALTH", ""),
        ("GET", "/health%2f", ""),
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let key = format!("api-key: {key}\r\n");
        wire.send(request(method, path, &key, chat().to_string()))
            .await;
        let answer = wire.answer().await.unwrap();
        assert!(wire.ends().await, "{path}");
        said.push((answer.status, answer.json()["error"].clone()));
    }
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    assert_eq!(
        (said[0].0, &said[0].1["type"]),
        (403, &"permission_error".into())
    );
    assert_eq!(harness.asked("only"), 0);
    for (method, path) in [
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("GET", "/health?probe=1"),
    ] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request(method, path, "", "")).await;
        assert_eq!(
            wire.answer_to(method).await.unwrap().status,
            200,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn over_http_2_the_same_holds() {
    let harness = harness("").await;
    for (ids, expected) in [
        (&[ID][..], 200),
        (&[], 403),
        (&[OTHER], 403),
        (&[ID, ID], 403),
    ] {
        let mut fields = good_fields();
        fields.extend(
            ids.iter()
                .map(|id| (b"x-azure-fdid".to_vec(), id.as_bytes().to_vec())),
        );
        let mut frames = Http2Connection::open(harness.gateway.address).await;
        frames
            .send(crate::http2_frames::request(1, &encoded(&fields)))
            .await;
        let outcome = frames.outcome(1).await;
        assert!(
            matches!(outcome, StreamOutcome::Answered { status, .. } if status == expected),
            "{ids:?}: {outcome:?}"
        );
    }
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn the_log_has_the_clients_address_by_front_doors_word_alone() {
    let harness = harness("").await;
    let spoofed = "x-forwarded-for: 203.0.113.9\r\nx-azure-clientip: 203.0.113.9\r\n";
    let cases = [
        (
            lines(&[ID]) + "x-azure-socketip: 192.0.2.7\r\n",
            "192.0.2.7",
        ),
        (
            lines(&[ID]) + "x-azure-socketip: 2001:db8::7\r\n",
            "2001:db8::7",
        ),
        (
            lines(&[ID]) + "x-azure-socketip: ::ffff:192.0.2.7\r\n",
            "192.0.2.7",
        ),
        (lines(&[ID]) + spoofed, "127.0.0.1"),
        (lines(&[ID]) + "x-azure-socketip: nonsense\r\n", "127.0.0.1"),
        (
            lines(&[ID]) + "x-azure-socketip: 192.0.2.7, 192.0.2.8\r\n",
            "127.0.0.1",
        ),
        (
            lines(&[ID]) + "x-azure-socketip: 192.0.2.7\r\nx-azure-socketip: 192.0.2.8\r\n",
            "127.0.0.1",
        ),
        // Whoever says so without the id.
        (
            lines(&[OTHER]) + "x-azure-socketip: 192.0.2.7\r\n",
            "127.0.0.1",
        ),
        ("x-azure-socketip: 192.0.2.7\r\n".to_owned(), "127.0.0.1"),
    ];
    for (i, (lines, address)) in cases.iter().enumerate() {
        answered(&harness, post(CHAT, lines, chat().to_string())).await;
        let line: Value = harness.log(i + 1).await.remove(i);
        assert_eq!(line["client_address"], *address, "{lines}");
        assert_eq!(line["address"], "127.0.0.1");
    }
}

#[tokio::test]
async fn a_connection_from_elsewhere_gets_nowhere_with_the_right_id() {
    for (networks, expected) in [
        (", networks: [\"10.0.0.0/8\", \"::/0\"]", 403),
        (", networks: [\"10.0.0.0/8\", \"127.0.0.0/8\"]", 200),
        (", networks: [127.0.0.1]", 200),
        (", networks: [127.0.0.2]", 403),
    ] {
        let harness = harness(networks).await;
        let (status, stays) =
            answered(&harness, post(CHAT, &lines(&[ID]), chat().to_string())).await;
        assert_eq!((status, stays), (expected, expected == 200), "{networks}");
        let (health, _) = answered(&harness, request("GET", "/health", "", "")).await;
        assert_eq!(health, 200);
        let log = harness.log(2).await;
        if expected == 403 {
            let told = |line: &Value| line["refusal"] == "unknown_network";
            assert!(log.iter().any(told), "{log:?}");
            assert_eq!(harness.asked("only"), 0);
        }
        // The network is not all there is to it.
        let (status, _) = answered(&harness, post(CHAT, "", chat().to_string())).await;
        assert_eq!(status, 403, "{networks}");
    }
}

/// Over a listener for both, an IPv4 address is what it is; and whoever asks anonymously comes through Front Door too.
#[tokio::test]
async fn an_ipv4_address_that_comes_over_ipv6_counts_as_what_it_is() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let instance = harness.simulator.address("only").unwrap();
    let port = crate::harness::free_address().port();
    let config = format!(
        "identities: {{ key: {{ api_key: {} }} }}\n\
         instances: {{ only: {{ endpoint: \"http://{instance}\", identity: key }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only, deployment: only-gpt-4o }}] }} }}\n\
         anonymous: true\nfront_door: {{ ids: [{ID}], networks: [127.0.0.0/8] }}\n",
        crate::harness::INSTANCE_KEY
    );
    let second = format!(" }}, {{ address: \"[::]:{port}\"");
    let gateway = Gateway::start_with(&config, &second, &[]).await;
    let http = client();
    for (host, id, expected) in [
        ("127.0.0.1", ID, 200),
        ("127.0.0.1", OTHER, 403),
        ("[::1]", ID, 403),
    ] {
        let request = http
            .post(format!("http://{host}:{port}{CHAT}"))
            .header("x-azure-fdid", id);
        let answer = request.json(&chat()).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{host} {id}");
    }
    let file = gateway.folder.join("access.jsonl");
    let written = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("all is written down", || written().lines().count() == 3).await;
    let log = written();
    assert!(
        log.contains("\"address\":\"127.0.0.1\"") && !log.contains("::ffff"),
        "{log}"
    );
}
