//! Usage that is not what it should be: what readers of it must bear.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// In what way an answer's usage is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddUsage {
    /// There is none.
    None,
    /// It is `null`.
    Null,
    /// Its numbers are below zero.
    Negative,
    /// Its numbers are larger than any count.
    Huge,
    /// Its numbers are text.
    Text,
    /// Every chunk with output has one, of what there was so far: one token more in each.
    InEveryChunk,
    /// It comes twice, the first time too small.
    Twice,
}

impl OddUsage {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Null,
        Self::Negative,
        Self::Huge,
        Self::Text,
        Self::InEveryChunk,
        Self::Twice,
    ];

    /// Of a plain answer.
    pub(crate) fn change_answer(self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(mut answer) = serde_json::from_slice(&bytes) else {
            return bytes;
        };
        self.change(&mut answer);
        answer.to_string().into_bytes()
    }

    /// Of one event of a stream, as it is to be written.
    pub(crate) fn change_event(self, event: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(event).into_owned();
        let Some((before, data)) = text.split_once("data: ") else {
            return;
        };
        let Ok(mut data) = serde_json::from_str::<Value>(data.trim_end()) else {
            return;
        };
        let is_chunk = data["choices"]
            .as_array()
            .is_some_and(|choices| !choices.is_empty());
        let has_usage = usage_of(&mut data).is_some_and(|usage| usage.is_object());
        let mut written = String::new();
        match self {
            Self::InEveryChunk if is_chunk => {
                data["usage"] =
                    json!({ "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 });
            }
            Self::Twice if has_usage => {
                let mut first = data.clone();
                if let Some(usage) = usage_of(&mut first) {
                    numbers(usage, &|_| json!(1));
                }
                written = format!("{before}data: {first}\n\n");
            }
            _ => self.change(&mut data),
        }
        written.push_str(&format!("{before}data: {data}\n\n"));
        *event = written.into_bytes();
    }

    fn change(self, answer: &mut Value) {
        if let Self::None = self {
            return remove(answer);
        }
        let Some(usage) = usage_of(answer).filter(|usage| usage.is_object()) else {
            return;
        };
        match self {
            Self::Null => *usage = Value::Null,
            Self::Negative => numbers(usage, &|number| json!(-(number as i64) - 1)),
            Self::Huge => numbers(usage, &|_| json!(1e300)),
            Self::Text => numbers(usage, &|number| json!(number.to_string())),
            Self::None | Self::InEveryChunk | Self::Twice => {}
        }
    }
}

/// Of a chat, a completion, …; or of the response inside an event.
fn usage_of(answer: &mut Value) -> Option<&mut Value> {
    if answer.pointer("/response/usage").is_some() {
        answer.pointer_mut("/response/usage")
    } else {
        answer.get_mut("usage")
    }
}

fn remove(answer: &mut Value) {
    let holder = match answer.get_mut("response") {
        Some(response) => response,
        None => answer,
    };
    holder
        .as_object_mut()
        .map(|members| members.remove("usage"));
}

fn numbers(usage: &mut Value, change: &impl Fn(u64) -> Value) {
    let members: Option<&mut Map<String, Value>> = usage.as_object_mut();
    for value in members.into_iter().flat_map(Map::values_mut) {
        match value.as_u64() {
            Some(number) => *value = change(number),
            None => numbers(value, change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_changes_the_usage_and_nothing_else() {
        let usage = r#"{"choices":[],"usage":{"a":{"b":7},"c":8}}"#;
        let word = r#"{"choices":[{"index":0}],"usage":null}"#;
        let changed = |form: OddUsage, data: &str| {
            let mut event = format!("data: {data}\n\n").into_bytes();
            form.change_event(&mut event);
            String::from_utf8(event).unwrap()
        };
        for (form, data) in [
            (OddUsage::None, r#"{"choices":[]}"#),
            (OddUsage::Null, r#"{"choices":[],"usage":null}"#),
            (
                OddUsage::Negative,
                r#"{"choices":[],"usage":{"a":{"b":-8},"c":-9}}"#,
            ),
            (
                OddUsage::Huge,
                r#"{"choices":[],"usage":{"a":{"b":1e+300},"c":1e+300}}"#,
            ),
            (
                OddUsage::Text,
                r#"{"choices":[],"usage":{"a":{"b":"7"},"c":"8"}}"#,
            ),
            (OddUsage::InEveryChunk, usage),
        ] {
            assert_eq!(changed(form, usage), format!("data: {data}\n\n"));
        }
        let twice = changed(OddUsage::Twice, usage);
        let first = r#"data: {"choices":[],"usage":{"a":{"b":1},"c":1}}"#;
        assert_eq!(twice, format!("{first}\n\ndata: {usage}\n\n"));
        assert!(changed(OddUsage::InEveryChunk, word).contains(r#""total_tokens":2"#));
        assert_eq!(changed(OddUsage::None, "[DONE]"), "data: [DONE]\n\n");
        let response = br#"{"response":{"usage":{"a":1}}}"#.to_vec();
        let answer = OddUsage::Null.change_answer(response);
        assert_eq!(answer, br#"{"response":{"usage":null}}"#);
    }
}
