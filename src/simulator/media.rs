//! Images and audio: simple content in the true shapes.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer::{Call, Form, OperationAnswer, estimate},
    recorder::Spent,
    refusal::Refusal,
    request_body,
};

/// A PNG of one transparent pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82";
/// An MPEG audio frame header and silence.
const SILENCE: [u8; 417] = {
    let mut frame = [0; 417];
    [frame[0], frame[1], frame[2], frame[3]] = [0xff, 0xfb, 0x90, 0x64];
    frame
};
/// What a transcription hears in every file.
const HEARD: &str = "This is a simulated transcription.";

/// Images from a prompt, in JSON.
pub(crate) fn generate(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    #[derive(Deserialize)]
    struct Ask {
        prompt: Option<String>,
        n: Option<u64>,
    }
    let asked: Ask = request_body::read(call.body)?;
    let prompt = asked.prompt.ok_or_else(|| Refusal::missing("prompt"))?;
    images(&call, prompt.len(), asked.n.unwrap_or(1))
}

/// Images from images, in a form.
pub(crate) fn edit(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let prompt =
        request_body::field(call.body, "prompt").ok_or_else(|| Refusal::missing("prompt"))?;
    images(&call, prompt.len(), 1)
}

fn images(call: &Call<'_>, prompt: usize, count: u64) -> Result<OperationAnswer, Refusal> {
    let spent = Spent {
        prompt_tokens: (prompt as u64).div_ceil(4),
        completion_tokens: 272 * count.clamp(1, 10),
        ..Spent::default()
    };
    let image = json!({ "b64_json": BASE64_STANDARD.encode(PIXEL) });
    let form = Form::json(&json!({
        "created": call.created, "data": vec![image; count.clamp(1, 10) as usize],
        "usage": {
            "input_tokens": spent.prompt_tokens, "input_tokens_details": { "image_tokens": 0, "text_tokens": spent.prompt_tokens },
            "output_tokens": spent.completion_tokens, "total_tokens": spent.prompt_tokens + spent.completion_tokens,
        },
    }));
    Ok(OperationAnswer {
        estimate: estimate(spent, Some(0), 1),
        spent,
        form,
    })
}

/// Speech from text: an audio file.
pub(crate) fn speak(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    #[derive(Deserialize)]
    struct Ask {
        input: Option<String>,
    }
    let asked: Ask = request_body::read(call.body)?;
    let input = asked.input.ok_or_else(|| Refusal::missing("input"))?;
    let spent = call.prompt((input.len() as u64).div_ceil(4))?;
    Ok(OperationAnswer {
        estimate: estimate(spent, Some(0), 1),
        spent,
        form: Form::Whole {
            content_type: "audio/mpeg",
            bytes: SILENCE.to_vec(),
        },
    })
}

/// Text from an audio file in a form, transcribed or translated.
pub(crate) fn hear(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    if memchr::memmem::find(call.body, b"name=\"file\"").is_none() {
        return Err(Refusal::missing("file"));
    }
    let format = request_body::field(call.body, "response_format").map(String::from_utf8_lossy);
    // The newer models are counted in tokens, those before them by the minute.
    let spent = if call.deployment.config.model.contains("transcribe") {
        Spent {
            prompt_tokens: 14,
            audio_prompt_tokens: 12,
            completion_tokens: 5,
            ..Spent::default()
        }
    } else {
        Spent::default()
    };
    let usage = match spent.prompt_tokens {
        0 => json!({ "type": "duration", "seconds": 1 }),
        prompt => json!({
            "type": "tokens", "input_tokens": prompt,
            "input_token_details": { "text_tokens": prompt - spent.audio_prompt_tokens, "audio_tokens": spent.audio_prompt_tokens },
            "output_tokens": spent.completion_tokens, "total_tokens": prompt + spent.completion_tokens,
        }),
    };
    let verbose = |text: &str| json!({ "task": "transcribe", "language": "english", "duration": 1.0, "text": text, "segments": [], "usage": usage });
    let form = match format.as_deref() {
        Some("text" | "srt" | "vtt") => Form::Whole {
            content_type: "text/plain; charset=utf-8",
            bytes: format!("{HEARD}\n").into_bytes(),
        },
        Some("verbose_json") => Form::json(&verbose(HEARD)),
        _ => Form::json(&json!({ "text": HEARD, "usage": usage })),
    };
    Ok(OperationAnswer {
        estimate: estimate(Spent::default(), Some(0), 1),
        spent,
        form,
    })
}
