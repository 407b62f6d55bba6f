use proptest::{prelude::*, sample};

use super::*;

/// Any JSON, with the words in it that matter elsewhere.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[\"\\\\{}\\[\\]:,\u{0}-\u{1f}a]{0,12}".prop_map(Value::from),
        Just(Value::from("\"usage\":{\"prompt_tokens\":3}")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("usage".to_owned()),
        Just("prompt_tokens".to_owned()),
        Just("choices".to_owned()),
        Just("delta".to_owned()),
        Just("content".to_owned()),
        Just("response".to_owned()),
        "\\PC{0,5}",
    ]
}

/// An object of these members, which has this one among them.
fn object_with(mut members: Vec<(String, serde_json::Value)>, at: usize, usage: &str) -> String {
    // The usage of a response's events stands inside it: one of two.
    members.retain(|(key, value)| key != "usage" && !(key == "response" && value.is_object()));
    let member = |(key, value): &(String, _)| format!("{}:{value}", serde_json::json!(key));
    let mut members: Vec<String> = members.iter().map(member).collect();
    members.insert(at % (members.len() + 1), format!("\"usage\":{usage}"));
    format!("{{{}}}", members.join(", "))
}

proptest! {
    #[test]
    fn whatever_stands_around_it_the_usage_is_found(
        members in proptest::collection::vec((key(), json()), 0..6),
        at in 0..6_usize,
        (input, output) in (0..1_000_000_u64, 0..1_000_000_u64),
        cut in 1..50_usize,
        operation in sample::select(&Operation::ALL[..]),
    ) {
        let usage = format!("{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}");
        let answer = object_with(members, at, &usage);
        for (kind, answer) in [(JSON, answer.clone()), (EVENTS, events(&[&answer]))] {
            let mut meter = meter(operation, kind);
            answer.as_bytes().chunks(cut).for_each(|piece| meter.read(piece));
            let found = meter.usage().map(|usage| Usage { tier: None, ..usage });
            prop_assert_eq!(found, tokens(input, output), "{}", answer);
        }
    }

    #[test]
    fn no_cut_changes_what_is_read_of_any_bytes(
        bytes in proptest::collection::vec(prop_oneof![
            any::<u8>(),
            sample::select(&b"\"\"\\{}[]:,\n\r data:usage"[..]),
        ], 0..300),
        cut in 1..20_usize,
        operation in sample::select(&Operation::ALL[..]),
    ) {
        for kind in [JSON, EVENTS] {
            let (mut whole, mut pieces) = (meter(operation, kind), meter(operation, kind));
            whole.read(&bytes);
            bytes.chunks(cut).for_each(|piece| pieces.read(piece));
            prop_assert_eq!(whole.usage(), pieces.usage());
            prop_assert_eq!(whole.estimate(7), pieces.estimate(7));
        }
    }
}

/// Events of a few forms, each of which comes again and again.
fn alike() -> impl Strategy<Value = String> {
    let before = [
        r#"{"choices":[{"content_filter_results":{"hate":{"severity":"}\"{"}},"delta":{"content":"#,
        r#"{"choices":[{"delta":{"role":"assistant","content":"#,
        r#"{"service_tier":"flex","choices":[{"delta":{"content":"#,
        r#"{"usage":{"prompt_tokens":5,"completion_tokens":1},"choices":[{"delta":{"content":"#,
        r#"{"choices":[{"delta":{"x":{"y":{"content":"#,
        r#"{"type":"response.audio.delta","delta":"#,
        r#"{"type":"response.output_text.delta","delta":"#,
        r#"{"response":{"service_tier":"scale","usage":null},"delta":"#,
        r#"{"choices":[{"#,
        r#"{"prompt_filter_results":[{"hate":"]\"["}],"choices":[{"delta":{"content":"#,
    ];
    let word = [
        r#"" water""#,
        r#""""#,
        r#""\n\u00e9\"""#,
        r#"" gathers"#,
        "7",
        "null",
    ];
    let behind = [
        r#"},"finish_reason":null}],"usage":null}"#,
        r#"},"index":0},{"delta":{"content":" above"}}],"service_tier":"priority"}"#,
        r#"}}],"service_tier":"default","usage":{"input_tokens":7,"output_tokens":2}}"#,
        r#","obfuscation":"a","usage":{"input_tokens":7,"output_tokens":2}}"#,
        r#","usage":{"prompt_tokens":-1}}"#,
        r#"}}],"prompt_filter_results":[{"hate":"]\"["}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
        r#"}}],"prompt_filter_results":[{"hate":"]\"["}],"service_tier":"flex","usage":{"prompt_tokens":8,"completion_tokens":2}}"#,
        r#"}}],"prompt_filter_results":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        r#"}}]}"#,
        r#"}"#,
    ];
    let (before, word) = (
        sample::select(before.to_vec()),
        sample::select(word.to_vec()),
    );
    let event = (before, word, sample::select(behind.to_vec()));
    event.prop_map(|(before, word, behind)| format!("data: {before}{word}{behind}\n\n"))
}

proptest! {
    #[test]
    fn what_was_read_before_is_read_the_same_whoever_said_it(
        events in proptest::collection::vec(alike(), 1..12),
        cut in 1..400_usize,
        operation in sample::select(&[Operation::ChatCompletions, Operation::Responses][..]),
    ) {
        let (mut meter, mut slow) = (meter(operation, EVENTS), meter(operation, EVENTS));
        for event in &events {
            event.as_bytes().chunks(cut).for_each(|piece| meter.read(piece));
            // A byte is never known.
            event.as_bytes().chunks(1).for_each(|byte| slow.read(byte));
            prop_assert_eq!(meter.usage(), slow.usage(), "{}", event);
            prop_assert_eq!(meter.estimate(9), slow.estimate(9), "{}", event);
        }
    }
}
