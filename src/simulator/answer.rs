//! What an operation gives back before limits, faults and time are applied to it; and the pieces that all answers share.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    deployment::Deployment, encode, faults::StreamError, generated_text::Reply, recorder::Spent,
    refusal::Refusal, tokens::unix_seconds,
};

/// What Azure assumes of the output where a request sets no maximum.
const ASSUMED_OUTPUT: u64 = 16;
/// What a reasoning model thinks before it answers.
const THOUGHT: u64 = 64;

/// One call of a model: all that an operation may look at.
pub(crate) struct Call<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) body: &'a [u8],
    /// Whether filter results belong into the answer; a plain OpenAI server has none.
    pub(crate) azure: bool,
    pub(crate) created: u64,
    pub(crate) rng: fastrand::Rng,
}

/// An answer, ready to be sent.
pub(crate) struct OperationAnswer {
    /// What the limiter counts at arrival.
    pub(crate) estimate: u64,
    /// Prompt tokens, and for plain answers the output's.
    pub(crate) spent: Spent,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    Whole {
        content_type: &'static str,
        bytes: Vec<u8>,
    },
    Stream(Box<dyn EventWriter>),
}

impl Form {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::Whole {
            content_type: "application/json",
            bytes: json(value),
        }
    }
}

/// One event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Part of the frame around the output: sent without waiting.
    Frame,
    /// Output: waits its turn, and counts as so many tokens.
    Output(u64),
    /// What is counted before the first word: tokens thought, and tokens spoken beside what is written.
    Before { thought: u64, spoken: u64 },
}

impl EventKind {
    /// What it counts as.
    pub(crate) fn spent(self) -> Spent {
        match self {
            Self::Frame => Spent::default(),
            Self::Output(completion_tokens) => Spent {
                completion_tokens,
                ..Spent::default()
            },
            Self::Before { thought, spoken } => Spent {
                completion_tokens: thought + spoken,
                reasoning_tokens: thought,
                audio_completion_tokens: spoken,
                ..Spent::default()
            },
        }
    }
}

/// A stream's events, each worked out when its turn comes.
pub(crate) trait EventWriter: Send {
    /// Writes the event of that number, closing blank line included; `None` after the last.
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind>;
    /// An error in mid-stream as this API says it, without its closing blank line.
    fn error_event(&self, error: &StreamError) -> String;
}

impl<'a> Call<'a> {
    pub(crate) fn new(deployment: &'a Deployment, body: &'a [u8], azure: bool) -> Self {
        Self {
            deployment,
            body,
            azure,
            created: unix_seconds(),
            rng: deployment.fork_rng(),
        }
    }

    pub(crate) fn id(&mut self, prefix: &str, letters: usize) -> String {
        encode::id(prefix, letters, &mut self.rng)
    }

    /// The prompt's side of the account; refuses what is too long.
    pub(crate) fn prompt(&self, tokens: u64) -> Result<Spent, Refusal> {
        let config = &self.deployment.config;
        if let Some(limit) = config.context_length.filter(|limit| tokens > *limit) {
            return Err(Refusal::context_length(limit, tokens));
        }
        let cached_tokens = self.deployment.cached_tokens(tokens, self.body);
        Ok(Spent {
            prompt_tokens: tokens,
            cached_tokens,
            audio_prompt_tokens: config.usage.audio_input.min(tokens),
            ..Spent::default()
        })
    }

    /// An echo of what was asked, as long as this deployment's answers are, and never more than `most` tokens.
    pub(crate) fn compose(&mut self, asked: &str, most: Option<u64>) -> Reply {
        let wanted = self.deployment.output_tokens(&mut self.rng);
        Reply::compose(asked, wanted, most)
    }

    pub(crate) fn thought(&self, most: Option<u64>) -> u64 {
        let usual = u64::from(self.deployment.reasons()) * THOUGHT;
        let thought = self.deployment.config.usage.reasoning.unwrap_or(usual);
        thought.min(most.map_or(thought, |most| most.saturating_sub(1)))
    }

    pub(crate) fn filter(&self) -> Option<&'static RawValue> {
        self.azure.then(|| &**SAFE)
    }

    pub(crate) fn prompt_filter(&self) -> Option<&'static RawValue> {
        self.azure.then(|| &**SAFE_PROMPT)
    }
}

/// Azure's estimate at arrival: the prompt's characters and the most that may come (wire facts: Rate limits).
pub(crate) fn estimate(prompt: Spent, most: Option<u64>, choices: u64) -> u64 {
    prompt.prompt_tokens - prompt.cached_tokens + most.unwrap_or(ASSUMED_OUTPUT) * choices
}

pub(crate) static SAFE: LazyLock<Box<RawValue>> = LazyLock::new(|| {
    raw(
        r#"{"hate":{"filtered":false,"severity":"safe"},"protected_material_code":{"filtered":false,"detected":false},"protected_material_text":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#,
    )
});

static SAFE_PROMPT: LazyLock<Box<RawValue>> = LazyLock::new(|| {
    raw(
        r#"[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}}]"#,
    )
});

pub(crate) static EMPTY: LazyLock<Box<RawValue>> = LazyLock::new(|| raw("{}"));

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("the text above is JSON")
}

/// The fingerprint of a model: the same for every answer of it.
pub(crate) fn fingerprint(model: &str) -> String {
    format!("fp_{:010x}", super::deployment::fnv(model.as_bytes()) >> 24)
}

/// A chat's or a completion's usage.
pub(crate) fn usage(spent: Spent) -> Value {
    serde_json::json!({
        "completion_tokens": spent.completion_tokens,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0, "audio_tokens": spent.audio_completion_tokens,
            "reasoning_tokens": spent.reasoning_tokens, "rejected_prediction_tokens": 0,
        },
        "prompt_tokens": spent.prompt_tokens,
        "prompt_tokens_details": { "audio_tokens": spent.audio_prompt_tokens, "cached_tokens": spent.cached_tokens },
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
    })
}

pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    write_json(&mut bytes, value);
    bytes
}

pub(crate) fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value)
        .expect("our own answers have string keys and a Vec never fails");
}

/// `data: {…}` and a blank line.
pub(crate) fn data(out: &mut Vec<u8>, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    write_json(out, value);
    out.extend_from_slice(b"\n\n");
}

/// The end of a chat's or a completion's stream.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";
