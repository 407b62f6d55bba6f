//! Every header that goes out to a deployment and comes back to a client, and no other.

use forebay::simulator::FaultKind;

use super::{header, last};
use crate::{
    harness::{
        CHAT, Harness, INSTANCE_KEY, KEY, chat, client_builder, served_by, status, throttle,
    },
    http1_client::{RawConnection, post},
};

/// Every header that a deployment may receive; of the two credentials one.
const TO_A_DEPLOYMENT: [&str; 15] = [
    "accept",
    "accept-encoding",
    "aoai-copy-ft-checkpoints",
    "aoai-evals",
    "api-key",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "openai-beta",
    "traceparent",
    "tracestate",
    "x-ms-client-request-id",
    "x-ms-oai-image-generation-deployment",
    "x-ms-spillover-deployment",
];

/// What clients and proxies send that stays here.
const JUNK: &[(&str, &str)] = &[
    ("cookie", "ARRAffinity=1"),
    ("x-azure-fdid", "1"),
    ("x-azure-clientip", "192.0.2.1"),
    ("x-azure-socketip", "192.0.2.1"),
    ("x-azure-ref", "1"),
    ("x-azure-requestchain", "hops=1"),
    ("x-azure-debuginfo", "1"),
    ("x-fd-healthprobe", "1"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-host", "evil"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-authorization", "Bearer evil"),
    ("forwarded", "for=192.0.2.1"),
    ("via", "1.1 evil"),
    ("x-real-ip", "192.0.2.1"),
    ("x-original-url", "/openai/v1/files"),
    ("x-http-method-override", "DELETE"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "3.54.0"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.13.0"),
    ("x-stainless-async", "false"),
    ("x-stainless-read-timeout", "600"),
    ("x-stainless-raw-response", "true"),
    ("x-stainless-retry-count", "1"),
    ("x-request-id", "theirs"),
    ("x-ms-useragent", "evil"),
    ("ocp-apim-subscription-key", "evil"),
    ("user-agent", "AzureOpenAI/Python 3.54.0"),
    ("origin", "https://evil"),
    ("referer", "https://evil"),
    ("sec-fetch-mode", "cors"),
    ("accept-language", "*"),
    ("range", "bytes=0-1"),
    ("if-none-match", "x"),
    ("pragma", "no-cache"),
    ("metadata", "true"),
    ("x-anything", "1"),
];

/// Those that mean one connection.
const HOP_BY_HOP: &[(&str, &str)] = &[
    ("connection", "keep-alive, x-hop"),
    ("x-hop", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-authorization", "Basic evil"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-late"),
    ("upgrade", "websocket"),
];

pub(super) fn lines(headers: &[(&str, &str)]) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    lines.collect()
}

#[tokio::test]
async fn a_deployment_receives_these_headers_and_no_others() {
    // The first is asked with a token, the second with a key.
    let harness = Harness::open(&[("tokens", 1, 1), ("keys", 2, 1)]).await;
    harness.fault("tokens", throttle(60.0));
    let naming = [
        ("x-ms-oai-image-generation-deployment", "gpt-image-1"),
        ("x-ms-spillover-deployment", "gpt-4o"),
    ];
    let wanted: String = TO_A_DEPLOYMENT
        .iter()
        .filter(|name| naming.iter().all(|(naming, _)| naming != *name))
        .filter(|name| {
            ![
                "api-key",
                "authorization",
                "content-length",
                "content-type",
                "host",
            ]
            .contains(name)
        })
        .map(|name| format!("{name}: of-the-client\r\n"))
        .collect();
    let both = format!("authorization: Bearer {KEY}\r\n");
    let lines = [wanted, lines(&naming), both, lines(JUNK), lines(HOP_BY_HOP)].concat();
    let path = format!("{CHAT}?api-key={KEY}&include=1&API%2DKEY={KEY}&api_key={KEY}");
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(&path, &lines, chat().to_string())).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);

    for (instance, without) in [("tokens", "api-key"), ("keys", "authorization")] {
        let seen = last(&harness, instance);
        let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let expected: Vec<_> = TO_A_DEPLOYMENT
            .into_iter()
            .filter(|name| *name != without)
            .collect();
        assert_eq!(names, expected, "{instance}");
        assert_eq!(header(&seen, "accept-encoding"), "identity");
        assert_eq!(
            header(&seen, "host"),
            harness.simulator.address(instance).unwrap().to_string()
        );
        assert_eq!(header(&seen, "traceparent"), "of-the-client");
        for (name, model) in naming {
            assert_eq!(header(&seen, name), format!("{instance}-{model}"));
        }
        assert_eq!(
            header(&seen, "content-length"),
            seen.body_length.to_string()
        );
        assert_eq!(seen.path, format!("{CHAT}?include=1"));
        assert!(!format!("{seen:?}").contains(KEY), "{seen:?}");
    }
    assert_eq!(header(&last(&harness, "keys"), "api-key"), INSTANCE_KEY);
}

#[tokio::test]
async fn neither_http_2_nor_a_chunked_body_brings_others() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let junk = |mut request: reqwest::RequestBuilder| {
        for (name, value) in JUNK {
            request = request.header(*name, *value);
        }
        request
            .header("api-key", KEY)
            .header("cookie", "two=2")
            .json(&chat())
    };
    let http2 = client_builder().http2_prior_knowledge().build().unwrap();
    let answer = junk(http2.post(harness.url(CHAT))).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_2)
    );

    let body = chat().to_string();
    let chunked = format!(
        "5\r\n{}\r\n{:x}\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
        &body[..5],
        body.len() - 5,
        &body[5..]
    );
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(CHAT, "transfer-encoding: chunked\r\n", chunked))
        .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);

    let seen = harness.seen("only");
    assert_eq!(seen.len(), 2);
    for seen in seen {
        let odd = seen
            .headers
            .iter()
            .find(|(name, _)| !TO_A_DEPLOYMENT.contains(&name.as_str()));
        assert_eq!(odd, None);
        assert_eq!(
            header(&seen, "content-length"),
            seen.body_length.to_string()
        );
    }
}

/// Every header of an Azure answer that a client may receive, and what HTTP itself adds.
const TO_A_CLIENT: &[&str] = &[
    "apim-request-id",
    "azureml-model-session",
    "connection",
    "content-length",
    "content-type",
    "date",
    "x-accel-buffering",
    "x-content-type-options",
    "x-envoy-upstream-service-time",
    "x-ms-client-request-id",
    "x-ms-rai-invoked",
    "x-ms-region",
    "x-ms-request-id",
    "x-request-id",
    // The simulator's own.
    "x-simulator-body-sha256",
    "x-simulator-deployment",
];

#[tokio::test]
async fn a_client_receives_these_headers_and_no_others() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let kept_back = [
        ("set-cookie", "ARRAffinity=1; Path=/"),
        ("strict-transport-security", "max-age=1"),
        ("alt-svc", "h3=\":443\""),
        ("azure-openai-deployment-utilization", "12.5%"),
        ("x-ms-deployment-name", "secret"),
        ("x-ratelimit-limit-requests", "1"),
        ("x-ratelimit-limit-tokens", "1"),
        ("x-ratelimit-remaining-requests", "1"),
        ("x-ratelimit-remaining-tokens", "1"),
        ("x-ratelimit-reset-requests", "1"),
        ("x-ratelimit-reset-tokens", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("refresh", "0; url=https://evil"),
        ("clear-site-data", "\"*\""),
        ("access-control-allow-origin", "*"),
        ("server", "secret/1.0"),
        ("www-authenticate", "Basic realm=\"secret\""),
        ("link", "</evil>; rel=preload"),
        ("api-key", INSTANCE_KEY),
        ("authorization", "Bearer of-an-instance"),
        ("x-anything", "1"),
    ];
    // An error is the caller's matter as well: it is delivered with the same care.
    for fault in [
        None,
        Some(status(200, &kept_back)),
        Some(status(400, &kept_back)),
    ] {
        harness.fault("only", fault.clone());
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(post(CHAT, "", chat().to_string())).await;
        let answer = wire.answer().await.unwrap();
        let odd: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !TO_A_CLIENT.contains(name))
            .collect();
        assert!(odd.is_empty(), "{fault:?}: {odd:?}");
        assert!(answer.keeps_open() && answer.header("connection") != Some("x-hop"));
        assert!(
            answer.header("x-ms-region").is_some() && answer.header("apim-request-id").is_some(),
            "{answer:?}"
        );
    }
    let metrics = harness.metrics().await;
    assert!(metrics.contains("forebay_deployment_utilization_ratio{deployment=\"only-gpt-4o\",instance=\"only\",model=\"gpt-4o\"} 0.125"), "{metrics}");
}

/// Azure takes ten custom headers, one of which may be the gateway's own key for it.
#[tokio::test]
async fn no_more_headers_go_on_than_azure_takes_and_what_stays_is_counted() {
    let own = ["x-team", "x-cost-center", "x-tenant"];
    let more = format!("server: {{ forward_headers: [{}] }}", own.join(", "));
    let harness = Harness::open_with(&[("tokens", 1, 1), ("keys", 2, 1)], &more).await;
    harness.fault("tokens", throttle(60.0));
    let standard = [
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "content-length",
        "content-type",
        "host",
    ];
    let custom: Vec<_> = TO_A_DEPLOYMENT
        .iter()
        .filter(|name| !standard.contains(name))
        .chain(&own)
        .collect();
    let value = |name: &str| {
        if name.ends_with("-deployment") {
            "gpt-4o"
        } else {
            "of-the-client"
        }
    };
    let sent: String = custom
        .iter()
        .map(|name| format!("{name}: {}\r\n", value(name)))
        .collect();
    let unlisted = "x-ms-new-switch: 1\r\nopenai-organization: org\r\n";
    for _ in 0..2 {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        let lines = format!("{sent}{unlisted}{}", lines(JUNK));
        wire.send(post(CHAT, &lines, chat().to_string())).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    for instance in ["tokens", "keys"] {
        let seen = last(&harness, instance);
        let mut names = seen.headers.iter().map(|(name, _)| name.as_str());
        let gone: Vec<_> = names
            .by_ref()
            .filter(|name| !standard.contains(name))
            .collect();
        assert_eq!(gone.len(), 9, "{gone:?}");
        assert!(own.iter().all(|name| gone.contains(name)), "{gone:?}");
        assert!(!gone.contains(&"tracestate") && !gone.contains(&"traceparent"));
        assert!(gone.contains(&"x-ms-spillover-deployment"), "{gone:?}");
    }
    let metrics = harness.metrics().await;
    for line in [
        "forebay_headers_dropped_total{reason=\"over_limit\"} 4",
        "forebay_headers_dropped_total{reason=\"unlisted\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let stderr = harness.gateway.stderr();
    assert_eq!(stderr.matches("are not forwarded").count(), 1, "{stderr}");
}

/// An operator's header goes on beside the others; what `Connection` names is for this connection alone.
#[tokio::test]
async fn an_operators_own_header_goes_on_and_one_for_the_connection_stays() {
    let more = "server: { forward_headers: [X-Team, accept-language] }";
    let harness = Harness::open_with(&[("only", 1, 1)], more).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let lines = "x-team: red\r\nX-Team: blue\r\naccept-language: de\r\ntraceparent: t\r\nopenai-beta: b\r\nconnection: Traceparent, openai-beta\r\n";
    wire.send(post(CHAT, lines, chat().to_string())).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    let seen = last(&harness, "only");
    assert_eq!(header(&seen, "x-team"), "red");
    assert_eq!(header(&seen, "accept-language"), "de");
    let names = || seen.headers.iter().map(|(name, _)| name.as_str());
    assert_eq!(names().filter(|name| *name == "x-team").count(), 1);
    assert!(names().all(|name| name != "traceparent" && name != "openai-beta"));
}

#[tokio::test]
async fn a_served_answer_has_the_id_that_is_in_the_log() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let answer = harness.chat().await;
    let log = harness.log(1).await;
    assert_eq!(
        log[0]["request_id"],
        answer.headers()["x-request-id"].to_str().unwrap()
    );
}

#[tokio::test]
async fn one_deployments_limits_and_its_wait_stay_unseen_while_another_serves() {
    let harness = Harness::open(&[("full", 1, 1), ("well", 2, 1)]).await;
    harness.fault(
        "full",
        status(
            429,
            &[
                ("retry-after-ms", "1500"),
                ("retry-after", "2"),
                ("x-ratelimit-remaining-tokens", "0"),
            ],
        ),
    );
    let answer = harness.chat().await;
    assert_eq!(
        (answer.status().as_u16(), served_by(&answer)),
        (200, "well".to_owned())
    );
    for name in [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-remaining-tokens",
    ] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    harness.fault("well", FaultKind::Throttle { seconds: 0.4 });
    let answer = harness.chat().await;
    assert_eq!(answer.status(), 429);
    // Rounded up, and never 0: some clients take that for no word at all.
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(
        (1..=400).contains(
            &answer.headers()["retry-after-ms"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        )
    );
}
