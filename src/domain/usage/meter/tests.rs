use http::HeaderValue;

use super::*;
use crate::domain::usage::Tier;

const EVENTS: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

fn meter(operation: Operation, kind: &'static str) -> Meter {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Meter::of(operation, StatusCode::OK, &HeaderMap::from_iter([kind])).unwrap()
}

/// What a whole answer has reported, the same however it is cut in two, and byte by byte.
fn read(operation: Operation, kind: &'static str, answer: &str) -> (Option<Usage>, Usage) {
    let answer = answer.as_bytes();
    let said = |pieces: &[&[u8]]| {
        let mut meter = meter(operation, kind);
        pieces.iter().for_each(|piece| meter.read(piece));
        (meter.usage(), meter.estimate(7))
    };
    let whole = said(&[answer]);
    for at in 0..=answer.len() {
        let (first, second) = answer.split_at(at);
        assert_eq!(said(&[first, second]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = answer.chunks(1).collect();
    assert_eq!(said(&bytes), whole, "byte by byte");
    whole
}

fn reported(operation: Operation, kind: &'static str, answer: &str) -> Option<Usage> {
    read(operation, kind, answer).0
}

fn events(events: &[&str]) -> String {
    let event = |event: &&str| format!("data: {event}\n\n");
    events.iter().map(event).collect()
}

fn tokens(input: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        ..Usage::default()
    })
}

#[test]
fn every_api_reports_in_its_own_words() {
    use Operation::*;
    let chat = r#"{"choices":[{"message":{"content":"Hi"}}],"service_tier":"default","usage":{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":16,"audio_tokens":3},"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":2,"accepted_prediction_tokens":1}}}"#;
    let all = Usage {
        input: 20,
        cached: 16,
        audio_input: 3,
        output: 10,
        reasoning: 4,
        audio_output: 2,
        tier: Some(Tier::Default),
        estimated: false,
    };
    assert_eq!(reported(ChatCompletions, JSON, chat), Some(all));
    let response = r#"{"id":"r","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"service_tier":"priority","usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":16},"output_tokens":10,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":30}}"#;
    let of_response = Usage {
        audio_input: 0,
        audio_output: 0,
        tier: Some(Tier::Priority),
        ..all
    };
    assert_eq!(reported(Responses, JSON, response), Some(of_response));
    for (operation, answer, usage) in [
        (
            Completions,
            r#"{"choices":[{"text":"Hi"}],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}"#,
            tokens(2, 3),
        ),
        (
            Embeddings,
            r#"{"object":"list","data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            tokens(8, 0),
        ),
        (
            ImageGenerations,
            r#"{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"input_tokens":5,"input_tokens_details":{"image_tokens":0,"text_tokens":5},"output_tokens":272,"total_tokens":277}}"#,
            tokens(5, 272),
        ),
        (
            AudioTranscriptions,
            r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}"#,
            tokens(14, 45).map(|usage| Usage {
                audio_input: 14,
                ..usage
            }),
        ),
        (
            AudioTranscriptions,
            r#"{"text":"Hi","usage":{"type":"duration","seconds":9.5}}"#,
            tokens(0, 0),
        ),
    ] {
        assert_eq!(reported(operation, JSON, answer), usage, "{answer}");
    }
}

#[test]
fn a_stream_reports_in_its_last_words() {
    use Operation::*;
    let chat = events(&[
        r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}"#,
        r#"{"choices":[{"delta":{"content":"usage"},"index":0}],"service_tier":"flex","usage":null}"#,
        r#"{"choices":[],"service_tier":"","usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#,
        "[DONE]",
    ]);
    let flex = tokens(9, 1).map(|usage| Usage {
        tier: Some(Tier::Flex),
        ..usage
    });
    assert_eq!(reported(ChatCompletions, EVENTS, &chat), flex);
    let response = r#"event: response.created
data: {"type":"response.created","response":{"service_tier":"auto","usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"Hi"}

event: response.completed
data: {"type":"response.completed","response":{"output":[{"content":[{"text":"Hi"}]}],"service_tier":"flex","usage":{"input_tokens":9,"output_tokens":1,"total_tokens":10}}}"#;
    for end in ["\n", "\r\n", "\r"] {
        let response = response.replace('\n', end);
        assert_eq!(reported(Responses, EVENTS, &response), flex, "{end:?}");
    }
    for (operation, event) in [
        (
            ImageGenerations,
            r#"{"type":"image_generation.completed","b64_json":"aGk=","usage":{"total_tokens":10,"input_tokens":9,"output_tokens":1,"input_tokens_details":{"text_tokens":9,"image_tokens":0}}}"#,
        ),
        (
            AudioSpeech,
            r#"{"type":"speech.audio.done","usage":{"input_tokens":9,"output_tokens":1,"total_tokens":10}}"#,
        ),
        (
            AudioTranscriptions,
            r#"{"type":"transcript.text.done","text":"Hi","usage":{"type":"tokens","input_tokens":9,"output_tokens":1,"total_tokens":10}}"#,
        ),
    ] {
        let usage = reported(operation, EVENTS, &events(&[event]));
        assert_eq!(usage, tokens(9, 1), "{event}");
    }
}
