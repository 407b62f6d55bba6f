//! What a request's body says: the model it asks for and where that stands, so that it alone can be replaced.
//!
//! A body is read once, in place: nothing is copied, and nothing but the model's name is ever rewritten.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};

use super::{refusal::Refusal, route::Operation};

mod json;
mod scan;
mod stream_usage;
mod wants;

use json::{place_of, said};
pub use scan::Scan;
pub use wants::{Said, Wants};

/// How deep a JSON body may nest.
const DEEPEST: usize = 128;

/// What a body says of the model, and how it could be told another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The model the body names, if it names one.
    pub model: Option<String>,
    /// Whether a stream of events is asked for.
    pub stream: bool,
    /// Whether it sets something going or adds to something that would be there twice if it were done twice: a
    /// response in the background, a conversation.
    pub acts: bool,
    /// What it says of how much it wants; of a JSON body that was read whole.
    pub wants: Wants,
    place: Place,
}

/// Where a body names its model, or where it could.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A body of neither form, or none.
    Nowhere,
    /// The value's bytes, quotes included; or just behind the opening brace if the object has no such member.
    Json {
        value: Option<Range<usize>>,
        start: usize,
        empty: bool,
    },
    /// The part's content; or in front of the first part.
    Multipart {
        value: Option<Range<usize>>,
        boundary: String,
    },
}

/// A piece of a body and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub at: Range<usize>,
    pub with: Bytes,
}

impl Ask {
    /// Reads a body by its content type. What is neither JSON nor multipart says nothing.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, Refusal> {
        match content_type.and_then(boundary) {
            Some(boundary) => read_multipart(boundary, body),
            None => json::read(body),
        }
    }

    /// Whether a body of this content type is a form of parts.
    pub fn is_multipart(content_type: Option<&str>) -> bool {
        content_type.and_then(boundary).is_some()
    }

    /// Whether it is a form of parts.
    pub fn is_form(&self) -> bool {
        matches!(self.place, Place::Multipart { .. })
    }

    /// A body that is passed on unread.
    pub fn unread() -> Self {
        Self {
            model: None,
            stream: false,
            acts: false,
            wants: Wants::default(),
            place: Place::Nowhere,
        }
    }

    /// The change that gives the outermost object a member it does not have yet, like `"n":1`; `None` where there is no
    /// such object, or it was not read whole.
    pub fn adding(&self, member: &str) -> Option<Splice> {
        let Place::Json { start, empty, .. } = &self.place else {
            return None;
        };
        let comma = if *empty { "" } else { "," };
        Some(Splice {
            at: *start..*start,
            with: format!("{member}{comma}").into(),
        })
    }

    /// The change that makes the body name `deployment`; `None` if it can't, or names it already.
    pub fn naming(&self, deployment: &str) -> Option<Splice> {
        if self.model.as_deref() == Some(deployment) {
            return None;
        }
        let json = || serde_json::Value::from(deployment).to_string();
        let (at, with) = match &self.place {
            Place::Nowhere => return None,
            Place::Json {
                value: Some(value), ..
            } => (value.clone(), json()),
            Place::Json { value: None, .. } => {
                return self.adding(&format!("\"model\":{}", json()));
            }
            Place::Multipart {
                value: Some(value), ..
            } => (value.clone(), deployment.to_owned()),
            Place::Multipart {
                value: None,
                boundary,
            } => (
                0..0,
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{deployment}\r\n"
                ),
            ),
        };
        Some(Splice {
            at,
            with: with.into(),
        })
    }
}

/// Why a request without a model is refused. A response may leave it to a stored prompt, which only the instance can read.
pub fn model_missing(operation: Operation, body: &[u8]) -> Refusal {
    #[derive(Deserialize)]
    struct Members {
        prompt: Option<IgnoredAny>,
    }
    let leaves_it = || {
        let members: Option<Members> = serde_json::from_slice(body).ok();
        members.is_some_and(|members| members.prompt.is_some())
    };
    match operation.is_of_responses() && leaves_it() {
        true => Refusal::ModelInPrompt,
        false => Refusal::ModelMissing,
    }
}

/// The boundary of a multipart form's content type.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    })?;
    (!value.is_empty() && value.len() <= 70).then_some(value)
}

fn read_multipart(boundary: &str, body: &[u8]) -> Result<Ask, Refusal> {
    let delimiter = format!("--{boundary}");
    let ends = format!("\r\n{delimiter}");
    if !body.starts_with(delimiter.as_bytes()) {
        return Err(Refusal::BodyNotMultipart);
    }
    let (mut value, mut stream, mut at) = (None, false, delimiter.len());
    let mut wants = Wants::default();
    while !body[at..].starts_with(b"--") {
        let head = body[at..]
            .strip_prefix(b"\r\n")
            .ok_or(Refusal::BodyNotMultipart)?;
        let head_len = memmem::find(head, b"\r\n\r\n").ok_or(Refusal::BodyNotMultipart)?;
        let start = at + 2 + head_len + 4;
        let len = memmem::find(&body[start..], ends.as_bytes()).ok_or(Refusal::BodyNotMultipart)?;
        match field_name(&head[..head_len]) {
            Some(b"model") if value.is_some() => return Err(Refusal::ModelTwice),
            Some(b"model") => value = Some(start..start + len),
            // Twice says nothing that can be read.
            Some(b"n") => {
                wants.n = Some(Said(if wants.n.is_some() {
                    0..0
                } else {
                    start..start + len
                }))
            }
            Some(b"stream") => stream = &body[start..start + len] == b"true",
            _ => {}
        }
        at = start + len + ends.len();
    }
    let model = match &value {
        Some(at) => Some(
            std::str::from_utf8(&body[at.clone()])
                .map_err(|_| Refusal::ModelNotText)?
                .to_owned(),
        ),
        None => None,
    };
    Ok(Ask {
        model,
        stream,
        acts: false,
        wants,
        place: Place::Multipart {
            value,
            boundary: boundary.to_owned(),
        },
    })
}

/// The `name` of a part, from its header lines.
fn field_name(head: &[u8]) -> Option<&[u8]> {
    let lines = head.split(|b| *b == b'\n');
    let line = lines.into_iter().find(|line| {
        line.get(..20)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"content-disposition:"))
    })?;
    let mut parameters = line.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let value = parameters.find_map(|parameter| parameter.strip_prefix(b"name="))?;
    Some(
        value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""))
            .unwrap_or(value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<Ask, Refusal> {
        Ask::read(Some("application/json"), body.as_bytes())
    }

    fn renamed(ask: &Ask, body: &[u8], name: &str) -> Vec<u8> {
        let splice = ask.naming(name).expect("it can be renamed");
        [
            &body[..splice.at.start],
            &splice.with,
            &body[splice.at.end..],
        ]
        .concat()
    }

    #[test]
    fn only_the_models_value_is_replaced() {
        for (body, model, after) in [
            (
                r#"{"model":"gpt-4o","n":1.0}"#,
                Some("gpt-4o"),
                r#"{"model":"d\"1","n":1.0}"#,
            ),
            (
                r#" { "x" : {"model":"no"}, "model" : "g\u0070t" , "é":1e400 }"#,
                Some("gpt"),
                r#" { "x" : {"model":"no"}, "model" : "d\"1" , "é":1e400 }"#,
            ),
            (
                r#"{"messages":[],"model":null}"#,
                None,
                r#"{"messages":[],"model":"d\"1"}"#,
            ),
            (r#"{"mod\u0065l":null}"#, None, r#"{"mod\u0065l":"d\"1"}"#),
            (
                r#"{"messages":["model"]}"#,
                None,
                r#"{"model":"d\"1","messages":["model"]}"#,
            ),
            (" { } ", None, r#" {"model":"d\"1" } "#),
        ] {
            let ask = json(body).unwrap();
            assert_eq!(ask.model.as_deref(), model, "{body}");
            assert_eq!(
                String::from_utf8(renamed(&ask, body.as_bytes(), "d\"1")).unwrap(),
                after
            );
        }
        assert_eq!(json(r#"{"model":"same"}"#).unwrap().naming("same"), None);
    }

    #[test]
    fn what_is_wanted_is_found_where_it_stands() {
        let body = br#"{"n": 2 ,"max_tokens":1e2,"messages":[{"n":9}],"best_of":null,"stream_options":{"include_usage":false}}"#;
        let wants = Ask::read(None, body).unwrap().wants;
        let text = |said: &Option<Said>| said.as_ref().map(|said| said.text(body).to_vec());
        assert_eq!(text(&wants.max_tokens).as_deref(), Some(&b"1e2"[..]));
        assert_eq!(
            text(&wants.stream_options).as_deref(),
            Some(&br#"{"include_usage":false}"#[..])
        );
        assert_eq!((wants.best_of, wants.max_output_tokens), (None, None));
        let counts = [wants.n, wants.max_tokens].map(|said| said.and_then(|it| it.count(body)));
        assert_eq!(counts, [Some(2), None]);
    }

    #[test]
    fn a_stream_is_asked_for_by_true_alone() {
        for (body, stream) in [
            (r#"{"stream":true}"#, true),
            (r#"{"stream": true }"#, true),
            (r#"{"stream":false}"#, false),
            (r#"{"stream":"true"}"#, false),
            (r#"{"stream":null}"#, false),
            ("{}", false),
        ] {
            assert_eq!(json(body).unwrap().stream, stream, "{body}");
        }
    }

    #[test]
    fn what_names_no_model_rightly_is_refused_with_the_reason() {
        let deep = format!(
            "{{\"model\":\"m\",\"x\":{}{}}}",
            "[".repeat(1000),
            "]".repeat(1000)
        );
        for (body, refusal) in [
            ("", Refusal::BodyNotJson),
            ("  ", Refusal::BodyNotJson),
            ("[]", Refusal::BodyNotJson),
            (r#"["gpt-4o",true]"#, Refusal::BodyNotJson),
            ("null", Refusal::BodyNotJson),
            ("{", Refusal::BodyNotJson),
            (r#"{"model":"m"} x"#, Refusal::BodyNotJson),
            (r#"{"model":"m","x":tru}"#, Refusal::BodyNotJson),
            (r#"{"model":1}"#, Refusal::ModelNotText),
            (r#"{"model":{"a":1}}"#, Refusal::ModelNotText),
            (r#"{"model":"\ud800"}"#, Refusal::ModelNotText),
            (r#"{"model":"a","model":"b"}"#, Refusal::ModelTwice),
            (r#"{"model":"a","mod\u0065l":"b"}"#, Refusal::ModelTwice),
            (r#"{"model":null,"model":"b"}"#, Refusal::ModelTwice),
            (&deep, Refusal::BodyTooDeep),
        ] {
            assert_eq!(json(body), Err(refusal), "{body}");
        }
    }

    #[test]
    fn a_model_left_to_a_stored_prompt_is_refused_for_that() {
        let stored = br#"{"prompt":{"id":"pmpt_1"}}"#;
        for (operation, body, refusal) in [
            (Operation::Responses, &stored[..], Refusal::ModelInPrompt),
            (
                Operation::ResponsesInputTokens,
                stored,
                Refusal::ModelInPrompt,
            ),
            (Operation::Completions, stored, Refusal::ModelMissing),
            (
                Operation::Responses,
                br#"{"prompt":null}"#,
                Refusal::ModelMissing,
            ),
            (Operation::Responses, b"{}", Refusal::ModelMissing),
        ] {
            assert_eq!(model_missing(operation, body), refusal, "{operation:?}");
        }
    }

    #[test]
    fn brackets_in_strings_nest_nothing() {
        let body = format!(r#"{{"model":"m","x":"\"{}\\"}}"#, "[{".repeat(1000));
        assert_eq!(json(&body).unwrap().model.as_deref(), Some("m"));
        let just = format!("{{\"x\":{}{}}}", "[".repeat(127), "]".repeat(127));
        assert!(json(&just).is_ok());
    }

    const FORM: &str = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-image\r\n\
        --b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"model\"\r\nContent-Type: image/png\r\n\r\n\x00--x\r\n\r\n--b--\r\n";

    #[test]
    fn a_multipart_model_is_found_and_replaced() {
        let ask = Ask::read(Some("multipart/form-data; boundary=b"), FORM.as_bytes()).unwrap();
        assert_eq!(ask.model.as_deref(), Some("gpt-image"));
        let after = renamed(&ask, FORM.as_bytes(), "dep");
        assert_eq!(
            String::from_utf8(after).unwrap(),
            FORM.replace("gpt-image", "dep")
        );
    }

    #[test]
    fn a_multipart_body_without_a_model_can_be_given_one() {
        let form = &FORM[FORM.find("--b\r\nContent").unwrap()..];
        let ask = Ask::read(Some("multipart/form-data; boundary=\"b\""), form.as_bytes()).unwrap();
        assert_eq!(ask.model, None);
        let after = renamed(&ask, form.as_bytes(), "dep");
        let again = Ask::read(Some("Multipart/Form-Data; charset=x; Boundary=b"), &after).unwrap();
        assert_eq!(again.model.as_deref(), Some("dep"));
    }

    #[test]
    fn a_multipart_body_cut_anywhere_is_refused_and_never_misread() {
        for cut in 0..FORM.len() - 4 {
            let read = Ask::read(
                Some("multipart/form-data; boundary=b"),
                &FORM.as_bytes()[..cut],
            );
            assert_eq!(read, Err(Refusal::BodyNotMultipart), "{cut}");
        }
        let twice = FORM.replace("name=\"image\"", "name=\"model\"");
        let read = Ask::read(Some("multipart/form-data; boundary=b"), twice.as_bytes());
        assert_eq!(read, Err(Refusal::ModelTwice));
    }
}
