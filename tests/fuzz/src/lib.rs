//! What must hold for any bytes whatsoever. A fuzzer looks for bytes for which it does not; the tests run each of these
//! over the corpus that it left.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use forebay::{
    config,
    domain::{
        answer::{Answer, Verdict},
        ask::{Ask, Scan, prompt_tokens},
        body_outcome::UnsettledAnswer,
        client::{
            Client,
            issuer::Issuer,
            token::{Demand, Rule, Ruled, claims::Claims, judge, jwt::Jwt},
        },
        deployment::Kind,
        head::{self, Chunks, Framing, Search},
        outcome::Outcome,
        route::{self, Operation, Route},
        usage::{Memo, Meter, Usage},
        wait,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

/// A head: what is let in has one meaning, and the reader behind finds the same one.
pub fn head(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let Ok(Some(end)) = Search::default().end(bytes, MAX_HEADERS) else {
        return;
    };
    let mut search = Search::default();
    let step = usize::from(*cut).max(1);
    let cuts = (0..bytes.len()).step_by(step).skip(1).chain([bytes.len()]);
    let found = cuts.into_iter().find_map(|upto| {
        let found = search.end(&bytes[..upto], MAX_HEADERS);
        found.expect("no cut makes a head worse")
    });
    assert_eq!(found, Some(end));
    let (bytes, body) = bytes.split_at(end);
    let Ok(head) = head::read(bytes, MAX_HEADERS) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; head::MAX_LINES + 1];
    let mut again = httparse::Request::new(&mut fields);
    let parsed = again.parse(bytes).expect("the reader behind takes it");
    assert_eq!(parsed, httparse::Status::Complete(end));
    let all = |name: &str| -> Vec<&[u8]> {
        let fields = again.headers.iter();
        let named = fields.filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    assert!(all("host").len() <= 1 && (all("host").len() == 1 || again.version == Some(0)));
    match head.framing {
        Framing::Chunked => {
            assert!(all("content-length").is_empty());
            assert!(
                matches!(all("transfer-encoding")[..], [coding] if coding.eq_ignore_ascii_case(b"chunked"))
            );
            chunks(body, step);
        }
        Framing::Length(length) => {
            assert!(all("transfer-encoding").is_empty());
            let told = all("content-length");
            let told = told
                .first()
                .map_or("0", |told| std::str::from_utf8(told).expect("digits"));
            assert_eq!(told.parse(), Ok(length));
        }
    }
}

/// A chunked body ends in one place, wherever it is cut and whoever reads its sizes.
fn chunks(body: &[u8], step: usize) {
    let mut whole = Chunks::default();
    let Ok(end) = whole.pass(body) else { return };
    let mut pieces = Chunks::default();
    let passed = body
        .chunks(step)
        .map(|piece| pieces.pass(piece).expect("no cut makes a body worse"));
    assert_eq!(passed.sum::<usize>(), end);
    assert_eq!(pieces.is_done(), whole.is_done());
    let mut at = 0;
    while whole.is_done() {
        let Ok(httparse::Status::Complete((line, size))) =
            httparse::parse_chunk_size(&body[at..end])
        else {
            panic!("another reader stops at {at} of {end}");
        };
        at += line;
        if size == 0 {
            break;
        }
        at += usize::try_from(size).expect("it was there") + 2;
    }
    assert!(at <= end);
}

const MAX_HEADERS: usize = 32 << 10;

/// A request target: whatever it asks for, what goes out is on the deployment's own path, and holds no key.
pub fn path(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let target = uri
        .path_and_query()
        .map_or(&[][..], |target| target.as_str().as_bytes());
    for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
        if head::check(&method, target, &HeaderMap::new(), MAX_HEADERS).is_err() {
            continue;
        }
        let call = match route::route(&method, path) {
            Ok(Route::Call(call)) => (call.dialect, call.operation),
            Ok(Route::Realtime(dialect)) => (dialect, Operation::Realtime),
            _ => continue,
        };
        for (kind, base) in [(Kind::AzureOpenai, ""), (Kind::Openai, "/v1")] {
            let out = route::outgoing(call, kind, base, "d/é ..", query);
            let parsed = Uri::try_from(&out).expect("what goes out is a target");
            assert!(out.bytes().all(|byte| byte.is_ascii_graphic()), "{out}");
            assert!(out.starts_with(&format!("{base}/")), "{out}");
            let segments: Vec<_> = parsed.path().split('/').skip(1).collect();
            let is_plain =
                |segment: &&str| !segment.is_empty() && *segment != ".." && *segment != ".";
            assert!(segments.iter().all(is_plain), "{out}");
            assert!(parsed.path().ends_with(call.1.path()), "{out}");
            let names = parsed.query().unwrap_or_default().split('&');
            for name in names.map(|pair| pair.split('=').next().unwrap_or_default()) {
                assert!(!name.eq_ignore_ascii_case("api-key"), "{out}");
            }
        }
    }
}

/// A body: read whole and read in pieces it says the same, and told another name it names that and nothing else.
pub fn body(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let (cut, body) = rest
        .split_first()
        .map_or((0, rest), |(cut, body)| (*cut, body));
    let content_type = match form % 3 {
        0 => Some("application/json"),
        1 => Some("multipart/form-data; boundary=B"),
        _ => None,
    };
    let whole = Ask::read(content_type, body);
    if let Ok(ask) = &whole {
        renamed(content_type, ask, body);
    }
    if Ask::is_multipart(content_type) {
        if let Ok(ask) = &whole {
            is_what_lenient_readers_find(ask, body);
        }
    } else {
        if let Ok(ask) = &whole {
            is_what_others_read(ask, body);
        }
        in_pieces(whole.ok(), body, usize::from(cut).max(1));
    }
}

/// Where the gateway takes a body, others take it too, and read the same model in it.
fn is_what_others_read(ask: &Ask, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("what is read is text");
    let _: &serde_json::value::RawValue = serde_json::from_str(text).expect("what is read is JSON");
    if let Ok(said) = serde_json::from_str::<serde_json::Value>(text) {
        assert_eq!(said["model"].as_str(), ask.model.as_deref());
        let names = said.as_object().expect("it is an object").keys();
        let mut alike = names.filter(|name| name.eq_ignore_ascii_case("model"));
        assert!(alike.all(|name| name == "model"));
    }
}

/// Where the gateway takes a form, a reader that takes nearly anything finds no other model in it.
fn is_what_lenient_readers_find(ask: &Ask, body: &[u8]) {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    for part in format!("\n{lines}").split("\n--B").skip(1) {
        let Some((head, content)) = part.split_once("\n\n") else {
            continue;
        };
        let head = head.to_lowercase().replace("\n ", " ").replace("\n\t", " ");
        let plain = |line: &str| line.replace([' ', '\t', '"'], "");
        let is_model = head.split('\n').map(plain).any(|line| {
            let mut parameters = line.split(';');
            let is_disposition = parameters
                .next()
                .is_some_and(|start| start.starts_with("content-disposition:"));
            let names = ["name=model", "name*=utf-8''model", "name=model[]"];
            is_disposition && parameters.any(|parameter| names.contains(&parameter))
        });
        if is_model {
            let model = ask.model.as_deref().unwrap_or_default();
            let model: String = model.bytes().map(char::from).collect();
            let model = model.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(content, model, "{head}");
        }
    }
}

fn renamed(content_type: Option<&str>, ask: &Ask, body: &[u8]) {
    let Some(splice) = ask.naming("another \"one\"") else {
        return;
    };
    let mut changed = body[..splice.at.start].to_vec();
    changed.extend_from_slice(&splice.with);
    changed.extend_from_slice(&body[splice.at.end..]);
    let again = Ask::read(content_type, &changed).expect("it was readable before");
    assert_eq!(again.model.as_deref(), Some("another \"one\""));
    assert_eq!((again.stream, again.acts), (ask.stream, ask.acts));
}

fn in_pieces(whole: Option<Ask>, body: &[u8], size: usize) {
    let mut scan = Scan::default();
    let read = body.chunks(size).try_for_each(|piece| scan.push(piece));
    let is_whole = read.and_then(|()| scan.finish()).is_ok();
    let Some(found) = scan.ask().filter(|_| is_whole) else {
        return;
    };
    let whole = match whole {
        Some(whole) => whole,
        // Of what matters to it alone the reader of whole bodies wants sound names, and each of them once.
        None => {
            let Ok(text) = std::str::from_utf8(body) else {
                return;
            };
            let _: &serde_json::value::RawValue =
                serde_json::from_str(text).expect("what is read in pieces is JSON");
            if let Ok(said) = serde_json::from_str::<serde_json::Value>(text) {
                assert_eq!(said["model"].as_str(), found.model.as_deref());
            }
            return;
        }
    };
    assert_eq!((&found.model, found.stream), (&whole.model, whole.stream));
    assert_eq!(found.naming("x"), whole.naming("x"));
}

/// An answer's first pieces, cut anywhere: no cut hides an error, and none invents one.
pub fn stream(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let (cut, body) = rest
        .split_first()
        .map_or((0, rest), |(cut, body)| (*cut, body));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let status = [
        StatusCode::OK,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::NOT_FOUND,
    ];
    let status = status[usize::from(*form) % status.len()];
    let kind = HeaderValue::from_static("text/event-stream");
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let (Some(at_once), Some(by_piece)) = (
        UnsettledAnswer::from_head(status, &headers, now),
        UnsettledAnswer::from_head(status, &headers, now),
    ) else {
        return;
    };
    let (mut at_once, mut by_piece) = (Answer::opened(at_once), Answer::opened(by_piece));
    let whole = settled(&mut at_once, body, true, now).expect("the end settles it");
    let pieces: Vec<&[u8]> = body.chunks(usize::from(cut).max(1)).collect();
    let last = pieces.len().saturating_sub(1);
    let mut outcome = None;
    for (index, piece) in pieces.iter().enumerate() {
        outcome = settled(&mut by_piece, piece, index == last, now);
        if outcome.is_some() {
            watch(by_piece, &pieces[index + 1..], now);
            break;
        }
    }
    match outcome {
        // Output that came first was delivered before the error was there to be read.
        Some(Outcome::Served) | None => {}
        Some(outcome) => assert_eq!(outcome, whole),
    }
}

/// What an answer means, if that is known with this piece.
fn settled(answer: &mut Answer, piece: &[u8], end: bool, now: SystemTime) -> Option<Outcome> {
    match answer.pass(piece.to_vec().into(), end, now, None).1 {
        Some(Verdict::Settled(outcome)) => Some(outcome),
        Some(Verdict::Failed(_)) | None => None,
    }
}

fn watch(mut answer: Answer, pieces: &[&[u8]], now: SystemTime) {
    for (left, piece) in pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| (pieces.len() - at, piece))
    {
        answer.pass(piece.to_vec().into(), left == 1, now, None);
    }
}

/// An answer's usage: no cut changes it, and what is believed can be true. As a prompt, any bytes come to some tokens.
pub fn usage(data: &[u8]) {
    let [form, cut, answer @ ..] = data else {
        return;
    };
    let operation = Operation::ALL[usize::from(*form) % Operation::ALL.len()];
    let kind = match form & 0x80 {
        0 => "application/json",
        _ => "text/event-stream",
    };
    let kind = HeaderValue::from_static(kind);
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind)]);
    let meter = || Meter::of(operation, StatusCode::OK, &headers).expect("it can be read");
    let (mut whole, mut pieces) = (meter(), meter());
    metered(&mut whole, [answer].into_iter());
    metered(&mut pieces, answer.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole.usage(), pieces.usage());
    let is_possible = |usage: &Usage| {
        usage.cached.max(usage.audio_input) <= usage.input
            && usage.reasoning.max(usage.audio_output) <= usage.output
            && usage.total() <= 3_000_000_000
    };
    assert!(
        whole
            .usage()
            .is_none_or(|usage| is_possible(&usage) && !usage.estimated)
    );
    let passed = whole.estimate(7);
    assert!(is_possible(&passed) && passed.estimated);
    let prompt = prompt_tokens(operation, answer);
    assert!(prompt <= 800 * (answer.len() as u64 + 1), "{prompt} tokens");
}

fn metered<'a>(meter: &mut Meter, pieces: impl Iterator<Item = &'a [u8]>) {
    let (mut answer, mut memo) = (Answer::default(), Memo::default());
    for piece in pieces {
        let piece = piece.to_vec().into();
        answer.pass(
            piece,
            false,
            SystemTime::UNIX_EPOCH,
            Some((meter, &mut memo)),
        );
    }
}

/// Headers and messages that say when to come back: whatever they say, it is a time to wait or nothing.
pub fn wait(data: &[u8]) {
    const NAMES: [&str; 6] = [
        "retry-after-ms",
        "retry-after",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else {
            continue;
        };
        let name = NAMES[usize::from(*which) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let told = wait::retry_after(&headers, now);
    let after = wait::after_throttle(&headers, now);
    let names_a_time = told.is_some_and(|wait| !wait.is_zero());
    assert!(!names_a_time || told == after, "its own word goes first");
    let status = StatusCode::TOO_MANY_REQUESTS;
    let outcome = Outcome::of_response(status, &headers, now);
    assert_eq!(outcome, Outcome::Throttled { wait: after });
    let text = String::from_utf8_lossy(data);
    wait::in_message(&text);
    Outcome::of_error_body(status, &headers, data, now);
}

/// A config file: it is sound, or there is a list of what isn't, each with a place that is in the file.
pub fn config(data: &[u8]) {
    // What it names is looked at, and a fuzzer should not look around.
    if data.windows(5).any(|window| window == b"file:") || data.contains(&b'/') && names_files(data)
    {
        return;
    }
    let origin = Path::new("/nowhere/forebay.yaml");
    let variables = |name: &str| (name == "SET").then(|| "value".to_owned());
    if let Err(problems) = config::parse(data, origin, &variables) {
        assert!(!problems.0.is_empty());
        // In YAML a carriage return alone ends a line too.
        let lines = data
            .iter()
            .filter(|byte| matches!(byte, b'\n' | b'\r'))
            .count()
            + 1;
        for problem in &problems.0 {
            assert!(
                (1..=lines + 1).contains(&problem.line),
                "{problem:?} of {lines} lines"
            );
            assert!(
                problem.column > 0 && !problem.message.is_empty(),
                "{problem:?}"
            );
        }
    }
}

/// Whether a path in it may lead out of the folder that does not exist.
fn names_files(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    ["certificate", "key:", "ca:", "token_file", "access:"]
        .iter()
        .any(|field| text.contains(field))
}

/// A client's token: it has one form only, and whoever is let in had everything said in it, once.
pub fn token(data: &[u8]) {
    if let Ok(jwt) = Jwt::read(data) {
        let parts: Vec<_> = data.split(|byte| *byte == b'.').collect();
        let [_, _, signature] = parts[..] else {
            panic!("a token of {} parts", parts.len());
        };
        assert_eq!(jwt.signed.len() + 1 + signature.len(), data.len());
        assert!(!jwt.key_id.is_empty());
    }
    let Ok(claims) = Claims::parse(data) else {
        return;
    };
    let said: serde_json::Value = serde_json::from_slice(data).expect("claims are JSON");
    let (issuer, rules) = tenant();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let Ok(granted) = judge(&issuer, &rules, &claims, now) else {
        return;
    };
    let end = said["exp"].as_f64().expect("a token ends");
    assert!(end + 60.0 > NOW as f64 && granted.until > now);
    assert!(["nbf", "iat"].iter().all(|name| {
        match &said[name] {
            serde_json::Value::Null => said.get(name).is_none(),
            since => since
                .as_f64()
                .is_some_and(|since| since <= NOW as f64 + 60.0),
        }
    }));
    let names = |claim: &str, wanted: &str| {
        let said = &said[claim];
        said == wanted
            || said
                .as_array()
                .is_some_and(|all| all.iter().any(|each| each == wanted))
    };
    assert!(names("aud", "a") && said["tid"] == "t");
    let application = said["azp"] == "p" || said["appid"] == "p";
    match granted.client.name.as_str() {
        "by-application" => assert!(application),
        "by-role" => assert!(application && names("roles", "r")),
        other => panic!("{other} is nobody's name"),
    }
}

/// When the fuzzed tokens are shown, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn tenant() -> (Issuer, [Ruled; 2]) {
    let rule = |name: &str, demands: Vec<Demand>| {
        let rule = Rule {
            issuer: "e".into(),
            audiences: ["a".to_owned()].into(),
            demands: demands.into_iter().collect(),
        };
        (rule, Arc::new(Client::named(name)))
    };
    let application = || Demand::Application("p".into());
    let rules = [
        rule("by-application", vec![application()]),
        rule("by-role", vec![application(), Demand::Role("r".into())]),
    ];
    (Issuer::entra("e", "https://i", "t", None), rules)
}
