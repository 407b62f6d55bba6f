//! Answers made of choices, as chats and the older completions give them, plain and streamed (wire facts: Streams).

mod content;

pub(crate) use content::Content;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    answer::{
        Call, DONE, EMPTY, EventKind, EventWriter, Form, OperationAnswer, data, fingerprint, usage,
    },
    faults::StreamError,
    recorder::Spent,
    request_body::Streaming,
};
use content::Choice;

/// An answer's content, whichever way it is told.
pub(crate) struct Choices {
    id: String,
    created: u64,
    model: String,
    system_fingerprint: String,
    said: Content,
    count: u64,
    spent: Spent,
    tier: Option<String>,
    filter: Option<&'static RawValue>,
    prompt_filter: Option<&'static RawValue>,
    include_usage: bool,
}

impl Choices {
    pub(crate) fn new(call: &mut Call<'_>, said: Content, count: u64, spent: Spent) -> Self {
        let is_chat = said.is_chat();
        let tier = call.deployment.config.usage.tier.as_ref();
        Self {
            tier: tier.filter(|_| is_chat).cloned(),
            id: call.id(if is_chat { "chatcmpl-" } else { "cmpl-" }, 29),
            created: call.created,
            model: call.deployment.model.clone(),
            system_fingerprint: fingerprint(&call.deployment.model),
            said,
            count,
            spent,
            filter: call.filter(),
            prompt_filter: call.prompt_filter(),
            include_usage: false,
        }
    }

    /// As it was asked for: whole, or as a stream.
    pub(crate) fn answer(
        self,
        prompt: Spent,
        estimate: u64,
        stream: Option<bool>,
        options: Option<Streaming>,
    ) -> OperationAnswer {
        let (spent, form) = if stream == Some(true) {
            let include_usage = options.and_then(|it| it.include_usage) == Some(true);
            let events = Self {
                include_usage,
                ..self
            };
            (prompt, Form::Stream(Box::new(events)))
        } else {
            (self.spent, self.whole())
        };
        OperationAnswer {
            estimate,
            spent,
            form,
        }
    }

    fn whole(&self) -> Form {
        let choice = |index| Choice {
            content_filter_results: self.filter,
            finish_reason: Some(self.said.finish_reason()),
            index,
            ..self.said.whole()
        };
        let choices: Vec<_> = (0..self.count).map(choice).collect();
        Form::json(&Envelope {
            object: if self.said.is_chat() {
                "chat.completion"
            } else {
                "text_completion"
            },
            prompt_filter_results: self.prompt_filter,
            usage: Some(Some(usage(self.spent))),
            ..self.envelope(&choices)
        })
    }

    /// What all events have in common.
    fn envelope<'a>(&'a self, choices: &'a [Choice<'a>]) -> Envelope<'a> {
        Envelope {
            choices,
            created: self.created,
            id: &self.id,
            model: &self.model,
            object: if self.said.is_chat() {
                "chat.completion.chunk"
            } else {
                "text_completion"
            },
            prompt_filter_results: None,
            service_tier: self.tier.as_deref(),
            system_fingerprint: Some(&self.system_fingerprint),
            usage: self.include_usage.then_some(None),
        }
    }

    /// The part of the stream of one choice.
    fn chunk(&self, out: &mut Vec<u8>, at: usize, choice: Choice<'_>) {
        let index = at as u64 % self.count;
        data(out, &self.envelope(&[Choice { index, ..choice }]));
    }
}

/// The stream's order: filter and roles, which only chats have, content, finishes, usage, `[DONE]`.
impl EventWriter for Choices {
    fn event(&mut self, mut at: usize, out: &mut Vec<u8>) -> Option<EventKind> {
        let (count, said) = (self.count as usize, &self.said);
        let none = self.filter.map(|_| &**EMPTY);
        if said.is_chat() && self.prompt_filter.is_some() {
            let Some(later) = at.checked_sub(1) else {
                // With nothing of the model in it (wire facts: Streams).
                let filter = Envelope {
                    prompt_filter_results: self.prompt_filter,
                    usage: self.include_usage.then_some(None),
                    ..Envelope::default()
                };
                data(out, &filter);
                return Some(EventKind::Frame);
            };
            at = later;
        }
        if said.is_chat() {
            if at < count {
                let choice = Choice {
                    content_filter_results: none,
                    ..said.opening()
                };
                self.chunk(out, at, choice);
                // The thought comes before the first word, and is counted there.
                return Some(if at == 0 {
                    EventKind::Before {
                        thought: self.spent.reasoning_tokens,
                        spoken: self.spent.audio_completion_tokens,
                    }
                } else {
                    EventKind::Frame
                });
            }
            at -= count;
        }
        let contents = said.reply().pieces() * count;
        if at < contents {
            let piece = said.reply().piece(at / count).unwrap_or_default();
            let choice = Choice {
                content_filter_results: self.filter,
                ..said.part(Some(piece))
            };
            self.chunk(out, at, choice);
            return Some(EventKind::Output(1));
        }
        at -= contents;
        if at < count {
            let choice = Choice {
                content_filter_results: if said.is_chat() { none } else { self.filter },
                finish_reason: Some(said.finish_reason()),
                ..said.part(None)
            };
            self.chunk(out, at, choice);
            return Some(EventKind::Frame);
        }
        match (at - count, self.include_usage) {
            (0, true) => {
                let last = Envelope {
                    usage: Some(Some(usage(self.spent))),
                    ..self.envelope(&[])
                };
                data(out, &last);
            }
            (0, false) | (1, true) => out.extend_from_slice(DONE),
            _ => return None,
        }
        Some(EventKind::Frame)
    }

    fn error_event(&self, error: &StreamError) -> String {
        error.in_chat()
    }
}

/// A plain answer, or an event of a streamed one.
#[derive(Default, Serialize)]
struct Envelope<'a> {
    choices: &'a [Choice<'a>],
    created: u64,
    id: &'a str,
    model: &'a str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_filter_results: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    /// Absent, `null`, or filled: three things (wire facts: Streams).
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Value>>,
}
