//! What goes out to a deployment and comes back to a client: every header, every path, every byte of the body.

use forebay::simulator::{self, Config, FaultKind, SeenRequest};
use sha2::{Digest, Sha256};

use crate::{
    harness::{
        CHAT, Gateway, Harness, INSTANCE_KEY, KEY, chat, client, client_builder, error_of,
        served_by, status, throttle,
    },
    http1_client::{RawConnection, post, request},
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

fn lines(headers: &[(&str, &str)]) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    lines.collect()
}

fn sha256(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header<'a>(seen: &'a SeenRequest, name: &str) -> &'a str {
    let found = seen.headers.iter().find(|(other, _)| other == name);
    &found.unwrap_or_else(|| panic!("no {name} in {seen:?}")).1
}

fn last(harness: &Harness, instance: &str) -> SeenRequest {
    harness.seen(instance).pop().unwrap()
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
    let value = |name: &str| match name.ends_with("-deployment") {
        true => "gpt-4o",
        false => "of-the-client",
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
    assert_eq!(stderr.matches("do not go on").count(), 1, "{stderr}");
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
async fn a_v1_body_arrives_as_it_was_sent_but_for_the_models_name() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let messages =
        r#""messages":[{"role":"user","content":"a\u00e9\/\ud83d\ude00 é \"model\":\"gpt-4o\""}]"#;
    let bodies = [
        format!("{{\"model\":\"gpt-4o\",{messages}}}"),
        format!("{{{messages},\"model\":\"gpt-4o\"}}"),
        format!("\r\n\t {{ {messages}\n,\t\"model\"  :\r\n \"gpt-4o\" \n}} \r\n\r\n"),
        format!(
            "{{\"zeta\":1.0e+2,\"alpha\":123456789012345678901234567890,\"n\":1.10000000000000000001,{messages},\"model\":\"gpt-4o\",\"x\":{{\"model\":\"gpt-4o\"}}}}"
        ),
        format!("{{\"seed\":1,\"seed\":2,{messages},\"mod\\u0065l\":\"gpt-4o\"}}"),
        format!("{{\"model\":\"\\u0067pt-4o\",{messages}}}"),
        format!(
            "{{{messages},\"model\":\"gpt-4o\",\"pad\":\"{}\"}}",
            "é".repeat(200_000)
        ),
    ];
    for path in [CHAT, "/v1/chat/completions"] {
        for body in &bodies {
            let at = if body.contains("\"\\u0067pt-4o\"") {
                body.find("\"\\u0067pt-4o\"").unwrap()
            } else {
                model_at(body)
            };
            let len = body[at + 1..].find('"').unwrap() + 2;
            let expected = format!("{}\"only-gpt-4o\"{}", &body[..at], &body[at + len..]);
            let _ = harness.post(path).body(body.clone()).send().await.unwrap();
            let seen = last(&harness, "only");
            assert_eq!(seen.path, CHAT);
            assert_eq!(
                seen.body_sha256.as_deref(),
                Some(sha256(expected.as_bytes()).as_str()),
                "{expected:.300}"
            );
            assert_eq!(header(&seen, "content-length"), expected.len().to_string());
        }
    }
}

/// Where the value of the outermost `model` starts: in these bodies the first one that no escape stands before.
fn model_at(body: &str) -> usize {
    let key = ["\"model\"", "\"mod\\u0065l\""]
        .iter()
        .filter_map(|key| body.find(key).map(|at| at + key.len()))
        .min()
        .unwrap();
    key + body[key..].find('"').unwrap()
}

#[tokio::test]
async fn a_classic_body_arrives_untouched_whatever_it_says_of_the_model() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21&include=a%20b";
    for body in [
        r#"{"model": null, "messages":[{"role":"user","content":"hi"}]}"#,
        r#"{ "messages" : [{"role":"user","content":"hi"}] }"#,
        r#"{"model":"another","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":7,"model":"b","messages":[{"role":"user","content":"hi"}]}"#,
        "not even JSON",
        "",
    ] {
        let _ = harness.post(path).body(body).send().await.unwrap();
        let seen = last(&harness, "only");
        assert_eq!(seen.path, path.replace("/gpt-4o/", "/only-gpt-4o/"));
        assert_eq!(
            (seen.body_length, seen.body_sha256),
            (body.len(), Some(sha256(body.as_bytes()))),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_multipart_form_names_its_model_on_both_paths() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u{1}PNG\r\n\r\n--b\r\n\
        Content-Disposition: form-data; name=\"model\"\r\n\r\ngpt-image-1\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\ngpt-image-1\r\n--b--\r\n";
    let renamed = form.replacen("gpt-image-1", "only-gpt-image-1", 1);
    for (path, out, body) in [
        (
            "/openai/v1/images/edits",
            "/openai/v1/images/edits",
            renamed.as_str(),
        ),
        (
            "/v1/images/edits",
            "/openai/v1/images/edits",
            renamed.as_str(),
        ),
        // The official Node client's way: the path goes out as the one that names a deployment.
        (
            "/openai/images/edits?api-version=2025-04-01-preview",
            "/openai/deployments/only-gpt-image-1/images/edits?api-version=2025-04-01-preview",
            form,
        ),
    ] {
        let request = harness.http.post(harness.url(path)).header("api-key", KEY);
        let answer = request
            .header("content-type", "multipart/form-data; boundary=b")
            .body(form)
            .send()
            .await
            .unwrap();
        let seen = last(&harness, "only");
        assert_eq!((answer.status().as_u16(), seen.path.as_str()), (200, out));
        assert_eq!(seen.body_sha256, Some(sha256(body.as_bytes())), "{path}");
        assert_eq!(header(&seen, "content-length"), body.len().to_string());
        assert_eq!(
            header(&seen, "content-type"),
            "multipart/form-data; boundary=b"
        );
    }
}

/// A gateway of one model with one deployment, of this instance's kind and this name.
async fn harness_of(instance: &str, endpoint_path: &str, deployment: &str) -> Harness {
    let simulation = format!(
        "control: 127.0.0.1:0\nrecord: full\ninstances:\n  only: {{ address: 127.0.0.1:0, keys: [{INSTANCE_KEY}], {instance} deployments: {{ d: {{ model: gpt-4o }} }} }}\n"
    );
    let simulator = simulator::start(Config::parse(&simulation).unwrap())
        .await
        .unwrap();
    let (address, key) = (
        simulator.address("only").unwrap(),
        forebay::config::hash_key(KEY).unwrap().hash,
    );
    let config = format!(
        "identities: {{ key: {{ api_key: {INSTANCE_KEY} }} }}\n\
         instances: {{ only: {{ endpoint: \"http://{address}{endpoint_path}\", identity: key, {instance} }} }}\n\
         models: {{ gpt-4o: {{ deployments: [{{ instance: only, deployment: \"{deployment}\" }}] }} }}\n\
         clients: {{ tests: {{ keys: [\"{key}\"], models: [\"*\"] }} }}\n"
    );
    Harness {
        simulator,
        gateway: Gateway::start(&config).await,
        http: client(),
    }
}

#[tokio::test]
async fn a_plain_openai_server_is_asked_on_its_own_paths_with_the_model_in_the_body() {
    let harness = harness_of("kind: openai,", "/v1", "d").await;
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (path, body, expected) in [
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21&include=1",
            format!("{{{messages}}}"),
            format!("{{\"model\":\"d\",{messages}}}"),
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions?include=1&api-version=1",
            format!("{{\"model\": null ,{messages}}}"),
            format!("{{\"model\": \"d\" ,{messages}}}"),
        ),
        (
            "/openai/deployments/gpt-4o/chat/completions?include=1",
            format!("{{\"model\":\"other\",{messages}}}"),
            format!("{{\"model\":\"d\",{messages}}}"),
        ),
        (
            "/openai/v1/chat/completions?include=1",
            format!("{{{messages},\"model\":\"gpt-4o\"}}"),
            format!("{{{messages},\"model\":\"d\"}}"),
        ),
        (
            "/v1/chat/completions?include=1",
            format!("{{{messages},\"model\":\"gpt-4o\"}}"),
            format!("{{{messages},\"model\":\"d\"}}"),
        ),
    ] {
        let answer = harness.post(path).body(body).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), served_by(&answer)),
            (200, "only".to_owned()),
            "{path}"
        );
        let seen = last(&harness, "only");
        assert_eq!(seen.path, "/v1/chat/completions?include=1");
        assert_eq!(
            seen.body_sha256,
            Some(sha256(expected.as_bytes())),
            "{path}"
        );
        assert_eq!(
            header(&seen, "authorization"),
            format!("Bearer {INSTANCE_KEY}")
        );
    }
}

/// A server that goes by the body could read another model in it than the path, which is what was allowed.
#[tokio::test]
async fn no_second_model_reaches_a_server_that_goes_by_the_body() {
    let harness = harness_of("kind: openai,", "/v1", "d").await;
    for body in [
        r#"{"model":"gpt-4o","messages":[],"model":"other"}"#,
        r#"{"model":42,"messages":[]}"#,
        r#"{"model":"other","messages":[]"#,
    ] {
        let path = "/openai/deployments/gpt-4o/chat/completions?api-version=1";
        let answer = harness.post(path).body(body).send().await.unwrap();
        error_of(answer, 400, "400").await;
    }
    assert_eq!(harness.asked("only"), 0);
}

#[tokio::test]
async fn a_deployments_name_is_one_segment_of_the_path_whatever_it_holds() {
    for (name, segment) in [
        ("a/b?c#d%2e", "a%2Fb%3Fc%23d%252e"),
        ("v1.0_x~y-z", "v1.0_x~y-z"),
    ] {
        let harness = harness_of("", "", name).await;
        let path = "/openai/deployments/gpt-4o/chat/completions?api-version=1";
        let _ = harness.post(path).json(&chat()).send().await.unwrap();
        assert_eq!(last(&harness, "only").path, path.replace("gpt-4o", segment));
        // The simulator has no such deployment, so that one is set aside by now.
        let harness = harness_of("", "", name).await;
        let _ = harness.chat().await;
        assert_eq!(last(&harness, "only").path, CHAT);
    }
}

#[tokio::test]
async fn a_path_with_a_host_in_it_goes_out_as_any_other() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    wire.send(post(
        &format!("http://gateway{CHAT}?include=1"),
        "",
        chat().to_string(),
    ))
    .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    let seen = last(&harness, "only");
    assert_eq!(seen.path, format!("{CHAT}?include=1"));
    assert_eq!(
        header(&seen, "host"),
        harness.simulator.address("only").unwrap().to_string()
    );
    // Another host than `Host` says, no path at all, a tunnel.
    let evil = ["http://evil.example", "http://127.0.0.1:1"].map(|host| format!("{host}{CHAT}"));
    for odd in evil
        .iter()
        .map(String::as_str)
        .chain(["*", "evil.example:443"])
    {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request(
            "POST",
            odd,
            &format!("api-key: {KEY}\r\n"),
            chat().to_string(),
        ))
        .await;
        let answer = wire.answer().await;
        assert!(
            answer.is_none_or(|answer| (400..500).contains(&answer.status)),
            "{odd}"
        );
    }
    assert_eq!(harness.asked("only"), 1);
}

#[tokio::test]
async fn an_http_1_0_client_gets_its_answer_whole_and_never_in_chunks() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    for (stream, end) in [(false, "}"), (true, "data: [DONE]\n\n")] {
        let mut body = chat();
        body["stream"] = stream.into();
        let request = post(CHAT, "", body.to_string());
        let request = String::from_utf8(request)
            .unwrap()
            .replacen("HTTP/1.1", "HTTP/1.0", 1);
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(request).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("transfer-encoding")),
            (200, None),
            "{answer:?}"
        );
        assert!(String::from_utf8(answer.body).unwrap().ends_with(end));
        assert!(wire.ends().await);
    }
    assert_eq!(harness.asked("only"), 2);
}

#[tokio::test]
async fn a_connection_is_kept_or_ends_as_its_client_says() {
    let harness = Harness::open(&[("only", 1, 1)]).await;
    let mut wire = RawConnection::open(harness.gateway.address).await;
    let old = |lines: &str| {
        let request = post(CHAT, lines, chat().to_string());
        let request = String::from_utf8(request).unwrap();
        request.replacen("HTTP/1.1", "HTTP/1.0", 1)
    };
    for request in [
        post(CHAT, "connection: keep-alive\r\n", chat().to_string()),
        old("connection: keep-alive\r\n").into(),
        post(CHAT, "connection: close\r\n", chat().to_string()),
    ] {
        wire.send(request).await;
        assert_eq!(wire.answer().await.unwrap().status, 200);
    }
    assert!(wire.ends().await);
    for path in [CHAT, "/nothing"] {
        let mut wire = RawConnection::open(harness.gateway.address).await;
        wire.send(old("").replacen(CHAT, path, 1)).await;
        assert!(wire.answer().await.is_some() && wire.ends().await, "{path}");
    }
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
