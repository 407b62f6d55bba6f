//! The older completions: what is asked, and what the model says to it.

use super::{
    answer::{Call, OperationAnswer, estimate},
    choices::{Choices, Content},
    generated_text::prompt_tokens,
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
    let most = asked.max_tokens.unwrap_or(USUAL_MAXIMUM);
    let choices = asked.n.unwrap_or(1).clamp(1, 128);
    let reply = call.compose(&text.text, Some(most));
    let spent = Spent {
        completion_tokens: reply.tokens() * choices,
        ..prompt
    };
    let estimate = estimate(prompt, Some(most), choices);
    Ok(
        Choices::new(&mut call, Content::Text(reply), choices, spent).answer(
            prompt,
            estimate,
            asked.stream,
            asked.stream_options,
        ),
    )
}
