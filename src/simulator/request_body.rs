//! What the bodies of requests say, as far as a simulator cares; read without copying the prompts.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// A prompt with this text in it is refused by the content filter.
pub(crate) const FILTER_MARKER: &str = "trigger_content_filter";

/// Reads a body, or answers as Azure does to what isn't JSON or isn't right.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Refusal::invalid(&format!("Invalid request body: {error}"), None, None)
        }
        _ => Refusal::not_json(),
    })
}

/// The deployment that a v1 body names.
pub(crate) fn model(body: &[u8], content_type: Option<&str>) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Named {
        model: Option<String>,
    }
    let model = match content_type.filter(|kind| kind.starts_with("multipart/")) {
        Some(_) => field(body, "model").map(|value| String::from_utf8_lossy(value).into_owned()),
        None => read::<Named>(body)?.model,
    };
    model
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Refusal::invalid("you must provide a model parameter", Some("model"), None))
}

/// A multipart field's value, by the field's name.
pub(crate) fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let marker = format!("name=\"{name}\"");
    let head = &body[memchr::memmem::find(body, marker.as_bytes())? + marker.len()..];
    let value = &head[memchr::memmem::find(head, b"\r\n\r\n")? + 4..];
    Some(&value[..memchr::memmem::find(value, b"\r\n--")?])
}

/// What all text operations have.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Streaming {
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
}

/// A chat request.
#[derive(Debug, Deserialize)]
pub(crate) struct Chat<'a> {
    #[serde(borrow)]
    pub(crate) messages: Option<Vec<Message<'a>>>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<Streaming>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_completion_tokens: Option<u64>,
    pub(crate) n: Option<u64>,
    #[serde(borrow)]
    pub(crate) tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow)]
    pub(crate) tool_choice: Option<&'a RawValue>,
}

/// A message of a chat, or an input item of a response.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(default)]
    pub(crate) role: Option<String>,
    #[serde(borrow, default)]
    pub(crate) content: Text<'a>,
}

/// A legacy completion request.
#[derive(Debug, Deserialize)]
pub(crate) struct Completion<'a> {
    #[serde(borrow)]
    pub(crate) prompt: Option<Text<'a>>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<Streaming>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) n: Option<u64>,
}

/// A request for a response.
#[derive(Debug, Deserialize)]
pub(crate) struct Respond<'a> {
    #[serde(borrow)]
    pub(crate) input: Option<Input<'a>>,
    pub(crate) instructions: Option<String>,
    pub(crate) stream: Option<bool>,
    pub(crate) store: Option<bool>,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) previous_response_id: Option<String>,
    #[serde(borrow)]
    pub(crate) metadata: Option<&'a RawValue>,
    /// Read twice: as it is, to give it back, and for the functions in it.
    #[serde(borrow)]
    pub(crate) tools: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tool_choice: Option<&'a RawValue>,
}

/// A function the model may call: nested in chats, flat in responses.
#[derive(Debug, Deserialize)]
pub(crate) struct Tool<'a> {
    #[serde(borrow)]
    pub(crate) function: Option<Function<'a>>,
    pub(crate) name: Option<String>,
    #[serde(borrow)]
    pub(crate) parameters: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Function<'a> {
    pub(crate) name: String,
    #[serde(borrow)]
    pub(crate) parameters: Option<&'a RawValue>,
}

impl Tool<'_> {
    fn named(&self) -> Option<(&str, Option<&RawValue>)> {
        match &self.function {
            Some(function) => Some((&function.name, function.parameters)),
            None => Some((self.name.as_deref()?, self.parameters)),
        }
    }
}

/// A function call that the simulated model makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calling {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// Whether to call a function: when one is forced, or when the last user message is about the weather.
pub(crate) fn calling(
    tools: &[Tool<'_>],
    choice: Option<&RawValue>,
    asked: &str,
) -> Option<Calling> {
    let choice = choice
        .and_then(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).ok())
        .unwrap_or_default();
    let forced = choice
        .pointer("/function/name")
        .or_else(|| choice.get("name"))
        .and_then(|name| name.as_str());
    let wanted = match choice.as_str() {
        Some("none") => false,
        Some("required") => true,
        _ => forced.is_some() || asked.to_lowercase().contains("weather"),
    };
    let mut known = tools.iter().filter_map(Tool::named);
    let (name, parameters) =
        known.find(|(name, _)| wanted && forced.is_none_or(|forced| forced == *name))?;
    let schema = parameters.and_then(|raw| serde_json::from_str(raw.get()).ok());
    Some(Calling {
        name: name.to_owned(),
        arguments: super::generated_text::arguments(schema.as_ref()),
    })
}

/// What the last user message says, and how many characters and messages there are.
pub(crate) fn survey<'m>(messages: &'m [Message<'_>]) -> (&'m str, u64, u64) {
    let last = messages
        .iter()
        .rev()
        .find(|message| message.role.as_deref().is_none_or(|role| role == "user"));
    let characters = messages
        .iter()
        .map(|message| message.content.characters)
        .sum();
    (
        last.map_or("", |message| &message.content.text),
        characters,
        messages.len() as u64,
    )
}

/// A text, or the last text of a list of parts; all characters counted.
#[derive(Debug, Default)]
pub(crate) struct Text<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) characters: u64,
}

impl<'a> Text<'a> {
    fn new(text: Cow<'a, str>) -> Self {
        // Bytes, not letters: close enough for an estimate, and free.
        Self {
            characters: text.len() as u64,
            text,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadText)
    }
}

struct ReadText;

impl<'de> Visitor<'de> for ReadText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of content parts")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::new(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text::new(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }

    fn visit_u64<E: de::Error>(self, _token: u64) -> Result<Text<'de>, E> {
        Ok(Text {
            characters: 4,
            ..Text::default()
        })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Part<'p> {
            #[serde(borrow, default)]
            text: Text<'p>,
        }
        Ok(Part::deserialize(de::value::MapAccessDeserializer::new(map))?.text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Text<'de>, A::Error> {
        let mut whole = Text::default();
        while let Some(part) = parts.next_element::<Text<'de>>()? {
            whole.characters += part.characters;
            if !part.text.is_empty() {
                whole.text = part.text;
            }
        }
        Ok(whole)
    }
}

/// A response's input: a text, or items.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Text(Text<'a>),
    Items(Vec<Message<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Input<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Input<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of items")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                ReadText.visit_borrowed_str(text).map(Input::Text)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                ReadText.visit_str(text).map(Input::Text)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Input::Items)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_in_every_form() {
        let chat: Chat<'_> = serde_json::from_str(
            r#"{"model":null,"messages":[{"role":"system","content":"be\nkind"},{"role":"assistant","content":null},
               {"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"data:x"}}]}]}"#,
        )
        .unwrap();
        let messages = chat.messages.unwrap();
        assert_eq!(survey(&messages), ("what is it?", 18, 3));
    }

    #[test]
    fn a_plain_prompt_is_borrowed() {
        let text: Text<'_> = serde_json::from_str("\"hello\"").unwrap();
        assert!(matches!(text.text, Cow::Borrowed("hello")));
    }

    #[test]
    fn the_model_is_found_in_json_and_in_multipart() {
        assert_eq!(
            model(
                br#"{"input":"x","model":"gpt-4o"}"#,
                Some("application/json")
            )
            .unwrap(),
            "gpt-4o"
        );
        let form =
            b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
        assert_eq!(
            model(form, Some("multipart/form-data; boundary=b")).unwrap(),
            "whisper"
        );
        assert!(model(br#"{"model":null}"#, None).is_err());
    }

    #[test]
    fn weather_calls_a_function_and_none_forbids_it() {
        let tools: Vec<Tool<'_>> = serde_json::from_str(r#"[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]"#).unwrap();
        let call = calling(&tools, None, "How is the Weather?").unwrap();
        assert_eq!(
            (call.name.as_str(), call.arguments.as_str()),
            ("get_weather", r#"{"city":"Paris"}"#)
        );
        assert_eq!(calling(&tools, None, "Hello"), None);
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        assert_eq!(calling(&tools, Some(&raw("\"none\"")), "weather"), None);
        assert!(calling(&tools, Some(&raw("\"required\"")), "Hello").is_some());
        assert!(
            calling(
                &tools,
                Some(&raw(
                    r#"{"type":"function","function":{"name":"get_weather"}}"#
                )),
                "Hello"
            )
            .is_some()
        );
    }

    #[test]
    fn what_is_no_json_and_what_has_a_wrong_type_are_told_apart() {
        assert!(
            read::<Chat<'_>>(b"{")
                .unwrap_err()
                .body
                .contains("could not parse")
        );
        assert!(
            read::<Chat<'_>>(br#"{"messages":7}"#)
                .unwrap_err()
                .body
                .contains("Invalid request body")
        );
    }
}
