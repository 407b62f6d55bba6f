//! What is seen of a stream whose beginning has gone out.

use super::*;

#[test]
fn after_the_commit_an_error_is_seen_in_every_cut_and_ordinary_words_are_none() {
    let ordinary = r#"{"choices":[{"delta":{"content":"an error, \"error\": response.failed"}}]}"#;
    let completed = r#"{"type":"response.completed","response":{"error":null}}"#;
    let ordinary = data(&[ordinary, completed, WORD, "[DONE]"]);
    let (now, text) = (
        SystemTime::UNIX_EPOCH,
        ordinary.clone() + &data(&[NO_CAPACITY]),
    );
    let watch = || {
        let mut opening = stream();
        read(&mut opening, data(&[WORD]), false);
        opening.into_watch().unwrap()
    };
    assert_eq!(watch().read(ordinary.as_bytes(), true, now), None);
    for at in 0..=text.len() {
        let (mut watch, (first, second)) = (watch(), text.as_bytes().split_at(at));
        let found = watch
            .read(first, false, now)
            .or_else(|| watch.read(second, false, now));
        assert_eq!(found, Some(throttled(7)), "cut at {at}");
    }
    let failed = data(&[r#"{"type":"response.failed","response":{"error":null}}"#]);
    let mut watch = watch();
    assert_eq!(watch.read(failed.as_bytes(), false, now), None);
    assert_eq!(
        watch.read(b"", true, now),
        Some(Outcome::fault(Fault::Status))
    );
}

#[test]
fn an_event_too_large_to_read_hides_neither_its_end_nor_the_next() {
    let now = SystemTime::UNIX_EPOCH;
    let mut watch = stream().into_watch().unwrap();
    let large = format!("data: {{\"error\":\"{}", "x".repeat(1 << 20));
    for piece in large.as_bytes().chunks(10_000) {
        assert_eq!(watch.read(piece, false, now), None);
    }
    assert_eq!(watch.read(b"\"}\n\n", false, now), None);
    assert_eq!(
        watch.read(data(&[NO_CAPACITY]).as_bytes(), false, now),
        Some(throttled(7))
    );
}

#[test]
fn an_event_too_large_to_read_can_still_be_the_last() {
    for (name, is_last) in [
        ("response.completed", true),
        ("response.output_item.done", false),
    ] {
        let large = "x".repeat(MOST_HELD);
        let event = format!("event: {name}\ndata: {{\"response\":\"{large}\"}}\n\n");
        for size in [10_000, event.len()] {
            let mut watch = stream().into_watch().unwrap();
            for piece in event.as_bytes().chunks(size) {
                let said = watch.read(piece, false, SystemTime::UNIX_EPOCH);
                assert_eq!(said, None);
            }
            assert_eq!(watch.is_whole(), is_last, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn an_event_says_the_same_under_its_name_with_any_line_ends_and_in_any_cut() {
    let now = SystemTime::UNIX_EPOCH;
    let watch = || {
        let mut opening = stream();
        read(&mut opening, data(&[WORD]), false);
        opening.into_watch().unwrap()
    };
    let error = r#"{"code":"no_capacity","message":"retry after 7 seconds"}"#;
    for end in ["\n", "\r\n", "\r"] {
        let event = |lines: &[&str]| lines.join(end) + end + end;
        let text = event(&["event: response.output_text.delta", "data: {}"])
            + &event(&["event: unnamed", ": a comment"])
            + &event(&["data: {", "data: }"])
            + &event(&["event: error", &format!("data: {error}")])
            + &event(&["event: response.completed", "data: {}"]);
        for at in 0..=text.len() {
            let (mut watch, (first, second)) = (watch(), text.as_bytes().split_at(at));
            let said = [first, second].map(|piece| watch.read(piece, false, now));
            let [first, second] = said;
            assert_eq!(first.or(second), Some(throttled(7)), "{end:?} cut at {at}");
            assert!(watch.is_whole(), "{end:?} cut at {at}");
        }
    }
}
