use std::time::Duration;

use super::*;
use crate::domain::event_stream::{Framer, Part};

mod after_commit;
mod ends;

/// What is read of a stream, and who reads it.
struct Read<T>(Framer, T);

impl Read<UnsettledAnswer> {
    fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        let Self(framer, opening) = self;
        if opening.is_stream() {
            framer.read(piece, end, |part| {
                see(part, |event| opening.see(event, now))
            });
        }
        opening.read(piece, end, now)
    }

    fn into_watch(self) -> Option<Read<StreamWatch>> {
        Some(Read(self.0, self.1.into_watch()?))
    }
}

impl Read<StreamWatch> {
    fn read(&mut self, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
        let Self(framer, watch) = self;
        framer.read(piece, end, |part| see(part, |event| watch.see(event, now)));
        watch.outcome(end)
    }

    fn is_whole(&self) -> bool {
        self.1.is_whole()
    }
}

fn see(part: Part<'_>, see: impl FnOnce(&Event<'_>)) {
    if let Part::Event(event) = part
        && event.says_something()
    {
        see(&event);
    }
}

fn opening(status: StatusCode, headers: &HeaderMap) -> Read<UnsettledAnswer> {
    let opening = UnsettledAnswer::from_head(status, headers, SystemTime::UNIX_EPOCH);
    Read(Framer::default(), opening.unwrap())
}

const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[]},"finish_reason":null,"index":0}]}"#;
const FILTER: &str = r#"{"choices":[],"id":"","prompt_filter_results":[{"prompt_index":0}]}"#;
const WORD: &str =
    r#"{"choices":[{"delta":{"content":"Grüße"},"finish_reason":null,"index":0}],"usage":null}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"id":"r","error":null}}"#;
const NO_CAPACITY: &str = r#"{"error":{"type":"too_many_requests","code":"no_capacity","message":"High demand. Try again in 7 seconds."}}"#;

fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let kind = ("content-type", "text/event-stream; charset=utf-8");
    let pairs = pairs.iter().chain([&kind]);
    let pair = |(name, value): &(&'static str, &'static str)| {
        (name.parse().unwrap(), value.parse().unwrap())
    };
    pairs.map(pair).collect()
}

fn stream() -> Read<UnsettledAnswer> {
    stream_with(&[])
}

fn stream_with(pairs: &[(&'static str, &'static str)]) -> Read<UnsettledAnswer> {
    opening(StatusCode::OK, &head(pairs))
}

fn read(opening: &mut Read<UnsettledAnswer>, text: impl AsRef<[u8]>, end: bool) -> Option<Outcome> {
    opening.read(text.as_ref(), end, SystemTime::UNIX_EPOCH)
}

/// What a whole stream comes to; the same however it is cut in two, and byte by byte.
fn whole(text: impl AsRef<[u8]>) -> Outcome {
    let text = text.as_ref();
    let outcome = read(&mut stream(), text, true).unwrap();
    for at in 0..=text.len() {
        let mut opening = stream();
        let first = read(&mut opening, &text[..at], false);
        let both = first.or_else(|| read(&mut opening, &text[at..], true));
        assert_eq!(both, Some(outcome), "cut at {at} of {text:?}");
    }
    let mut opening = stream();
    let bytes = text
        .chunks(1)
        .find_map(|byte| read(&mut opening, byte, false))
        .or_else(|| read(&mut opening, b"", true));
    assert_eq!(bytes, Some(outcome), "byte by byte: {text:?}");
    outcome
}

/// What a stream comes to that has not ended; the same byte by byte.
fn begun(text: impl AsRef<[u8]>) -> Option<Outcome> {
    let text = text.as_ref();
    let outcome = read(&mut stream(), text, false);
    let mut opening = stream();
    let mut bytes = text.chunks(1);
    let bytes = bytes.find_map(|byte| read(&mut opening, byte, false));
    assert_eq!(bytes, outcome, "byte by byte: {text:?}");
    outcome
}

fn data(events: &[&str]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

fn throttled(seconds: u64) -> Outcome {
    let wait = Some(Duration::from_secs(seconds));
    Outcome::Throttled { wait }
}

const UNSAID: Outcome = Outcome::Throttled { wait: None };

#[test]
fn output_of_any_kind_settles_a_stream_as_served() {
    for event in [
        WORD,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"Hm"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"text":"Dams","index":0}]}"#,
        r#"{"type":"response.output_text.delta","delta":"Dams"}"#,
        r#"{"type":"response.output_item.added","item":{"type":"reasoning"},"error":"none of ours"}"#,
        r#"{"type":"image_generation.partial_image","b64_json":"…"}"#,
        r#"{"something":"else"}"#,
        "[DONE]",
    ] {
        let quiet = data(&[FILTER, ROLE, CREATED]);
        let text = quiet.clone() + &data(&[event]);
        assert_eq!(begun(&text), Some(Outcome::Served), "{event}");
        let (mut opening, event) = (stream(), data(&[event]));
        assert_eq!(read(&mut opening, &quiet, false), None);
        assert_eq!(read(&mut opening, event, false), Some(Outcome::Served));
    }
}

#[test]
fn what_has_nothing_of_the_model_in_it_is_held_on_to() {
    for event in [
        FILTER,
        ROLE,
        r#"{"choices":[{"delta":{},"content_filter_results":{"hate":{}}}],"error":null}"#,
        r#"{"choices":[{"text":"","index":0,"finish_reason":null}]}"#,
        CREATED,
        r#"{"type":"response.queued"}"#,
        r#"{"type":"response.in_progress"}"#,
        r#"{"type":"keepalive"}"#,
        "no JSON",
        "",
    ] {
        let mut opening = stream();
        assert_eq!(read(&mut opening, data(&[event]), false), None, "{event}");
        let named = "event: keepalive\nid: 7\nretry: 1\ndata: {}\n\n: a comment\n\n";
        assert_eq!(read(&mut opening, named, false), None, "{event}");
    }
}

#[test]
fn lines_end_as_the_standard_allows_and_the_last_event_may_lack_its_blank_line() {
    for end in ["\n", "\r\n", "\r"] {
        let error = format!(
            ": hello{end}{end}data:{FILTER}{end}{end}event: error{end}data: {NO_CAPACITY}{end}{end}"
        );
        assert_eq!(whole(&error), throttled(7), "{end:?}");
        assert_eq!(whole(error.trim_end()), throttled(7), "{end:?}");
        let marked = format!("\u{feff}event: error{end}data: {NO_CAPACITY}{end}{end}");
        assert_eq!(whole(marked), throttled(7), "{end:?}");
        let lines = format!("data: {{\"error\":{end}data:  {{\"status\":401}}}}{end}{end}");
        assert_eq!(whole(lines), Outcome::IdentityRejected, "{end:?}");
        let word = format!("data: {WORD}{end}{end}");
        assert_eq!(begun(word), Some(Outcome::Served), "{end:?}");
    }
}

#[test]
fn an_error_means_what_its_words_say_in_every_form() {
    let faulted = |fault| Outcome::fault(fault);
    for (event, outcome) in [
        (NO_CAPACITY, throttled(7)),
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"wait 3 seconds"}"#,
            throttled(3),
        ),
        (
            r#"{"type":"error","error":{"type":"too_many_requests","code":"no_capacity","headers":{"Retry-After":"4","retry-after-ms":2000}}}"#,
            throttled(2),
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"…"}}}"#,
            UNSAID,
        ),
        (r#"{"error":{"code":"RateLimitReached"}}"#, UNSAID),
        (r#"{"error":{"code":429}}"#, UNSAID),
        (
            r#"{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}"#,
            UNSAID,
        ),
        (
            r#"{"error":{"type":"server_error","code":"rate_limit_exceeded"}}"#,
            UNSAID,
        ),
        (
            r#"{"type":"error","error":{"type":"user_error"}}"#,
            Outcome::CallerError,
        ),
        (
            r#"{"error":{"type":null,"code":"content_filter","status":400}}"#,
            Outcome::Screened,
        ),
        (
            r#"{"error":{"type":"invalid_request_error","code":"422"}}"#,
            Outcome::CallerError,
        ),
        (
            r#"{"type":"error","error":{"type":"forbidden"}}"#,
            Outcome::IdentityRejected,
        ),
        (
            r#"{"error":{"code":"DeploymentNotFound"}}"#,
            Outcome::NotDeployed,
        ),
        (
            r#"{"error":{"code":"PermissionDenied"}}"#,
            Outcome::OperationRejected,
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"image_too_large","message":"…"}}}"#,
            Outcome::CallerError,
        ),
        (
            r#"{"type":"error","error":{"type":"server_error","code":"vector_store_timeout"}}"#,
            Outcome::CallerError,
        ),
        (
            r#"{"type":"error","code":"http_error","error":{"type":"external_connector_error","code":"http_error"}}"#,
            Outcome::CallerError,
        ),
        (
            r#"{"error":{"code":"400","message":"Token tenant 1 does not match resource tenant."}}"#,
            Outcome::IdentityUnfit,
        ),
        (
            r#"{"type":"error","error":{"type":"brand_new","code":"never_seen"}}"#,
            faulted(Fault::Status),
        ),
        (r#"{"error":{"code":"408"}}"#, faulted(Fault::Timeout)),
        (r#"{"error":{"code":"Timeout"}}"#, faulted(Fault::Timeout)),
        (
            r#"{"error":{"type":"server_error","code":null}}"#,
            faulted(Fault::Status),
        ),
        (r#"{"error":"in plain words"}"#, faulted(Fault::Status)),
        (
            r#"{"type":"response.failed","response":{"error":null}}"#,
            faulted(Fault::Status),
        ),
        (
            r#"{"type":"error","message":"in plain words"}"#,
            faulted(Fault::Status),
        ),
    ] {
        assert_eq!(whole(data(&[FILTER, CREATED, event])), outcome, "{event}");
    }
    let named = format!("event: error\ndata: {}\n\n", r#"{"code":"no_capacity"}"#);
    assert_eq!(whole(named), UNSAID);
    let typed = format!("event: error\ndata: {}\n\n", r#"{"type":"user_error"}"#);
    assert_eq!(whole(typed), Outcome::CallerError);
}

#[test]
fn a_failure_without_a_reason_waits_for_the_event_that_gives_one() {
    let failed = r#"{"type":"response.failed","response":{"error":null}}"#;
    let mut opening = stream();
    assert_eq!(read(&mut opening, data(&[failed]), false), None);
    assert_eq!(
        read(&mut opening, data(&[NO_CAPACITY]), false),
        Some(throttled(7))
    );
}

#[test]
fn the_heads_own_wait_comes_first_and_its_spent_limit_tells_an_error_without_words() {
    let mut opening = stream_with(&[("retry-after", "21")]);
    assert_eq!(
        read(&mut opening, data(&[NO_CAPACITY]), false),
        Some(throttled(21))
    );
    let mut opening = stream_with(&[("x-ratelimit-remaining-tokens", "0")]);
    let vague =
        r#"{"type":"response.failed","response":{"error":{"message":"Try again in 5 seconds"}}}"#;
    assert_eq!(
        read(&mut opening, data(&[vague]), false),
        Some(throttled(5))
    );
    let mut opening = stream_with(&[("retry-after-ms", "2000")]);
    assert_eq!(
        read(&mut opening, data(&[vague]), false),
        Some(throttled(2))
    );
    let mut opening = stream_with(&[("retry-after-ms", "2000")]);
    let server_error = r#"{"error":{"type":"server_error"}}"#;
    let told = Outcome::Faulted {
        fault: Fault::Status,
        wait: Some(Duration::from_secs(2)),
    };
    assert_eq!(read(&mut opening, data(&[server_error]), false), Some(told));
}

#[test]
fn an_end_before_any_output_is_a_broken_answer_unless_something_was_odd() {
    for text in [
        "",
        ": nothing but a comment\n\n",
        "data:\n\n",
        &data(&[FILTER, ROLE]),
    ] {
        assert_eq!(whole(text), Outcome::fault(Fault::Broken), "{text}");
    }
    for text in [
        "data: no JSON\n\n",
        "<html></html>",
        "data: {\"choices\":[\n\n",
        "data: 7\n\n",
    ] {
        assert_eq!(whole(text), Outcome::Served, "{text}");
    }
    assert_eq!(whole(b"data: \xff\xfe\n\n"), Outcome::Served);
}

#[test]
fn an_error_that_came_with_the_first_output_still_counts() {
    assert_eq!(
        read(&mut stream(), data(&[WORD, NO_CAPACITY]), false),
        Some(throttled(7))
    );
}

#[test]
fn more_than_can_be_held_is_taken_for_output() {
    let mut opening = stream();
    let comment = format!(": {}\n", "x".repeat(1021));
    for _ in 0..64 {
        assert_eq!(read(&mut opening, comment.as_bytes(), false), None);
    }
    assert_eq!(read(&mut opening, b"\n", false), Some(Outcome::Served));
}

#[test]
fn a_bodys_code_or_wait_is_read_from_every_cut() {
    let of = |status, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        let mut outcomes = (0..=body.len()).map(|at| {
            let mut opening = opening(status, &HeaderMap::new());
            assert!(!opening.1.is_stream());
            assert_eq!(read(&mut opening, &body[..at], false), None);
            read(&mut opening, &body[at..], true).unwrap()
        });
        let first = outcomes.next().unwrap();
        assert!(outcomes.all(|outcome| outcome == first));
        first
    };
    let missing = r#"{"error":{"code":"DeploymentNotFound","message":"…"}}"#.replace('…', "-");
    assert_eq!(of(404, &missing), Outcome::NotDeployed);
    assert_eq!(of(404, "Resource not found"), Outcome::CallerError);
    assert_eq!(of(429, "Please retry after 3 seconds."), throttled(3));
    let gone = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
    assert_eq!(of(404, gone), Outcome::NotFound);
    let tool = r#"{"error":{"type":"external_connector_error","code":"http_error"}}"#;
    assert_eq!(of(424, tool), Outcome::CallerError);
    let tenant =
        r#"{"error":{"code":"400","message":"Token tenant 1 does not match resource tenant."}}"#;
    assert_eq!(of(400, tenant), Outcome::IdentityUnfit);
    let large = "x".repeat(MOST_HELD + 1);
    let mut opening = opening(StatusCode::NOT_FOUND, &HeaderMap::new());
    assert_eq!(read(&mut opening, large, false), Some(Outcome::CallerError));
}

#[test]
fn what_breaks_off_is_a_fault_but_a_429_stays_one() {
    let (fault, now) = (Fault::Reset, SystemTime::UNIX_EPOCH);
    assert_eq!(stream().1.broken_off(fault, now), Outcome::fault(fault));
    let of = |status| UnsettledAnswer::from_head(status, &HeaderMap::new(), now).unwrap();
    assert_eq!(
        of(StatusCode::NOT_FOUND).broken_off(fault, now),
        Outcome::fault(fault)
    );
    assert_eq!(
        of(StatusCode::UNAUTHORIZED).broken_off(fault, now),
        Outcome::IdentityRejected
    );
    assert_eq!(
        of(StatusCode::TOO_MANY_REQUESTS).broken_off(fault, now),
        UNSAID
    );
}

#[test]
fn only_what_a_body_could_change_is_open() {
    let now = SystemTime::UNIX_EPOCH;
    let is_open = |status: u16, pairs: &[_]| {
        UnsettledAnswer::from_head(StatusCode::from_u16(status).unwrap(), &head(pairs), now)
            .is_some()
    };
    assert!(is_open(200, &[]) && is_open(404, &[]) && is_open(429, &[]));
    assert!(is_open(200, &[("content-encoding", "identity")]));
    for (status, pairs) in [
        (200, &[("content-encoding", "gzip")][..]),
        (404, &[("content-encoding", "gzip")]),
        (429, &[("retry-after", "1")]),
        (401, &[("content-length", "0")]),
        (409, &[]),
        (503, &[]),
        (201, &[]),
    ] {
        assert!(!is_open(status, pairs), "{status} {pairs:?}");
    }
    let json = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
    assert!(UnsettledAnswer::from_head(StatusCode::OK, &json, now).is_none());
}
