//! What benches decide about and read: requests, answers, configs and records as they are seen in traffic.

#![allow(dead_code, reason = "each bench takes what it needs")]

#[path = "../../src/telemetry/record/example.rs"]
mod example;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub(crate) use example::record;
use forebay::{
    domain::{
        breaker::Settings,
        client::{
            Client, Clients, KeyHash,
            certificate::{Certificate, Entry, Name},
        },
        deployment::{Capacity, Deployment, Endpoint, Instance, Kind, Model, Priority, Weight},
        forwarding::Forwarding,
        front_door::{FrontDoor, Network, ProfileId},
        name::{ClientName, ModelName},
        pool::Pool,
        price::{Currency, ModelPrices, Price, Prices, Rates},
        quota::{Calendar, ClientLimits, Limits, Moment, Quotas},
        usage::Usage,
    },
    telemetry::record::{AnswerEnd, AttemptRecord, Record},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::json;

/// A chat as OpenAI's SDK for Python sends it, from behind Front Door.
pub(crate) const HEAD: &[u8] = b"POST /openai/v1/chat/completions HTTP/1.1\r\n\
    Host: gateway.contoso.com\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\n\
    Accept: application/json\r\n\
    Content-Type: application/json\r\n\
    User-Agent: OpenAI/Python 1.109.1\r\n\
    X-Stainless-Lang: python\r\n\
    X-Stainless-Package-Version: 1.109.1\r\n\
    X-Stainless-OS: Linux\r\n\
    X-Stainless-Arch: x64\r\n\
    X-Stainless-Runtime: CPython\r\n\
    X-Stainless-Runtime-Version: 3.12.3\r\n\
    Authorization: Bearer key-5000\r\n\
    X-Stainless-Async: false\r\n\
    x-stainless-retry-count: 0\r\n\
    x-stainless-read-timeout: 600\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    X-Azure-FDID: 0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f\r\n\
    X-Azure-SocketIP: 192.0.2.1\r\n\
    Content-Length: 1024\r\n\
    \r\n";

/// The headers of the same, as they are read.
pub(crate) fn headers() -> HeaderMap {
    let text = str::from_utf8(HEAD).expect("it is ASCII");
    let lines = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    let named = lines.map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("it is a name");
        (name, HeaderValue::from_str(value).expect("it is a value"))
    });
    named.collect()
}

/// An operator's, with two headers of their own.
pub(crate) fn forwarding() -> Forwarding {
    let own = ["x-team", "x-purpose"].map(|name| Forwarding::may_add(name).expect("it may"));
    Forwarding::new(own.to_vec())
}

pub(crate) fn front_door() -> FrontDoor {
    let id = |text| ProfileId::parse(text).expect("it is an id");
    FrontDoor {
        ids: vec![
            id("ffffffff-0a1b-2c3d-4e5f-0a1b2c3d4e5f"),
            id("0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f"),
        ],
        networks: vec![Network::parse("10.0.0.0/8").expect("it is a network")],
    }
}

/// Each with a key, and a certificate of its own.
pub(crate) fn clients(count: u32) -> Clients {
    Clients::listed((0..count).map(|number| Client {
        keys: vec![KeyHash::of(format!("key-{number}").as_bytes())],
        certificates: vec![Entry {
            name: common_name(number),
            ca: None,
        }],
        ..Client::named(&format!("client-{number}"))
    }))
}

fn common_name(number: u32) -> Name {
    Name::common_name(&format!("client-{number}")).expect("it is a name")
}

/// The certificate of the client with this number.
pub(crate) fn certificate(number: u32) -> Certificate {
    let organization = ("2.5.4.10".to_owned(), "Contoso".to_owned());
    let name = ("2.5.4.3".to_owned(), format!("client-{number}"));
    let other = Name::dns(&format!("client-{number}.contoso.com")).expect("it is a name");
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    Certificate::new(Some(&[organization, name]), [other], until)
}

/// A chat of this many bytes, in messages of about three hundred.
pub(crate) fn chat(size: usize) -> String {
    let words =
        r#"{"role":"user","content":"Above the dam the water waits until a \"turbine\" is free.\n"#;
    let message = format!(
        "{}{}\"}}",
        words,
        "And what can't be taken spills over. ".repeat(6)
    );
    let mut body = String::from(r#"{"model":"gpt-4o","temperature":0.5,"messages":["#);
    while body.len() + message.len() < size {
        body.push_str(&message);
        body.push(',');
    }
    body.push_str(r#"{"role":"user","content":"Why?"}],"stream":false}"#);
    body
}

pub(crate) fn pool_of(count: u32) -> Pool {
    let deployment = |number| Deployment {
        instance: Arc::new(Instance {
            name: format!("instance-{number}").as_str().into(),
            endpoint: Endpoint::parse("https://contoso.openai.azure.com").expect("it is a URL"),
            kind: Kind::AzureOpenai,
            identity: "vm".into(),
            scope: "https://cognitiveservices.azure.com/.default".into(),
            geography: None,
            ca: None,
            stream_usage: true,
            connect_to: None,
        }),
        name: "gpt-4o".into(),
        capacity: Capacity::Standard,
        priority: Priority::FIRST,
        weight: Weight::new(1 + number % 3).expect("it is not zero"),
    };
    let model = Model {
        name: "gpt-4o".into(),
        version: None,
        deployments: (0..count).map(deployment).collect(),
        timeouts: Default::default(),
        required: false,
    };
    Pool::new(model, Settings::default())
}

pub(crate) const ROOM: &str = "no limit is ever reached";

pub(crate) fn moment() -> Moment {
    Moment {
        at: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// A client with every limit, and the same with these models.
pub(crate) fn limited(number: usize, models: &[ModelName]) -> Arc<Client> {
    let most = Some(1 << 50);
    let limits = Limits {
        requests_per_minute: most,
        tokens_per_minute: most,
        tokens_per_hour: most,
        tokens_per_day: most,
        tokens_per_month: most,
        concurrency: most,
        ..Limits::default()
    };
    let models = models.iter().map(|model| (model.clone(), limits.clone()));
    Arc::new(Client {
        limits: ClientLimits {
            models: models.collect(),
            own: limits,
        },
        ..Client::named(&format!("client-{number}"))
    })
}

pub(crate) fn quotas(clients: &[Arc<Client>]) -> Quotas {
    let zone = Calendar::for_zone("Europe/Berlin").expect("there is such a zone");
    let limits = clients.iter().map(|client| (&client.name, &client.limits));
    Quotas::new(limits, zone, moment())
}

/// What stands in the head of an answer that says when to come back.
pub(crate) fn throttling() -> HeaderMap {
    let lines = [
        ("content-type", "application/json"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-remaining-tokens", "118000"),
        ("apim-request-id", "b1c6ff0c-9f5e-4b68-ae32-5cd1bb1d9c1a"),
        ("retry-after-ms", "6500"),
        ("retry-after", "7"),
    ];
    let named = lines.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    named.into_iter().collect()
}

pub(crate) fn head_of(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}

/// What a stream opens with: the filter's word on the prompt, and the role.
pub(crate) fn opening_events() -> [String; 2] {
    let filter = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":\
                  [{\"prompt_index\":0,\"content_filter_results\":{}}]}\n\n";
    [
        filter.to_owned(),
        event(r#"{"content":"","refusal":null,"role":"assistant"}"#, ""),
    ]
}

/// A chat's event with a word of output; `usage` is what it says of that, like `,"usage":null`.
pub(crate) fn output_event(usage: &str) -> String {
    event(r#"{"content":" water"}"#, usage)
}

fn event(delta: &str, usage: &str) -> String {
    format!(
        r#"data: {{"choices":[{{"content_filter_results":{{}},"delta":{delta},"finish_reason":null,"index":0,"logprobs":null}}],"created":1726000000,"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_04751d0b65"{usage}}}"#
    ) + "\n\n"
}

/// A whole chat's answer with about so many bytes of text.
pub(crate) fn answer(size: usize) -> String {
    let used = json!({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "prompt_tokens_details": {"cached_tokens": 16}});
    let text = "Water gathers above the dam. ".repeat(size / 29);
    let safe = json!({"filtered": false, "severity": "safe"});
    let filters = json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe});
    let choice = json!({
        "index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "content_filter_results": filters,
    });
    json!({
        "choices": [choice], "id": "chatcmpl-1", "model": "gpt-4o", "usage": used,
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filters}],
    })
    .to_string()
}

pub(crate) fn prices() -> Prices {
    let price = |text| Price::parse(text).expect("it is a price");
    let standard = Rates {
        input: price("2.50"),
        cached: price("1.25"),
        output: price("10"),
        ..Rates::default()
    };
    let model = ModelPrices {
        standard,
        ..ModelPrices::default()
    };
    Prices {
        currency: Currency::parse("EUR").expect("it is a currency"),
        models: HashMap::from([("gpt-4o".into(), model)]),
    }
}

/// A chat that the instance of this number answered at once.
pub(crate) fn served(client: ClientName, instance: usize) -> Record {
    let mut record = record();
    record.client = Some(client);
    record.attempts.remove(0);
    record.attempts[0].instance = format!("instance-{instance}").as_str().into();
    record
}
