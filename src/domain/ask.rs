//! What a request's body says: the model it asks for and where that stands, so that it alone can be replaced.
//!
//! A body is read once, in place, by one reader for whole bodies and for those that are passed on as they come: nothing is
//! copied, and nothing but the model's name is ever rewritten.

use http::{HeaderMap, HeaderValue, header};

use super::refusal::Refusal;

mod body;
mod form;
mod members;
mod names;
mod prompt;
mod scan;
mod stream_usage;
mod wants;
mod whole;

pub use body::{Ask, Splice};
pub use prompt::prompt_tokens;
pub use scan::{Forbidden, Scan};
pub use wants::{Nulls, Said, Wants};

impl Ask {
    /// Reads a body by its content type. What is neither JSON nor multipart says nothing.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, Refusal> {
        match form::boundary(content_type.unwrap_or_default().as_bytes())? {
            Some(boundary) => form::read(boundary, body),
            None => whole::read(body, &mut Scan::default()),
        }
    }

    /// The same by a scan that looks for more in a JSON body: that comes back with what it has noted.
    pub fn read_by(
        mut scan: Scan,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<(Self, Option<Scan>), Refusal> {
        match Self::is_multipart(content_type) {
            true => Ok((Self::read(content_type, body)?, None)),
            false => {
                form::boundary(content_type.unwrap_or_default().as_bytes())?;
                let ask = whole::read(body, &mut scan)?;
                Ok((ask, Some(scan)))
            }
        }
    }

    /// Whether a body under these headers is, to every reader, what is read here.
    pub fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
        let content_type = headers.get(header::CONTENT_TYPE);
        form::boundary(content_type.map_or(&b""[..], HeaderValue::as_bytes))?;
        let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
        let is_plain = |value: &HeaderValue| {
            let value = value.as_bytes().trim_ascii();
            value.is_empty() || value.eq_ignore_ascii_case(b"identity")
        };
        encodings
            .all(is_plain)
            .then_some(())
            .ok_or(Refusal::UnsupportedContentEncoding)
    }

    /// Whether a body of this content type is a form of parts.
    pub fn is_multipart(content_type: Option<&str>) -> bool {
        let content_type = content_type.unwrap_or_default().as_bytes();
        matches!(form::boundary(content_type), Ok(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::domain::route::Operation;

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
    fn an_object_without_members_can_be_given_several() {
        for (body, after) in [
            ("{}", r#"{"a":1,"b":2,"model":"d"}"#),
            (" { } ", r#" {"a":1,"b":2,"model":"d" } "#),
            (r#"{"x":1}"#, r#"{"a":1,"b":2,"model":"d","x":1}"#),
            (r#"{"model":null}"#, r#"{"a":1,"b":2,"model":"d"}"#),
        ] {
            let ask = json(body).unwrap();
            let mut changes: Vec<Splice> = ["\"a\":1", "\"b\":2"]
                .iter()
                .filter_map(|member| ask.adding(member))
                .chain(ask.naming("d"))
                .collect();
            ask.joined(&mut changes);
            let (mut told, mut from) = (String::new(), 0);
            for Splice { at, with } in &changes {
                told.push_str(&body[from..at.start]);
                told.push_str(std::str::from_utf8(with).unwrap());
                from = at.end;
            }
            assert_eq!(told + &body[from..], after, "{body}");
        }
    }

    #[test]
    fn a_body_that_is_packed_or_of_another_kind_is_not_taken() {
        let check = |pairs: &[(HeaderName, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            Ask::check_headers(&headers.collect())
        };
        let (kind, encoding) = (header::CONTENT_TYPE, header::CONTENT_ENCODING);
        assert_eq!(check(&[]), Ok(()));
        for value in ["identity", "Identity", ""] {
            let pairs = [
                (kind.clone(), "application/json"),
                (encoding.clone(), value),
            ];
            assert_eq!(check(&pairs), Ok(()));
        }
        for value in ["gzip", "zstd", "identity, gzip", "x"] {
            let packed = Err(Refusal::UnsupportedContentEncoding);
            assert_eq!(check(&[(encoding.clone(), value)]), packed);
        }
        let other = [(kind, "application/x-www-form-urlencoded")];
        assert_eq!(check(&other), Err(Refusal::UnsupportedContentType));
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
        let misspelled = |name| Refusal::MemberMisspelled { name };
        let twice = |name| Refusal::MemberTwice { name };
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
            (r#"{"model":"a","Model":"b"}"#, misspelled("model")),
            (r#"{"MODEL":"b"}"#, misspelled("model")),
            (r#"{"model":"a","mode\u004c":"b"}"#, misspelled("model")),
            (r#"{"model":"a","\u017ftore":true}"#, misspelled("store")),
            (r#"{"model":"a","Max_Tokens":1}"#, misspelled("max_tokens")),
            (
                r#"{"model":"a","bac\u212aground":true}"#,
                misspelled("background"),
            ),
            (r#"{"model":"a","n":1,"n":2}"#, twice("n")),
            (
                r#"{"model":"a","stream":true,"stream":true}"#,
                twice("stream"),
            ),
            (
                r#"{"tools":[],"model":"a","t\u006fols":[]}"#,
                twice("tools"),
            ),
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
            let ask = Ask::read(None, body).unwrap();
            assert_eq!(ask.model_missing(operation), refusal, "{operation:?}");
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
        let again = Ask::read(
            Some("Multipart/Form-Data; charset=UTF-8; Boundary=b"),
            &after,
        )
        .unwrap();
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
