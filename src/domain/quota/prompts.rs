//! Counts the prompts in a completions body: each is answered on its own.

use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::domain::refusal::Refusal;

/// One for a text or a prompt in tokens, else as many as the array has. What could be read as different numbers of them
/// is refused.
pub(super) fn count(body: &[u8]) -> Result<u64, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        prompt: Option<&'a RawValue>,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| Refusal::BodyNotJson)?;
    let Some(prompt) = body.prompt.map(RawValue::get) else {
        return Ok(1);
    };
    if !prompt.starts_with('[') {
        return Ok(1);
    }
    let elements: Elements = serde_json::from_str(prompt).map_err(|_| Refusal::BodyNotJson)?;
    Ok(if elements.are_numbers {
        1
    } else {
        elements.count.max(1)
    })
}

/// The elements of an array, counted one by one and not kept.
struct Elements {
    count: u64,
    /// They are the tokens of one prompt.
    are_numbers: bool,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: de::Deserializer<'de>>(array: D) -> Result<Self, D::Error> {
        struct Counts;
        impl<'de> de::Visitor<'de> for Counts {
            type Value = Elements;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<Elements, A::Error> {
                let (mut count, mut are_numbers) = (0, true);
                while let Some(element) = array.next_element::<&RawValue>()? {
                    count += 1;
                    let first = element.get().as_bytes().first();
                    are_numbers &= first.is_some_and(|it| it.is_ascii_digit() || *it == b'-');
                }
                Ok(Elements { count, are_numbers })
            }
        }
        array.deserialize_seq(Counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_of_an_array_is_one_and_tokens_are_one_together() {
        for (body, prompts) in [
            (r#"{}"#, 1),
            (r#"{"prompt":null}"#, 1),
            (r#"{"prompt":"[1,2]"}"#, 1),
            (r#"{"prompt":[]}"#, 1),
            (r#"{"prompt":["a"]}"#, 1),
            (r#"{"prompt":["a","b","[,]"]}"#, 3),
            (r#"{"pr\u006fmpt":[ "a" , "b" ]}"#, 2),
            (r#"{"prompt":[1,2,3]}"#, 1),
            (r#"{"prompt":[[1,2],[3]]}"#, 2),
            (r#"{"prompt":["a",[1,2],3]}"#, 3),
        ] {
            assert_eq!(count(body.as_bytes()).unwrap(), prompts, "{body}");
        }
        let twice = br#"{"prompt":"a","prompt":["a","b"]}"#;
        assert_eq!(count(twice), Err(Refusal::BodyNotJson));
    }
}
