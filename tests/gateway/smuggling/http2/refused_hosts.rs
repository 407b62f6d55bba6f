//! Requests whose host the engine refuses: each is answered in its own stream, and within its client's window.

use super::{super::counted, plus};
use crate::{
    harness::{CHAT, Harness, KEY, chat, client_builder, error_of, eventually},
    http2_frames::{
        DATA, Http2Connection, PING, SETTINGS, StreamOutcome, WINDOW_UPDATE, encoded, frame,
        good_fields, request,
    },
    scripted_upstream::ScriptedUpstream,
};

/// Each of them with an id of its own, and the connection goes on.
#[tokio::test]
async fn hosts_that_are_refused_beside_good_ones_are_answered_one_by_one() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut frames = Http2Connection::open(harness.gateway.address).await;
    let bad = plus("host", "evil");
    let good = encoded(&good_fields());
    let mut ids = Vec::new();
    // The engine ends a connection with the 32nd.
    for round in 0..5u32 {
        let first = 1 + round * 8;
        let all = [(0, &bad), (2, &good), (4, &bad), (6, &bad)];
        let requests = all.map(|(behind, block)| request(first + behind, block));
        frames.send(requests.concat()).await;
        for stream in [first, first + 4, first + 6] {
            let (headers, body) = frames.written_out(stream).await;
            assert!(body > 0, "{headers:?}");
            ids.push(said(&headers, "x-request-id").to_owned());
            assert_eq!(said(&headers, "content-length"), body.to_string());
        }
    }
    eventually("the good are asked", || harness.asked("only") == 5).await;
    let log = harness.log(20).await;
    let refused = log.iter().filter(|line| line["refusal"].is_string());
    let logged: Vec<_> = refused.map(|line| line["request_id"].clone()).collect();
    assert_eq!(logged, ids);
    // And the good are served to their end.
    frames.send(request(99, &good)).await;
    assert!(matches!(
        frames.outcome(99).await,
        StreamOutcome::Answered { status: 200, .. }
    ));
    counted(&harness, 15).await;
}

fn said<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    let header = headers.iter().find(|(other, _)| other == name);
    &header.unwrap_or_else(|| panic!("no {name}: {headers:?}")).1
}

/// What stands in a window that is not known to have room is not sent: the client would end the connection.
#[tokio::test]
async fn a_client_of_little_room_is_told_in_headers_alone() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let setting = |id: u8, value: u32| [&[0, id][..], &value.to_be_bytes()].concat();
    let settings = |payload: &[u8]| frame(SETTINGS, 0, 0, payload);
    let wide = frame(WINDOW_UPDATE, 0, 0, (16u32 << 20).to_be_bytes());
    for (name, first) in [
        ("a connection's window as it begins", settings(&[])),
        (
            "streams without a window",
            [settings(&setting(4, 0)), wide.clone()].concat(),
        ),
        // The engine then begins its next head with the new size of its table.
        ("no table of headers", settings(&setting(1, 0))),
    ] {
        let mut frames = Http2Connection::open_with(harness.gateway.address, &first).await;
        frames.send(request(1, &plus("host", "evil"))).await;
        let (headers, body) = frames.written_out(1).await;
        assert_eq!(body, 0, "{name}");
        assert_eq!(said(&headers, "x-request-id").len(), 36, "{name}");
        assert_eq!(said(&headers, "x-ms-error-code"), "ambiguous_host");
        assert_eq!(said(&headers, "content-length"), "0", "{name}");
        assert_eq!(said(&headers, "cache-control"), "no-store", "{name}");
    }
    counted(&harness, 3).await;
}

/// As a proxy in front does it that keeps a `Host` of its own.
#[tokio::test]
async fn a_real_client_with_another_host_is_told_so() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let http = client_builder().http2_prior_knowledge().build().unwrap();
    for asked in 1..=3 {
        let ask = || http.post(harness.url(CHAT)).header("api-key", KEY);
        let refused = ask().header("host", "evil").json(&chat());
        let refused = refused.send().await.unwrap();
        let id = refused.headers()["x-request-id"].clone();
        let error = error_of(refused, 400, "400").await;
        assert!(error["error"]["message"].as_str().unwrap().contains("host"));
        assert_eq!(ask().json(&chat()).send().await.unwrap().status(), 200);
        let log = harness.log(2 * asked).await;
        assert!(log.iter().any(|line| {
            line["request_id"] == id.to_str().unwrap()
                && line["refusal"] == "ambiguous_host"
                && line["http"] == "2"
        }));
    }
    counted(&harness, 3).await;
}

/// The engine knows nothing of the bodies of such answers, and may not send in their place.
#[tokio::test]
async fn answers_to_refused_hosts_never_fill_a_window_beyond_its_end() {
    let (upstream, harness) = ScriptedUpstream::harness("").await;
    let window: usize = 65_535 + (1 << 20);
    let first = [
        frame(SETTINGS, 0, 0, [0, 4, 0, 64, 0, 0]),
        frame(WINDOW_UPDATE, 0, 0, (1u32 << 20).to_be_bytes()),
    ];
    let mut frames = Http2Connection::open_with(harness.gateway.address, &first.concat()).await;
    let mut taken = 0;
    for stream in (1..41).step_by(2) {
        frames.send(request(stream, &plus("host", "evil"))).await;
        let (_, body) = frames.written_out(stream).await;
        assert!(body > 0);
        taken += body;
    }
    let good = encoded(&good_fields());
    frames.send(request(41, &good)).await;
    let sent = serde_json::json!({"x": "y".repeat(3 << 20)}).to_string();
    let told = sent.len();
    let answers = tokio::spawn(async move {
        upstream
            .call()
            .await
            .answer("200 OK", sent.as_bytes())
            .await;
        upstream
    });
    let refused = taken;
    // All but what was kept and not used comes without any more room.
    while taken < window - (8 << 10) + refused {
        let (kind, _, _, payload) = frames.next().await.unwrap();
        taken += if kind == DATA { payload.len() } else { 0 };
    }
    frames.send(frame(PING, 0, 0, [0; 8])).await;
    loop {
        let (kind, flags, _, payload) = frames.next().await.unwrap();
        match kind {
            DATA => taken += payload.len(),
            PING if flags & 1 == 1 => break,
            _ => {}
        }
    }
    assert!(taken <= window, "{taken} of {window}");
    frames
        .send(frame(WINDOW_UPDATE, 0, 0, (4u32 << 20).to_be_bytes()))
        .await;
    while taken < refused + told {
        let (kind, _, _, payload) = frames.next().await.unwrap();
        taken += if kind == DATA { payload.len() } else { 0 };
    }
    drop(answers.await.unwrap());
}
