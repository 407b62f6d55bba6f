use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::event_stream::{Framer, KEPT, LARGEST, Part};

/// A stream that is trimmed as it passes.
#[derive(Default)]
struct Trim(Framer);

impl Trim {
    fn pass(&mut self, piece: Bytes, end: bool) -> Bytes {
        self.0.change(&piece, end, |part, out| {
            if let Part::Event(event) = part {
                put(&event, out);
            }
        })
    }
}

/// What goes out of a stream that is cut at these places.
fn trimmed(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut trim, mut out, mut from) = (Trim::default(), Vec::new(), 0);
    for cut in cuts {
        let cut = (*cut).clamp(from, stream.len());
        out.extend(trim.pass(Bytes::copy_from_slice(&stream[from..cut]), false));
        from = cut;
    }
    out.extend(trim.pass(Bytes::copy_from_slice(&stream[from..]), true));
    out
}

/// The same however it is cut in two.
fn trimmed_text(stream: &str) -> String {
    let whole = trimmed(stream.as_bytes(), &[]);
    for cut in 0..=stream.len() {
        let cut_up = trimmed(stream.as_bytes(), &[cut]);
        assert_eq!(
            String::from_utf8_lossy(&cut_up),
            String::from_utf8_lossy(&whole),
            "cut at {cut}"
        );
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn nothing_is_left_of_a_usage_that_the_client_did_not_ask_for() {
    let filter = r#""choices":[],"prompt_filter_results":[{"prompt_index":0}]"#;
    for (with, without) in [
        (
            r#"{"choices":[{"delta":{"content":"a"}}],"id":"1","usage":null}"#,
            Some(r#"{"choices":[{"delta":{"content":"a"}}],"id":"1"}"#),
        ),
        (
            r#"{"usage":null,"choices":[{}]}"#,
            Some(r#"{"choices":[{}]}"#),
        ),
        (
            r#"{ "a": 1, "usage": null, "b": 2 }"#,
            Some(r#"{ "a": 1, "b": 2 }"#),
        ),
        (r#"{ "usage" : null , "b": 2 }"#, Some(r#"{ "b": 2 }"#)),
        (r#"{"usage":null}"#, Some("{}")),
        (
            r#"{"us\u0061ge":null,"usage_too":1}"#,
            Some(r#"{"usage_too":1}"#),
        ),
        (r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, None),
        (r#"{"usage":{"prompt_tokens":1}, "choices" : [ ] }"#, None),
        (r#"{"choices":[],"usage":"lots"}"#, None),
    ] {
        let without = without
            .map(|data| format!("data: {data}\n\n"))
            .unwrap_or_default();
        assert_eq!(
            trimmed_text(&format!("data: {with}\n\n")),
            without,
            "{with}"
        );
    }
    assert_eq!(
        trimmed_text(&format!("data: {{{filter},\"usage\":{{\"a\":1}}}}\n\n")),
        format!("data: {{{filter}}}\n\n")
    );
    assert_eq!(
        trimmed_text(&format!("data: {{{filter},\"usage\":null}}\n\n")),
        format!("data: {{{filter}}}\n\n")
    );
}

#[test]
fn what_only_looks_like_it_stays() {
    for event in [
        r#"data: {"choices":[{"delta":{"content":",\"usage\":null}"}}]}"#,
        r#"data: {"choices":[{"delta":{"usage":null}}],"x":{"usage":null}}"#,
        r#"data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
        r#"data: {"usage":{"prompt_tokens":1}}"#,
        r#"data: {"choices":[],"usage":null"#,
        r#"data: usage"#,
        "data: [DONE]",
        ": about \"usage\":null}",
        "event: usage\ndata: {}",
        // A comment behind the data.
        "data: {\"x\":1}\n: ,\"usage\":null}",
    ] {
        let stream = format!("{event}\n\n");
        assert_eq!(trimmed_text(&stream), stream);
    }
}

#[test]
fn lines_may_end_in_every_way_and_comments_stay() {
    let chunk = r#"{"choices":[],"usage":{"prompt_tokens":1}}"#;
    let (null, plain) = (r#"{"id":"1","usage":null}"#, r#"{"id":"1"}"#);
    for end in ["\n", "\r\n", "\r"] {
        let lines = |lines: &[&str]| lines.join(end);
        let data = |data: &str| format!("data:{data}");
        assert_eq!(
            trimmed_text(&lines(&[
                ": a",
                "",
                &data(null),
                "id: 1",
                "",
                ": b",
                &data(chunk),
                "",
                "data: [DONE]",
                "",
                ""
            ])),
            lines(&[
                ": a",
                "",
                &data(plain),
                "id: 1",
                "",
                ": b",
                "data: [DONE]",
                "",
                ""
            ]),
            "{end:?}"
        );
    }
    let two_lines = "data: {\"choices\":[],\ndata: \"usage\":{\"a\":1}}\n\ndata: [DONE]\n\n";
    assert_eq!(trimmed_text(two_lines), "data: [DONE]\n\n");
    let marked = format!("\u{feff}data: {null}\n\n");
    assert_eq!(trimmed_text(&marked), format!("\u{feff}data: {plain}\n\n"));
    // Its last event lacks the empty line.
    let unclosed = format!("data: {null}");
    assert_eq!(trimmed_text(&unclosed), format!("data: {plain}"));
}

#[test]
fn no_whole_event_waits_and_what_is_held_is_bounded() {
    let mut trim = Trim::default();
    let mut pass = |text: &str| trim.pass(Bytes::copy_from_slice(text.as_bytes()), false);
    assert_eq!(pass("data: {\"a\":1}\n\ndata: {"), "data: {\"a\":1}\n\n");
    assert_eq!(pass("\"b\":2}\n"), "");
    assert_eq!(pass("\n"), "data: {\"b\":2}\n\n");
    assert_eq!(pass("data: {\"a\":1}\r\n\r"), "data: {\"a\":1}\r\n\r");
    assert_eq!(pass("\n"), "\n");
    let large = format!("data: {{\"a\":\"{}", "x".repeat(LARGEST));
    assert_eq!(pass(&large), large);
    assert_eq!(pass("\",\"usage\":null}\n\ndata"), "\",\"usage\":null}\n\n");
    assert_eq!(pass(": {\"usage\":null}\n\n"), "data: {}\n\n");
    assert!(trim.0.kept() <= KEPT && std::mem::size_of::<Trim>() <= 144);
}

#[test]
fn a_piece_in_which_nothing_changes_is_not_copied() {
    let piece = Bytes::from_static(b"data: {\"a\":1}\n\ndata: [DONE]\n\n");
    let out = Trim::default().pass(piece.clone(), false);
    assert_eq!(out.as_ptr(), piece.as_ptr());
    assert_eq!(out.len(), piece.len());
}

/// One event, as it comes where usage was asked for, and where it was not.
fn event() -> impl Strategy<Value = (String, String)> {
    let text = prop_oneof![
        "[ -~]{0,20}",
        Just("\",\"usage\":null}".to_owned()),
        "\\PC{0,8}"
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    let lead = prop_oneof![Just("data: "), Just("data:"), Just("event: x\ndata: ")];
    (text, end, lead, 0..6_u8).prop_map(|(text, end, lead, kind)| {
        let lead = lead.replace('\n', end);
        let event = |data: String| format!("{lead}{data}{end}{end}");
        let delta = json!({"choices": [{"delta": {"content": text}, "index": 0}], "id": "c"});
        let delta = delta.to_string();
        let inside = &delta[1..delta.len() - 1];
        match kind {
            0 => (
                event(format!("{{{inside},\"usage\":null}}")),
                event(delta.clone()),
            ),
            1 => (
                event(format!("{{\"usage\": null, {inside}}}")),
                event(delta.clone()),
            ),
            2 => {
                let chunk = json!({"choices": [], "id": text, "usage": {"prompt_tokens": 7}});
                (event(chunk.to_string()), String::new())
            }
            3 => {
                let filter = "{\"choices\":[],\"prompt_filter_results\":[{\"x\":1}]";
                (
                    event(format!("{filter},\"usage\":null}}")),
                    event(format!("{filter}}}")),
                )
            }
            4 => {
                let comment = format!(": keepalive \"usage\":null}}{end}{end}");
                (comment.clone(), comment)
            }
            _ => (event("[DONE]".into()), event("[DONE]".into())),
        }
    })
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_is_the_one_without_usage(
        events in prop::collection::vec(event(), 1..8),
        mut cuts in prop::collection::vec(0..2_000_usize, 0..12),
    ) {
        cuts.sort_unstable();
        let (with, without): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        let (with, without) = (with.concat(), without.concat());
        let out = trimmed(with.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&out), without);
    }
}
