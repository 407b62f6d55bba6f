//! One of many clients: asks again and again, each time for something of its own, and keeps what it was told.

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{ChaosRun, MODEL};
use crate::harness::{CHAT, KEY, client, client_builder};

pub(crate) struct Caller {
    run: Arc<ChaosRun>,
    number: u64,
    http: Client,
    chance: Rng,
}

/// One request, and what its client was told.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) http2: bool,
    pub(crate) streamed: bool,
    /// As the gateway names it; empty without an answer.
    pub(crate) request_id: String,
    /// 0 without an answer.
    pub(crate) status: u16,
    pub(crate) text: String,
    /// The transfer was aborted.
    pub(crate) broken: bool,
}

impl Caller {
    /// Every other one speaks HTTP/2.
    pub(crate) fn new(run: Arc<ChaosRun>, number: u64, chance: Rng) -> Self {
        let http = match number % 2 {
            0 => client(),
            _ => client_builder().http2_prior_knowledge().build().unwrap(),
        };
        Self {
            run,
            number,
            http,
            chance,
        }
    }

    pub(crate) async fn go_on(mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        while !self.run.is_over() {
            // The whole crowd asks about a hundred times a second.
            let pause = Duration::from_millis(self.chance.u64(0..2600));
            tokio::time::sleep(pause).await;
            let id = format!("id-{}-{}.", self.number, asked.len());
            asked.push(self.ask(id).await);
        }
        asked
    }

    async fn ask(&mut self, id: String) -> Asked {
        let streamed = self.chance.bool();
        let url = format!("http://{}{CHAT}", self.run.gateway.address);
        let body = json!({"model": MODEL, "stream": streamed, "messages": [{"role": "user", "content": id}]});
        let request = self.http.post(url).header("api-key", KEY);
        let request = request.header("x-ms-client-request-id", &id).json(&body);
        let mut asked = Asked {
            id,
            http2: self.number % 2 == 1,
            streamed,
            request_id: String::new(),
            status: 0,
            text: String::new(),
            broken: false,
        };
        match request.send().await {
            Ok(response) => asked.read(response).await,
            Err(error) => asked.text = format!("{error:?}"),
        }
        asked
    }
}

/// Of a long answer its end says most.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.text.char_indices().rev().nth(400);
        let end = &self.text[from.map_or(0, |(at, _)| at)..];
        let (streamed, status, broken) = (self.streamed, self.status, self.broken);
        write!(
            f,
            "{} (streamed: {streamed}, {status}, broken: {broken}) … {end:?}",
            self.id
        )
    }
}

impl Asked {
    async fn read(&mut self, mut response: Response) {
        self.status = response.status().as_u16();
        let id = response.headers().get("x-request-id");
        self.request_id = id.map_or("", |id| id.to_str().unwrap()).to_owned();
        let mut bytes = Vec::new();
        self.broken = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        self.text = String::from_utf8_lossy(&bytes).into_owned();
    }

    /// What is wrong with what this client was told, if something is.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let said = self.said();
        let opening = format!("You said: {}", self.id);
        let has_error = self.text.contains("{\"error\"");
        match (self.status, self.streamed, self.broken) {
            (200, _, false) if !said.starts_with(&opening) => Some("not its answer"),
            (200, _, false) if has_error => Some("an error, and a clean end"),
            (200, true, false) if !self.text.ends_with("data: [DONE]\n\n") => {
                Some("a clean end too early")
            }
            (200, _, false) => None,
            // What came before it broke is of one answer. All of it may have come: an end marker settles nothing.
            (200, true, true) if !begins_alike(&said, &opening) => {
                Some("another's answer, and broken")
            }
            // An HTTP/2 client may drop what it has not read yet for the reset behind it.
            (200, true, true) if !self.http2 && !self.ends_with_error() => {
                Some("broken without an error event")
            }
            (200, _, true) => None,
            _ => Some("a failure before its answer began"),
        }
    }

    fn ends_with_error(&self) -> bool {
        let last = self.text.trim_end().rsplit("\n\n").next();
        last.is_some_and(|event| event.starts_with("data: {\"error\""))
            && self.text.ends_with("\n\n")
    }

    /// The text of the answer, as far as it came.
    fn said(&self) -> String {
        if !self.streamed {
            let answer: Value = serde_json::from_str(&self.text).unwrap_or_default();
            let said = answer["choices"][0]["message"]["content"].as_str();
            return said.unwrap_or_default().to_owned();
        }
        let data = self
            .text
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        events
            .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
            .collect()
    }
}

fn begins_alike(one: &str, another: &str) -> bool {
    one.starts_with(another) || another.starts_with(one)
}
