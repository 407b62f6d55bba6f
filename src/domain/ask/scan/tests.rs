//! A body read in pieces says what it says when it is read whole.

use proptest::prelude::*;

mod serde_reader;

use super::{text::NotJson, *};
use crate::domain::ask::{
    body::{Ask, ModelPlace},
    wants::Wants,
    whole,
};

/// Bodies that are one object, and bodies that are not, with what they are refused for.
const BODIES: [&str; 47] = [
    r#"{"Model":"x","model":"gpt"}"#,
    r#"{"mode\u004c":"x"}"#,
    r#"{"\u017ftream":true,"model":"gpt"}"#,
    r#"{"x":{"Model":"no"},"model":"gpt"}"#,
    r#"{"DataSources":[],"dataSources":null,"model":"gpt"}"#,
    r#"{"model":"gpt-4o","n":1.0}"#,
    r#" { "x" : {"model":"no"}, "model" : "g\u0070t" , "é":1e400, "stream": true }"#,
    r#"{"messages":[{"role":"user","content":"a \"model\": \\"}],"model":"gpt"}"#,
    r#"{"mod\u0065l":"gpt","stream":false}"#,
    r#"{"\u006d\u006F\u0064\u0065\u006c":"gpt"}"#,
    r#"{"model":null,"stream":"true"}"#,
    r#"{"model":"a","x":[-0,0.5,1E+2,-12.5e-3,true,false,null,[],{},[[]],""]}"#,
    r#"{"a":{"b":{"model":"x","model":"y"}},"stream":null,"model":"m"}"#,
    r#"{"models":"x","mode":1,"a key that is far too long to be spelling model or stream":2,"model":"m"}"#,
    "{\r\n\t\"model\":\r\n\"m\"}\n",
    r#"{"model":"a","model":"b"}"#,
    r#"{"model":"a","mod\u0065l":"b"}"#,
    r#"{"model":null,"model":"b"}"#,
    r#"{"model":"a","x":{},"model":null}"#,
    r#"{"model":1}"#,
    r#"{"model":{"a":1}}"#,
    r#"{"model":["a"]}"#,
    r#"{"model":true}"#,
    r#"{"model":"\ud800"}"#,
    r#"{"mod\ud800el":1}"#,
    r#"{"model":"m","x":tru}"#,
    r#"{"model":"m","x":truee}"#,
    r#"{"model":"m","x":nul"#,
    r#"{"model":"m"} x"#,
    r#"{"model":"m"}{"model":"n"}"#,
    r#"{"model":"m",}"#,
    r#"{"model":"m" "x":1}"#,
    r#"{"model":"m","x":[1,]}"#,
    r#"{"model":"m","x":[1}"#,
    r#"{"model":"m","x":01}"#,
    r#"{"model":"m","x":1.}"#,
    r#"{"model":"m","x":-}"#,
    r#"{"model":"m","x":1e}"#,
    r#"{"model":"m","x":"\x"}"#,
    r#"{"model":"m","x":"\u12g4"}"#,
    "{\"model\":\"m\",\"x\":\"a\nb\"}",
    "\u{feff}{\"model\":\"m\"}",
    "[]",
    "",
    "{'model':'m'}",
    "{\"model\":\"m\",\"x\":\"long enough to be searched in another way\tthan a name\"}",
    r#"{"x":"long enough to be searched in another way than \"names\" \\\\","model":"m"}"#,
];

fn scanned(pieces: &[&[u8]]) -> Result<Scan, Refusal> {
    let mut scan = Scan::default();
    for piece in pieces {
        scan.push(piece)?;
    }
    scan.finish()?;
    Ok(scan)
}

const STATELESS: Forbidden = Forbidden {
    is_chat: false,
    state: true,
    data: true,
};

/// Who looks for state reads the same grammar and the same model.
#[test]
fn looking_for_state_changes_nothing_else() {
    for body in BODIES {
        let mut scan = Scan::forbidding(STATELESS);
        let read = scan.push(body.as_bytes()).and_then(|()| scan.finish());
        let stateless = told(read.map(|()| scan));
        assert_eq!(stateless, told(scanned(&[body.as_bytes()])), "{body}");
    }
}

/// What a scan says, without what only the whole body says.
fn told(scan: Result<Scan, Refusal>) -> Result<Option<Ask>, Refusal> {
    scan.map(|scan| scan.ask())
}

/// The same from all of the body at once, by the other reader.
fn read(body: &[u8]) -> Result<Option<Ask>, Refusal> {
    let ask = serde_reader::parsed(body)?;
    let names = !matches!(ask.place, ModelPlace::Json { value: None, .. });
    let ask = Ask {
        acts: false,
        wants: Wants::default(),
        ..ask
    };
    let empty = |place| match place {
        ModelPlace::Json { value, start, .. } => ModelPlace::Json {
            value,
            start,
            empty: false,
        },
        place => place,
    };
    Ok(names.then(|| Ask {
        place: empty(ask.place),
        ..ask
    }))
}

#[test]
fn a_body_cut_anywhere_says_what_it_says_whole() {
    for body in BODIES {
        let expected = read(body.as_bytes());
        assert_eq!(told(scanned(&[body.as_bytes()])), expected, "{body}");
        for cut in 0..body.len() {
            let (one, other) = body.as_bytes().split_at(cut);
            assert_eq!(told(scanned(&[one, other])), expected, "{body} at {cut}");
        }
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(told(scanned(&bytes)), expected, "{body} by the byte");
    }
}

/// Bodies that say more of what matters once all of a body is known.
const WHOLE: [&str; 13] = [
    r#"{"n": 2 ,"max_tokens":1e2,"messages":[{"n":9}],"best_of":null,"stream_options":{"include_usage":false}}"#,
    r#"{"max_completion_tokens":7,"max_output_tokens" : -0.5 , "conversation":"c","background":true}"#,
    r#"{"background":"true","conversation":null,"data_sources":null,"dataSources":[{}]}"#,
    r#"{"data_sources":{},"stream_options":null,"stream":true }"#,
    r#"{"model":"m","b\u0061ckground":true,"\u006e":3,"best_of":{"a":[1,"}"]}}"#,
    " { } ",
    "\n{\t}",
    r#"{"n":1,"n":1}"#,
    r#"{"stream":true,"stream":true}"#,
    r#"{"background":true,"backgroun\u0064":null}"#,
    r#"{"max_tokens":1,"model":"m","max_tokens":2}"#,
    r#"{"model":"m","n":"é"}"#,
    r#"{"model":"m","user":"a","user":"b"}"#,
];

fn whole(body: &[u8]) -> Option<Ask> {
    whole::read(body, &mut Scan::default()).ok()
}

/// What is refused, and what is too odd, is left to the other reader.
fn assert_whole(body: &[u8]) {
    // The other reader leaves it open whether it may use state.
    let open = |ask| Ask {
        may_use_state: true,
        ..ask
    };
    let whole = whole(body).map(open);
    if whole.is_some() {
        let parsed = serde_reader::parsed(body).ok();
        assert_eq!(whole, parsed, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_whole_body_says_all_that_it_says_to_the_other_reader() {
    for body in BODIES.iter().chain(&WHOLE) {
        assert_whole(body.as_bytes());
        let parsed = serde_reader::parsed(body.as_bytes());
        assert_eq!(whole(body.as_bytes()).is_some(), parsed.is_ok(), "{body}");
    }
}

#[test]
fn what_matters_must_be_text_and_what_does_not_is_not_looked_at() {
    assert!(whole(b"{\"user\":\"\xff\"}").is_some());
    for body in [
        &b"{\"n\":\"\xff\"}"[..],
        b"{\"stream\":\"\xff\"}",
        b"{\"model\":\"\xff\"}",
        b"{\"\xff\":1}",
    ] {
        assert_whole(body);
        assert_eq!(Ask::read(None, body), Err(Refusal::BodyNotJson));
    }
}

#[test]
fn a_name_too_long_to_be_kept_is_left_to_the_other_reader() {
    let named = |name: &str| format!("{{\"{name}\":1,\"model\":\"m\"}}");
    let (long, lone) = (named(&"x".repeat(1000)), named(&r"\ud800".repeat(100)));
    assert!(Ask::read(None, long.as_bytes()).is_ok());
    assert_eq!(Ask::read(None, lone.as_bytes()), Err(Refusal::BodyNotJson));
}

#[test]
fn the_model_is_known_as_soon_as_its_name_has_ended() {
    let mut scan = Scan::default();
    for (piece, model) in [
        (r#"{"stream":true,"mo"#, None),
        (r#"del": "gpt-4"#, None),
        (r#"o""#, Some("gpt-4o")),
        (r#","messages":[{"#, Some("gpt-4o")),
    ] {
        scan.push(piece.as_bytes()).unwrap();
        assert_eq!(scan.ask().and_then(|ask| ask.model).as_deref(), model);
    }
    assert!(scan.stream());
    assert_eq!(scan.finish(), Err(Refusal::BodyNotJson));
    assert_eq!(
        scan.push(br#""model":"x"}],"model""#),
        Err(Refusal::ModelTwice),
        "and another one before its value has come"
    );
}

#[test]
fn nesting_ends_where_it_does_for_a_whole_body() {
    let nested = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(scanned(&[nested(DEEPEST - 1).as_bytes()]).is_ok());
    let refused = scanned(&[nested(DEEPEST).as_bytes()]).map(drop);
    assert_eq!(refused, Err(Refusal::BodyTooDeep));
}

#[test]
fn a_name_without_an_end_does_not_grow_without_one() {
    let mut scan = Scan::default();
    scan.push(br#"{"model":""#).unwrap();
    let refused = (0..1000).find_map(|_| scan.push(&[b'x'; 100]).err());
    assert_eq!(refused, Some(Refusal::ModelNotText));
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(".{0,4}|model|stream", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_text_stops_at_the_same_byte_looked_at_by_many_or_by_one(
        text in prop::collection::vec(prop_oneof![99 => b'a'..=b'z', 1 => prop::sample::select(&b"\"\\\n\x1f \x80"[..])], 0..200),
    ) {
        let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
        let stop = text.iter().position(stops).unwrap_or(text.len());
        let expected = match text.get(stop) {
            Some(0..b' ') => Err(NotJson),
            _ => Ok(stop),
        };
        prop_assert_eq!(end_of_plain(&text), expected, "{:?}", text);
    }

    #[test]
    fn any_object_is_read_as_serde_reads_it(
        members in prop::collection::vec((".{0,4}|model|stream", value()), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        // Written by hand, so that members can stand twice.
        let members: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
            .collect();
        let body = format!("{{{}}}", members.join(","));
        let (one, other) = body.as_bytes().split_at(cut.index(body.len()));
        prop_assert_eq!(told(scanned(&[one, other])).is_ok(), read(body.as_bytes()).is_ok(), "{}", body);
        if let Ok(expected) = read(body.as_bytes()) {
            prop_assert_eq!(told(scanned(&[one, other])), Ok(expected), "{}", body);
        }
    }

    #[test]
    fn any_whole_object_is_read_as_serde_reads_it(
        members in prop::collection::vec(
            (".{0,2}|model|stream|n|background|conversation|stream_options|data_sources|max_tokens", value()),
            0..5,
        ),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let members: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{} : {value} ", serde_json::Value::from(key.as_str())))
            .collect();
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        assert_whole(&body);
        prop_assert_eq!(whole(&body).is_some(), serde_reader::parsed(&body).is_ok());
        let at = at.index(body.len());
        body[at] = byte;
        assert_whole(&body);
    }

    #[test]
    fn whatever_is_changed_in_a_body_both_readers_agree_whether_it_is_one(
        at in any::<prop::sample::Index>(),
        byte in 0..128_u8,
        body in prop::sample::select(&BODIES[..10]),
    ) {
        let mut body = body.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        prop_assert_eq!(scanned(&[&body]).is_ok(), read(&body).is_ok(), "{:?}", String::from_utf8_lossy(&body));
    }
}
