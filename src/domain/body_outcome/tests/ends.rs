//! Where a stream may end, and where it was cut off.

use super::*;

const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":3}}"#;
const DELTA: &str = r#"{"type":"response.output_text.delta","delta":"Dams"}"#;
const BROKEN: Option<Outcome> = Some(Outcome::fault(Fault::Broken));

fn events(events: &[&str]) -> String {
    data(events)
}

/// How a stream ends well that goes out, after its first output or all at once: the outcome is told at the end.
fn ends(text: &str) -> Option<Outcome> {
    let now = SystemTime::UNIX_EPOCH;
    let at_once = stream()
        .read(text.as_bytes(), true, now)
        .filter(|outcome| *outcome != Outcome::Served);
    let output = text.find("\n\n").unwrap_or(0);
    for at in output..=text.len() {
        let mut opening = stream();
        let (first, second) = text.as_bytes().split_at(at);
        let begun = opening.read(first, false, now);
        let end = match begun {
            Some(_) => opening.into_watch().unwrap().read(second, true, now),
            None => {
                let end = opening.read(second, true, now);
                end.filter(|outcome| *outcome != Outcome::Served)
            }
        };
        assert_eq!(end, at_once, "cut at {at} of {text}");
    }
    at_once
}

#[test]
fn a_chat_ends_with_its_last_event_or_with_a_reason_why_it_is_finished() {
    for whole in [
        &[WORD, "[DONE]"][..],
        &[WORD, STOP],
        &[WORD, STOP, USAGE],
        &[WORD, STOP, USAGE, "[DONE]"],
        &[FILTER, ROLE, STOP],
        &[r#"{"choices":[{"text":"Dams","finish_reason" : "length"}]}"#],
        &[
            r#"{"choices": [{"text": "Dams", "finish_reason": null}]}"#,
            r#"{"choices": [{"text": "", "finish_reason": "length"}]}"#,
        ],
        // One of two answers in a chunk is finished, and the other says where it always does that it isn't.
        &[
            r#"{"choices":[{"text":"Dams","finish_reason":null,"index":0}]}"#,
            r#"{"choices":[{"text":"","finish_reason":"stop","index":1},{"text":"Dams","finish_reason":null,"index":0}]}"#,
        ],
        &[
            r#"{"choices":[{"text":"Dams","finish_reason":null,"index":0}]}"#,
            r#"{"choices":[{"text":"Dams","finish_reason":null,"index":0},{"text":"","finish_reason":"stop","index":1}]}"#,
        ],
        // What filters say later of what was said is no more of it.
        &[
            WORD,
            STOP,
            r#"{"choices":[{"content_filter_offsets":{},"finish_reason":null}]}"#,
        ],
    ] {
        assert_eq!(ends(&events(whole)), None, "{whole:?}");
    }
    for cut in [
        &[WORD][..],
        &[ROLE, WORD, WORD],
        &[WORD, USAGE],
        &[
            r#"{"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#,
        ],
        // The other answer goes on.
        &[WORD, STOP, WORD],
    ] {
        assert_eq!(ends(&events(cut)), BROKEN, "{cut:?}");
    }
}

#[test]
fn half_an_event_is_no_end() {
    for (whole, half) in [
        (&[WORD][..], r#"data: {"choices":[{"delta":{"con"#),
        (&[WORD, STOP], r#"data: {"choices":[],"usa"#),
        (&[WORD, STOP], "dat"),
        (&[r#"{"something":"else"}"#], r#"data: {"someth"#),
    ] {
        assert_eq!(ends(&(events(whole) + half)), BROKEN, "{half}");
    }
    for (whole, rest) in [
        (&[WORD][..], "data: [DONE]"),
        (&[WORD][..], "data: [DONE]\n"),
        (&[WORD, "[DONE]"], "da"),
        (&[WORD, STOP], ": a comm"),
        (
            &[r#"{"something":"else"}"#],
            r#"data: {"something":"more"}"#,
        ),
    ] {
        assert_eq!(ends(&(events(whole) + rest)), None, "{rest}");
    }
    let last = format!("data: {STOP}");
    assert_eq!(ends(&(events(&[WORD]) + &last)), None);
}

#[test]
fn what_has_types_ends_with_the_type_that_ends_it() {
    for (delta, last) in [
        (DELTA, "response.completed"),
        (DELTA, "response.incomplete"),
        (
            r#"{"type":"transcript.text.delta","delta":"D"}"#,
            "transcript.text.done",
        ),
        (
            r#"{"type":"speech.audio.delta","audio":"D"}"#,
            "speech.audio.done",
        ),
        (
            r#"{"type":"image_generation.partial_image","b64_json":"D"}"#,
            "image_generation.completed",
        ),
        (
            r#"{"type":"image_edit.partial_image","b64_json":"D"}"#,
            "image_edit.completed",
        ),
    ] {
        let begun = events(&[CREATED, delta]);
        assert_eq!(ends(&begun), BROKEN, "{last}");
        let untyped = format!("{{\"type\":\"{last}\",\"response\":{{}}}}");
        for end in [
            format!("event: {last}\ndata: {untyped}\n\n"),
            format!("data: {untyped}\n\n"),
        ] {
            assert_eq!(ends(&(begun.clone() + &end)), None, "{end}");
        }
        let quoted = format!("{{\"type\":\"response.output_text.delta\",\"delta\":\"{last}\"}}");
        assert_eq!(ends(&(begun + &events(&[&quoted]))), BROKEN, "{last}");
    }
}

#[test]
fn what_is_not_known_may_end_anywhere() {
    for text in [
        events(&[r#"{"something":"else"}"#]),
        events(&["no JSON"]),
        "data: no JSON\n\ndata: half".to_owned(),
        "<html></html>".to_owned(),
    ] {
        let outcome = stream().read(text.as_bytes(), true, SystemTime::UNIX_EPOCH);
        assert_eq!(outcome, Some(Outcome::Served), "{text}");
    }
}

#[test]
fn an_event_without_a_name_that_is_too_large_to_read_may_be_the_last() {
    const WORD: &str = r#"{"type":"transcript.text.delta","delta":"Dams"}"#;
    let now = SystemTime::UNIX_EPOCH;
    let logprobs = "x".repeat(MOST_HELD);
    let done =
        format!(r#"{{"type":"transcript.text.done","text":"Dams","logprobs":"{logprobs}"}}"#);
    for (all, end) in [
        (events(&[WORD, &done]), None),
        (events(&[WORD, &done, WORD]), BROKEN),
        (events(&[WORD, ""]), BROKEN),
        (events(&[WORD, &done]).trim_end().to_owned(), BROKEN),
    ] {
        for size in [10_000, all.len()] {
            let mut opening = stream();
            let begun = opening.read(events(&[WORD]).as_bytes(), false, now);
            assert_eq!(begun, Some(Outcome::Served));
            let mut watch = opening.into_watch().unwrap();
            for piece in all.as_bytes().chunks(size) {
                assert_eq!(watch.read(piece, false, now), None);
            }
            assert_eq!(watch.read(b"", true, now), end);
        }
    }
}
