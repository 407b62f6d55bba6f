//! How a chat's body is made to ask for usage at the end of its stream, where its client did not.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::body::{Ask, Splice};

/// The members of `stream_options` that matter.
#[derive(Deserialize)]
struct Options<'a> {
    #[serde(borrow, default, deserialize_with = "said")]
    include_usage: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

impl Ask {
    /// The change that makes a stream tell its usage. `None`: no stream is asked for, or it tells it anyway, or the body
    /// says something that is for the deployment to judge. `body`: the whole of it, which this was read from.
    pub fn asking_for_usage(&self, body: &[u8]) -> Option<Splice> {
        if !self.stream || self.wants.brings_data {
            return None;
        }
        let Some(options) = &self.wants.stream_options else {
            return self.adding(r#""stream_options":{"include_usage":true}"#);
        };
        let at = options.0.clone();
        let text = options.text(body);
        if text == b"null" {
            let with = r#"{"include_usage":true}"#.into();
            return Some(Splice { at, with });
        }
        if text.first() != Some(&b'{') {
            return None;
        }
        let asked: Options<'_> = serde_json::from_slice(text).ok()?;
        match asked.include_usage {
            None => {
                let is_empty = text[1..].trim_ascii_start() == b"}";
                let comma = if is_empty { "" } else { "," };
                let inside = at.start + 1;
                Some(Splice {
                    at: inside..inside,
                    with: format!("\"include_usage\":true{comma}").into(),
                })
            }
            Some(value) if matches!(value.get(), "false" | "null") => {
                let start = at.start + (value.get().as_ptr() as usize - text.as_ptr() as usize);
                Some(Splice {
                    at: start..start + value.get().len(),
                    with: "true".into(),
                })
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(body: &str) -> Option<String> {
        let ask = Ask::read(Some("application/json"), body.as_bytes()).unwrap();
        let Splice { at, with } = ask.asking_for_usage(body.as_bytes())?;
        let with = std::str::from_utf8(&with).unwrap();
        Some([&body[..at.start], with, &body[at.end..]].concat())
    }

    #[test]
    fn a_stream_that_does_not_ask_is_made_to_and_nothing_else_changes() {
        for (body, asked) in [
            (
                r#"{ "stream":true, "x":1e400 }"#,
                r#"{"stream_options":{"include_usage":true}, "stream":true, "x":1e400 }"#,
            ),
            (
                r#"{"stream":true,"stream_options": null }"#,
                r#"{"stream":true,"stream_options": {"include_usage":true} }"#,
            ),
            (
                r#"{"stream":true,"stream_options":{ }}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true }}"#,
            ),
            (
                r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#,
            ),
            (
                r#"{"stream":true,"str\u0065am_options":{"include_usage" : false , "a":{}}}"#,
                r#"{"stream":true,"str\u0065am_options":{"include_usage" : true , "a":{}}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"data_sources":null}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"data_sources":null}"#,
            ),
        ] {
            assert_eq!(asking(body).as_deref(), Some(asked), "{body}");
        }
    }

    #[test]
    fn whoever_asks_already_or_oddly_or_for_no_stream_is_left_alone() {
        for body in [
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true,"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":[]}"#,
            r#"{"stream":true,"stream_options":"x"}"#,
            r#"{"stream":false}"#,
            r#"{"stream":"true"}"#,
            r#"{"stream":true,"data_sources":[{"type":"azure_search"}]}"#,
            r#"{"stream":true,"dataSources":[]}"#,
        ] {
            assert_eq!(asking(body), None, "{body}");
        }
        assert_eq!(Ask::unread().asking_for_usage(b""), None);
    }
}
