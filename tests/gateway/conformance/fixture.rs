//! Where the rows are played: one simulator, one gateway, and for each row and shape a model of its own, so that no row
//! feels another one's state.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Instant};

use forebay::simulator::{self, Config, Fault, Simulator};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{
    config_files::{config, simulation},
    row::{Does, ForRequest, Row, Shape},
};
use crate::{
    harness::{Gateway, KEY, client, eventually, eventually_async},
    metrics_page::{self, label, samples},
};

/// Of ten words, so that a stream's sixth event is not its last.
const PROMPT: &str = "one two three four five six seven eight";

pub(crate) struct OutcomeFixture {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    pub(crate) http: Client,
}

/// A row as it is asked in one shape.
pub(crate) struct Case<'a> {
    pub(crate) row: &'a Row,
    pub(crate) shape: Shape,
    pub(crate) model: String,
}

/// What a client saw.
#[derive(Debug)]
pub(crate) struct ClientSaw {
    pub(crate) status: u16,
    /// As the gateway says it.
    pub(crate) deployment: String,
    pub(crate) text: String,
    /// The transfer was aborted.
    pub(crate) broken: bool,
}

impl ClientSaw {
    /// No answer at all.
    fn nothing(error: &reqwest::Error) -> Self {
        Self {
            status: 0,
            deployment: String::new(),
            text: error.to_string(),
            broken: true,
        }
    }
}

/// What there is to know of a case after it was played.
pub(crate) struct Played {
    /// `None` for a client that left.
    pub(crate) told: Option<ClientSaw>,
    pub(crate) asked: Instant,
}

/// One case for each shape of each row.
pub(crate) fn cases(rows: &[Row]) -> Vec<Case<'_>> {
    let numbered = rows.iter().enumerate();
    let cases = numbered.flat_map(|(number, row)| {
        row.shapes.iter().map(move |shape| Case {
            row,
            shape: *shape,
            model: format!("row-{number}-{shape:?}").to_lowercase(),
        })
    });
    cases.collect()
}

impl Case<'_> {
    /// The instance that the gateway asks first, by its name there.
    pub(crate) fn first(&self) -> String {
        match self.row.does {
            Does::Gone => "gone".to_owned(),
            Does::NoTls => "no-tls".to_owned(),
            Does::NoName => "no-name".to_owned(),
            // A token of its own: a forced renewal is no other row's matter.
            _ if self.row.by_token => format!("by-token-{}", self.model),
            _ => "first".to_owned(),
        }
    }

    pub(crate) fn body(&self) -> Value {
        let (model, messages) = (&self.model, json!([{"role": "user", "content": PROMPT}]));
        match self.shape {
            Shape::Chat | Shape::Inference => json!({"model": model, "messages": messages}),
            Shape::StreamedChat => json!({"model": model, "messages": messages, "stream": true}),
            Shape::StreamedResponses => json!({"model": model, "input": PROMPT, "stream": true}),
            Shape::Embeddings | Shape::Compacted => json!({"model": model, "input": PROMPT}),
        }
    }

    fn path(&self) -> &'static str {
        match self.shape {
            Shape::Chat | Shape::StreamedChat => "/openai/v1/chat/completions",
            Shape::StreamedResponses => "/openai/v1/responses",
            Shape::Embeddings => "/openai/v1/embeddings",
            Shape::Compacted => "/openai/v1/responses/compact",
            Shape::Inference => "/models/chat/completions?api-version=2024-05-01-preview",
        }
    }

    /// Whether this is the whole answer to what was asked.
    pub(crate) fn is_whole(&self, text: &str) -> bool {
        match self.shape {
            Shape::Chat | Shape::Inference => {
                text.contains("\"chat.completion\"") && text.contains(PROMPT)
            }
            Shape::StreamedChat => text.ends_with("data: [DONE]\n\n"),
            Shape::StreamedResponses => text.contains("event: response.completed\n"),
            Shape::Embeddings | Shape::Compacted => text.contains("\"usage\""),
        }
    }
}

impl OutcomeFixture {
    pub(crate) async fn open(cases: &[Case<'_>]) -> Self {
        let simulator = simulator::start(Config::parse(&simulation(cases)).unwrap());
        let simulator = simulator.await.unwrap();
        simulator.down("gone").await.unwrap();
        let gateway = Gateway::start(&config(&simulator, cases)).await;
        let http = client();
        Self {
            simulator,
            gateway,
            http,
        }
    }

    pub(crate) async fn play(&self, case: &Case<'_>) -> Played {
        let fault = case.row.does.fault().map(Fault::from);
        self.set(case, fault);
        let asked = Instant::now();
        let told = match case.row.request {
            ForRequest::Stopped => {
                self.leave(case).await;
                None
            }
            _ => Some(told(self.request(case)).await),
        };
        Played { told, asked }
    }

    fn set(&self, case: &Case<'_>, fault: Option<Fault>) {
        let set = self.simulator.set_fault("first", Some(&case.model), fault);
        set.unwrap();
    }

    pub(crate) fn request(&self, case: &Case<'_>) -> RequestBuilder {
        let url = format!("http://{}{}", self.gateway.address, case.path());
        let request = self.http.post(url).header("api-key", KEY);
        request.json(&case.body())
    }

    /// Asks, and leaves as soon as the deployment has been asked.
    async fn leave(&self, case: &Case<'_>) {
        let asking = tokio::spawn(self.request(case).send());
        eventually("the deployment was asked", || {
            self.asked("first", case) == 1
        })
        .await;
        asking.abort();
        let page = || self.simulator.stats().deployment("first", &case.model);
        eventually("the deployment noticed", || page().cancelled == 1).await;
    }

    /// How often a simulated instance was asked.
    pub(crate) fn asked(&self, instance: &str, case: &Case<'_>) -> u64 {
        let stats = self.simulator.stats();
        stats.deployment(instance, &case.model).requests
    }

    /// What the gateway's `/status` says of the first deployment of each model.
    pub(crate) async fn states(&self) -> BTreeMap<String, Value> {
        let url = format!("http://{}/status", self.gateway.admin);
        let status: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let models = status["models"].as_array().unwrap().iter();
        let first = |model: &Value| {
            let name = model["model"].as_str().unwrap().to_owned();
            (name, model["deployments"][0].clone())
        };
        models.map(first).collect()
    }

    /// How many attempts were counted, by instance, model and outcome; once so many requests were.
    pub(crate) async fn attempts(&self, requests: usize) -> BTreeMap<[String; 3], u64> {
        let page = async || metrics_page::page(&self.http, self.gateway.admin).await;
        eventually_async("every request is counted", async || {
            let page = page().await;
            let counted = samples(&page, "forebay_requests_total{");
            counted.map(|(_, number)| number).sum::<u64>() == requests as u64
        })
        .await;
        let page = page().await;
        let attempts = samples(&page, "forebay_attempts_total{");
        attempts
            .map(|(labels, number)| {
                (
                    ["instance", "model", "outcome"].map(|name| label(labels, name)),
                    number,
                )
            })
            .collect()
    }
}

async fn told(request: RequestBuilder) -> ClientSaw {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return ClientSaw::nothing(&error),
    };
    let (mut bytes, status) = (Vec::new(), response.status().as_u16());
    let deployment = response.headers().get("x-forebay-deployment");
    let deployment = deployment
        .map_or("", |name| name.to_str().unwrap())
        .to_owned();
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    ClientSaw {
        status,
        deployment,
        text: String::from_utf8(bytes).unwrap(),
        broken,
    }
}

/// Whether what is left of a wait of `seconds`, which began between `asked` and now, is `left`.
pub(crate) fn is_left(left: &Value, seconds: RangeInclusive<f64>, asked: Instant) -> bool {
    let passed = asked.elapsed().as_secs_f64();
    match left.as_f64() {
        Some(left) => left > seconds.start() - passed && left <= *seconds.end(),
        // It may be over: only if that much time has passed.
        None => passed >= *seconds.start(),
    }
}
