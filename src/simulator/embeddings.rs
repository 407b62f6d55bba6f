//! Embeddings: the same text has the same vector, of length one, as numbers or in Base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Call, Form, OperationAnswer, estimate},
    deployment::fnv,
    refusal::Refusal,
    request_body,
};

/// Azure takes so many inputs in one call (wire facts: Sizes).
const MOST_INPUTS: usize = 2048;
const MOST_DIMENSIONS: usize = 4096;

#[derive(Deserialize)]
struct Ask {
    input: Option<Input>,
    dimensions: Option<usize>,
    encoding_format: Option<String>,
}

/// A text, several texts, a list of tokens, or several lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Tokens(Vec<u64>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u64>>),
}

pub(crate) fn answer(call: Call<'_>) -> Result<OperationAnswer, Refusal> {
    let asked: Ask = request_body::read(call.body)?;
    let inputs = inputs(asked.input.ok_or_else(|| Refusal::missing("input"))?);
    if inputs.is_empty() || inputs.len() > MOST_INPUTS {
        return Err(Refusal::invalid(
            "'$.input' is invalid. Use 1 to 2048 inputs.",
            Some("input"),
            None,
        ));
    }
    let usual = if call.deployment.config.model.contains("3-large") {
        3072
    } else {
        1536
    };
    let dimensions = asked.dimensions.unwrap_or(usual);
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(Refusal::invalid(
            "Invalid value for 'dimensions'.",
            Some("dimensions"),
            None,
        ));
    }
    let base64 = asked.encoding_format.as_deref() == Some("base64");
    let prompt = call.prompt(inputs.iter().map(|(_, tokens)| tokens).sum())?;
    let data: Vec<Value> = inputs.iter().enumerate().map(|(index, (seed, _))| {
        json!({ "object": "embedding", "index": index, "embedding": written(&vector(*seed, dimensions), base64) })
    }).collect();
    let usage =
        json!({ "prompt_tokens": prompt.prompt_tokens, "total_tokens": prompt.prompt_tokens });
    let form = Form::json(
        &json!({ "object": "list", "data": data, "model": call.deployment.model, "usage": usage }),
    );
    Ok(OperationAnswer {
        estimate: estimate(prompt, Some(0), 1),
        spent: prompt,
        form,
    })
}

/// Each input's seed and its tokens.
fn inputs(input: Input) -> Vec<(u64, u64)> {
    let text = |text: &String| (fnv(text.as_bytes()), (text.len() as u64).div_ceil(4).max(1));
    let next = |seed: u64, token: &u64| fnv(&(seed ^ token).to_le_bytes());
    let tokens = |list: &Vec<u64>| (list.iter().fold(0, next), list.len() as u64);
    match input {
        Input::Text(one) => vec![text(&one)],
        Input::Texts(many) => many.iter().map(text).collect(),
        Input::Tokens(one) if one.is_empty() => Vec::new(),
        Input::Tokens(one) => vec![tokens(&one)],
        Input::TokenLists(many) => many.iter().map(tokens).collect(),
    }
}

fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut vector: Vec<f32> = (0..dimensions).map(|_| rng.f32() * 2.0 - 1.0).collect();
    let squares: f32 = vector.iter().map(|x| x * x).sum();
    let length = squares.sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

fn written(vector: &[f32], base64: bool) -> Value {
    if !base64 {
        return json!(vector);
    }
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_vector_of_length_one() {
        let (a, b) = (vector(fnv(b"water"), 256), vector(fnv(b"water"), 256));
        assert_eq!(a, b);
        assert!((a.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_ne!(a, vector(fnv(b"dam"), 256));
    }

    #[test]
    fn every_form_of_input_is_counted() {
        let count = |json: &str| {
            inputs(serde_json::from_str(json).unwrap())
                .iter()
                .map(|(_, tokens)| *tokens)
                .collect::<Vec<_>>()
        };
        assert_eq!(count("\"eight by\""), [2]);
        assert_eq!(count("[\"a\",\"b\"]"), [1, 1]);
        assert_eq!(count("[1,2,3]"), [3]);
        assert_eq!(count("[[1,2],[3]]"), [2, 1]);
    }
}
