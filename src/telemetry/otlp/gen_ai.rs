//! The `gen_ai.*` conventions: their words for what is asked and where, and their metrics.

use std::{collections::HashMap, sync::Arc};

use prometheus::{HistogramOpts, HistogramVec, core::Collector, proto::MetricFamily};

use crate::{
    domain::{
        deployment::{Instance, Kind},
        name::InstanceName,
    },
    telemetry::record::{AnswerEnd, Record},
};

/// The conventions' word for Azure OpenAI.
pub(super) const AZURE: &str = "azure.ai.openai";

/// Where instances are, and whose API they have, by the conventions' words.
pub(super) type Places = HashMap<InstanceName, Place>;

pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) provider: &'static str,
}

pub(super) fn places(instances: &[Arc<Instance>]) -> Places {
    let place = |instance: &Arc<Instance>| {
        let place = Place {
            host: instance.endpoint.host().to_owned(),
            port: instance.endpoint.port(),
            provider: match instance.kind {
                Kind::AzureOpenai => AZURE,
                Kind::Openai => "openai",
            },
        };
        (instance.name.clone(), place)
    };
    instances.iter().map(place).collect()
}

/// The conventions' word for an operation; for those that they have none for, one like theirs.
pub(super) fn operation(path: &str) -> Option<&'static str> {
    Some(match path {
        "chat/completions" | "responses" => "chat",
        "completions" => "text_completion",
        "embeddings" => "embeddings",
        "images/generations" => "image_generation",
        "images/edits" => "image_edit",
        "audio/transcriptions" => "transcription",
        "audio/translations" => "translation",
        "audio/speech" => "speech",
        "realtime" => "realtime",
        _ => return None,
    })
}

/// Which of OpenAI's APIs a chat went by.
pub(super) fn api_type(path: &str) -> Option<&'static str> {
    match path {
        "chat/completions" => Some("chat_completions"),
        "responses" => Some("responses"),
        _ => None,
    }
}

/// Whose API answered, or would have.
pub(super) fn provider(record: &Record, places: &Places) -> &'static str {
    let last = record.attempts.last();
    let place = last.and_then(|attempt| places.get(&attempt.instance));
    place.map_or(AZURE, |place| place.provider)
}

/// Buckets as the conventions have them.
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];
const SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// The metrics' names, and their attributes': those that all have, then the one more that the first two have. Prometheus'
/// types, which take no dots, have them with `_`.
const METRICS: [&str; 3] = [
    "gen_ai.client.token.usage",
    "gen_ai.client.operation.duration",
    "gen_ai.client.operation.time_to_first_chunk",
];
const ATTRIBUTES: [&str; 7] = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "server.address",
    "server.port",
    "gen_ai.token.type",
    "error.type",
];
const COMMON: usize = 5;

/// The conventions' metrics of a client: to the deployments the gateway is one. Their attributes are configured names
/// and closed sets; an empty one is none.
///
/// Not the SDK's instruments: what these have counted can be read by a reader of its own, experimental, alone.
pub(super) struct GenAi {
    tokens: HistogramVec,
    duration: HistogramVec,
    first_chunk: HistogramVec,
}

/// The convention's own name of what has another in Prometheus' types.
pub(super) fn name(theirs: &str) -> &'static str {
    let mut all = METRICS.into_iter().chain(ATTRIBUTES);
    all.find(|name| plain(name) == theirs).unwrap_or_default()
}

fn plain(name: &str) -> String {
    name.replace('.', "_")
}

impl GenAi {
    pub(super) fn new() -> Self {
        let histogram = |metric: usize, help: &str, buckets: &[f64], more: Option<&str>| {
            let labels = ATTRIBUTES[..COMMON].iter().copied().chain(more).map(plain);
            let labels: Vec<String> = labels.collect();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let opts = HistogramOpts::new(plain(METRICS[metric]), help).buckets(buckets.to_vec());
            HistogramVec::new(opts, &labels).expect("names and buckets are fixed here")
        };
        let (tokens, first) = (
            "Number of input and output tokens used.",
            "Time to receive the first chunk of a streamed response.",
        );
        Self {
            tokens: histogram(0, tokens, &TOKENS, Some("gen_ai.token.type")),
            duration: histogram(1, "GenAI operation duration.", &SECONDS, Some("error.type")),
            first_chunk: histogram(2, first, &SECONDS, None),
        }
    }

    /// Counts a finished request that asked a model for something.
    pub(super) fn observe(&self, record: &Record, places: &Places) {
        let (Some(operation), Some(model)) = (operation(record.operation), &record.model) else {
            return;
        };
        let last = record.attempts.last();
        let place = last.and_then(|attempt| places.get(&attempt.instance));
        let port = place
            .map(|place| place.port.to_string())
            .unwrap_or_default();
        let common = [
            operation,
            provider(record, places),
            model.as_str(),
            place.map_or("", |place| &place.host),
            &port,
        ];
        let with = |more: &str| -> [String; 6] {
            let mut all = common.iter().map(|value| (*value).to_owned());
            std::array::from_fn(|_| all.next().unwrap_or_else(|| more.to_owned()))
        };
        if let Some(usage) = &record.usage {
            for (kind, number) in [("input", usage.input), ("output", usage.output)] {
                let tokens = self.tokens.with_label_values(&with(kind));
                tokens.observe(number as f64);
            }
        }
        if record.status == Some(101) {
            // A session lasts as long as its client likes.
            return;
        }
        let error = error(record);
        let duration = self.duration.with_label_values(&with(&error));
        duration.observe(record.duration.as_secs_f64());
        if let (true, Some(first)) = (record.stream, record.time_to_first_byte) {
            let first_chunk = self.first_chunk.with_label_values(&common);
            first_chunk.observe(first.as_secs_f64());
        }
    }

    /// All that was observed.
    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let all = [&self.tokens, &self.duration, &self.first_chunk];
        let all = all.into_iter().flat_map(|histogram| histogram.collect());
        all.filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

/// How an operation failed, empty where it did not: our own refusal's code, the deployment's status, or how it ended.
fn error(record: &Record) -> String {
    match (record.refusal, record.status) {
        (Some(refusal), _) => refusal.to_owned(),
        (None, Some(status @ 400..)) => status.to_string(),
        _ if record.end != AnswerEnd::Complete => record.end.as_str().to_owned(),
        _ => String::new(),
    }
}
