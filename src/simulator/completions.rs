//! The older completions, plain and streamed.

use serde_json::{Value, json};

use super::{
    answer::{Call, DONE, Form, OperationAnswer, Usage, data, estimate, fingerprint},
    event_writer::{EventKind, EventWriter},
    faults::StreamError,
    generated_text::{Reply, prompt_tokens},
    recorder::Spent,
    refusal::Refusal,
    request_body::{self, Completion},
};

/// What the API takes where a request sets no maximum.
const USUAL_MAXIMUM: u64 = 16;

pub(crate) fn answer(mut call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Completion<'_> = request_body::read(call.body)?;
    let text = asked.prompt.ok_or_else(|| Refusal::missing("prompt"))?;
    let prompt = call.prompt(prompt_tokens(text.characters, 0))?;
    let (most, choices) = (
        asked.max_tokens.unwrap_or(USUAL_MAXIMUM),
        asked.n.unwrap_or(1).clamp(1, 128),
    );
    let wanted = call.deployment.output_tokens(&mut call.rng);
    let reply = Reply::compose(&text.text, wanted, Some(most));
    let spent = Spent {
        completion_tokens: reply.tokens() * choices,
        ..prompt
    };
    let estimate = estimate(prompt, Some(most), choices);
    let head = json!({
        "id": call.id("cmpl-", 29), "object": "text_completion", "created": call.created, "model": call.deployment.model,
        "system_fingerprint": fingerprint(&call.deployment.model),
    });
    let filter = call.filter().map(|raw| json!(raw));
    let prompt_filter = call.prompt_filter().map(|raw| json!(raw));
    let events = Events {
        head,
        reply,
        usage: json!(Usage::new(spent)),
        choices,
        filter,
        prompt_filter,
        include_usage: false,
    };
    if asked.stream.unwrap_or(false) {
        let include_usage = asked
            .stream_options
            .is_some_and(|it| it.include_usage == Some(true));
        return Ok(OperationAnswer {
            estimate,
            spent: prompt,
            form: Form::Stream(Box::new(Events {
                include_usage,
                ..events
            })),
        });
    }
    Ok(OperationAnswer {
        estimate,
        spent,
        form: Form::json(&events.whole()),
    })
}

struct Events {
    head: Value,
    reply: Reply,
    usage: Value,
    choices: u64,
    filter: Option<Value>,
    prompt_filter: Option<Value>,
    include_usage: bool,
}

impl Events {
    fn whole(&self) -> Value {
        let choices = (0..self.choices)
            .map(|index| self.choice(index, self.reply.text(), Some(self.finish_reason())));
        let mut whole = self.head.clone();
        whole["choices"] = choices.collect();
        whole["usage"] = self.usage.clone();
        if let Some(filter) = &self.prompt_filter {
            whole["prompt_filter_results"] = filter.clone();
        }
        whole
    }

    fn finish_reason(&self) -> &'static str {
        if self.reply.cut { "length" } else { "stop" }
    }

    fn choice(&self, index: u64, text: &str, finish_reason: Option<&str>) -> Value {
        let mut choice = json!({ "text": text, "index": index, "finish_reason": finish_reason, "logprobs": null });
        if let Some(filter) = &self.filter {
            choice["content_filter_results"] = filter.clone();
        }
        choice
    }

    fn chunk(&self, out: &mut Vec<u8>, choices: Value, usage: Value) {
        let mut chunk = self.head.clone();
        chunk["choices"] = choices;
        if self.include_usage {
            chunk["usage"] = usage;
        }
        data(out, &chunk);
    }
}

impl EventWriter for Events {
    fn event(&mut self, at: usize, out: &mut Vec<u8>) -> Option<EventKind> {
        let (choices, contents) = (
            self.choices as usize,
            self.reply.pieces() * self.choices as usize,
        );
        if at < contents {
            let piece = self.reply.piece(at / choices).unwrap_or_default();
            self.chunk(
                out,
                json!([self.choice((at % choices) as u64, piece, None)]),
                Value::Null,
            );
            return Some(EventKind::Output(1));
        }
        let at = at - contents;
        if at < choices {
            self.chunk(
                out,
                json!([self.choice(at as u64, "", Some(self.finish_reason()))]),
                Value::Null,
            );
            return Some(EventKind::Frame);
        }
        match (at - choices, self.include_usage) {
            (0, true) => self.chunk(out, json!([]), self.usage.clone()),
            (0, false) | (1, true) => out.extend_from_slice(DONE),
            _ => return None,
        }
        Some(EventKind::Frame)
    }

    fn error_event(&self, error: &StreamError) -> String {
        error.in_chat()
    }
}
