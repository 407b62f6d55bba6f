mod any;
mod counting;

use std::ops::Deref;

use http::HeaderValue;

use super::*;
use crate::domain::{event_stream::Framer, usage::Tier};

const EVENTS: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

/// A meter, and what shows it the parts of a stream.
struct Reading {
    framer: Framer,
    meter: Meter,
    memo: Memo,
}

impl Reading {
    fn read(&mut self, piece: &[u8]) {
        let Self {
            framer,
            meter,
            memo,
        } = self;
        match meter.reads_events() {
            true => framer.read(piece, false, |part| meter.part(&part, memo)),
            false => meter.read(piece, memo),
        }
    }
}

impl Deref for Reading {
    type Target = Meter;

    fn deref(&self) -> &Meter {
        &self.meter
    }
}

fn meter(operation: Operation, kind: &'static str) -> Reading {
    crate::domain::usage::load_tokenizer();
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let meter = Meter::of(operation, StatusCode::OK, &HeaderMap::from_iter([kind]));
    Reading {
        framer: Framer::default(),
        meter: meter.unwrap(),
        memo: Memo::default(),
    }
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

/// Chat's answer with this for its usage.
fn chat(usage: &str) -> String {
    format!(r#"{{"choices":[{{"message":{{"content":"Hi"}}}}],"usage":{usage}}}"#)
}

#[test]
fn a_report_that_cannot_be_trusted_is_none() {
    for usage in [
        "null",
        "7",
        "\"many\"",
        "[]",
        "{}",
        "[{\"prompt_tokens\":1}]",
        r#"{"prompt_tokens":null,"completion_tokens":1}"#,
        r#"{"completion_tokens":1,"total_tokens":2}"#,
        r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
        r#"{"prompt_tokens":1,"completion_tokens":-1}"#,
        r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
        r#"{"prompt_tokens":1e3,"completion_tokens":1}"#,
        r#"{"prompt_tokens":"12","completion_tokens":1}"#,
        r#"{"prompt_tokens":true,"completion_tokens":1}"#,
        r#"{"prompt_tokens":[1],"completion_tokens":1}"#,
        r#"{"prompt_tokens":{"tokens":1},"completion_tokens":1}"#,
        r#"{"prompt_tokens":1000000001,"completion_tokens":1}"#,
        r#"{"prompt_tokens":1,"completion_tokens":4294967297}"#,
        r#"{"prompt_tokens":1,"completion_tokens":99999999999999999999999999999999999999}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":11}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":-10}"#,
        r#"{"prompt_tokens":9,"total_tokens":8}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":10}}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"audio_tokens":0.5}}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"completion_tokens_details":{"audio_tokens":"1"}}"#,
        r#"{"type":"duration","seconds":1,"input_tokens":-1}"#,
    ] {
        let answer = chat(usage);
        let (told, estimated) = read(Operation::ChatCompletions, JSON, &answer);
        assert_eq!(told, None, "{usage}");
        let passed = tokens(7, 1).map(|usage| Usage {
            estimated: true,
            ..usage
        });
        assert_eq!(Some(estimated), passed, "{usage}");
        let streamed = events(&[&answer]);
        let streamed = reported(Operation::ChatCompletions, EVENTS, &streamed);
        assert_eq!(streamed, None, "{usage}");
    }
}

#[test]
fn what_is_odd_and_still_clear_is_believed() {
    for (usage, expected) in [
        (r#"{"prompt_tokens":9}"#, tokens(9, 0)),
        (r#"{"prompt_tokens":9,"total_tokens":12}"#, tokens(9, 3)),
        (
            r#"{"prompt_tokens":1000000000,"completion_tokens":0}"#,
            tokens(1_000_000_000, 0),
        ),
        (
            r#"{"prompt_tokens":3,"prompt_tokens":9,"completion_tokens":1}"#,
            tokens(9, 1),
        ),
        (
            r#"{ "prompt_tokens" : 9 , "prompt_tokens_details" : null, "completion_tokens" : 1, "cost" : 1e-5, "by" : [{"usage":{"prompt_tokens":5}}] }"#,
            tokens(9, 1),
        ),
        (
            r#"{"prompt_to\u006bens":9,"completion\u005ftokens":1}"#,
            tokens(9, 1),
        ),
        // The reasoning left out of the output, and not of the total.
        (
            r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":5}}"#,
            tokens(9, 6).map(|usage| Usage {
                reasoning: 5,
                ..usage
            }),
        ),
    ] {
        let answer = chat(usage);
        assert_eq!(
            reported(Operation::ChatCompletions, JSON, &answer),
            expected,
            "{usage}"
        );
    }
}

#[test]
fn usage_anywhere_else_is_content() {
    let usage = r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}"#;
    let text = usage.replace('"', "\\\"");
    for answer in [
        format!(r#"{{"choices":[{{"message":{{"content":"\"usage\":{text}"}}}}]}}"#),
        format!(r#"{{"choices":[{{"message":{{"usage":{usage}}},"usage":{usage}}}]}}"#),
        format!(r#"{{"choices":[],"x":{{"usage":{usage}}},"response":{{"usage":{usage}}}}}"#),
        format!(r#"{{"tools":[{{"parameters":{{"properties":{{"usage":{usage}}}}}}}]}}"#),
        format!(r#"{{"Usage":{usage},"usage ":{usage},"usages":{usage},"\\usage":{usage}}}"#),
        format!(r#"[{{"usage":{usage}}}]"#),
        format!(r#"{{"x":1}}{{"usage":{usage}}}"#),
        format!(r#"{{"x":1}},{{"usage":{usage}}}"#),
        format!(r#"{{"error":"no usage"}},"usage":{usage}"#),
        format!("<html>\"usage\":{usage}</html>"),
        "not even [ JSON } at \\ all \"".to_owned(),
    ] {
        for operation in Operation::ALL {
            let found = reported(operation, JSON, &answer);
            assert_eq!(found, None, "{operation:?} {answer}");
        }
    }
    let event = format!(
        r#"{{"type":"response.completed","item":{{"usage":{usage}}},"response":{{"tools":[{{"usage":{usage}}}],"output":[{{"usage":{usage}}}]}}}}"#
    );
    let found = reported(Operation::Responses, EVENTS, &events(&[&event]));
    assert_eq!(found, None);
}

#[test]
fn of_several_reports_the_last_one_counts_and_what_passed_behind_it() {
    let chunk = |text: &str, output: u64| {
        format!(
            r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{output},"total_tokens":{}}}}}"#,
            9 + output
        )
    };
    let operation = Operation::ChatCompletions;
    let running = events(&[&chunk(" water", 1), &chunk(" gathers", 2)]);
    assert_eq!(reported(operation, EVENTS, &running), tokens(9, 2));
    let twice = running.clone() + &events(&[&chat(r#"{"prompt_tokens":9,"completion_tokens":4}"#)]);
    assert_eq!(reported(operation, EVENTS, &twice), tokens(9, 4));
    let spoilt =
        running.clone() + &events(&[r#"{"usage":{"prompt_tokens":-1}}"#, r#"{"usage":null}"#]);
    assert_eq!(reported(operation, EVENTS, &spoilt), tokens(9, 2));
    let more = running + &events(&[r#"{"choices":[{"delta":{"content":" above the dam"}}]}"#]);
    let both = Usage {
        input: 9,
        output: 2 + 3,
        estimated: true,
        ..Usage::default()
    };
    assert_eq!(read(operation, EVENTS, &more), (None, both));
    // Output that stands behind the report in its own event is part of it.
    let behind = events(&[
        r#"{"usage":{"prompt_tokens":9,"completion_tokens":2},"choices":[{"delta":{"content":" the dam"}}]}"#,
    ]);
    assert_eq!(reported(operation, EVENTS, &behind), tokens(9, 2));
}

#[test]
fn no_answer_is_too_large() {
    let text = "dam \\u00e9\\n ".repeat(100_000);
    let usage = r#"{"input_tokens":9,"output_tokens":1,"total_tokens":10}"#;
    let response = format!(r#"{{"output":[{{"content":[{{"text":"{text}"}}]}}],"usage":{usage}}}"#);
    let event = format!("event: response.completed\ndata: {{\"response\":{response}}}\n\n");
    for (kind, answer) in [(JSON, response), (EVENTS, event)] {
        for size in [7, 1 << 12, answer.len()] {
            let mut meter = meter(Operation::Responses, kind);
            answer
                .as_bytes()
                .chunks(size)
                .for_each(|piece| meter.read(piece));
            assert_eq!(meter.usage(), tokens(9, 1), "{kind} in pieces of {size}");
        }
    }
}

#[test]
fn an_answer_that_says_nothing_readable_has_no_meter() {
    let of = |operation, status: u16, pairs: &[(&'static str, &'static str)]| {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        let headers = pairs.iter().map(pair).collect();
        Meter::of(operation, StatusCode::from_u16(status).unwrap(), &headers).is_some()
    };
    use Operation::*;
    assert!(of(ChatCompletions, 200, &[]));
    assert!(of(
        ChatCompletions,
        201,
        &[("content-type", "Application/JSON")]
    ));
    assert!(of(
        ChatCompletions,
        200,
        &[("content-type", JSON), ("content-encoding", "identity")]
    ));
    assert!(of(
        AudioTranscriptions,
        200,
        &[("content-type", "text/plain")]
    ));
    assert!(!of(
        ChatCompletions,
        200,
        &[("content-type", EVENTS), ("content-encoding", "gzip")]
    ));
    assert!(!of(ChatCompletions, 429, &[("content-type", JSON)]));
    assert!(!of(ChatCompletions, 200, &[("content-type", "text/html")]));
    assert!(!of(AudioSpeech, 200, &[("content-type", "audio/mpeg")]));
}

#[test]
fn a_stream_takes_little_memory_however_long_it_is() {
    assert!(!std::mem::needs_drop::<Meter>(), "it owns nothing else");
    assert!(size_of::<Meter>() <= 640, "{}", size_of::<Meter>());
}
