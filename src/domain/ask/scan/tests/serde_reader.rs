//! The same read by serde, to hold the other reader against.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memmem};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::{
    ask::{
        body::{Ask, ModelPlace},
        names::KNOWN,
        scan::Scan,
        wants::{Nulls, Said, Wants},
        whole::is_too_deep,
    },
    refusal::Refusal,
};

/// The members that matter; a second `model` is an error of the derive, so two readers can't disagree on it.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "is_true")]
    stream: bool,
    #[serde(borrow, default)]
    background: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "said")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_sources: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "dataSources")]
    older_data_sources: Option<&'a RawValue>,
}

impl Members<'_> {
    fn wants(&self, body: &[u8]) -> Wants {
        let said = |raw: Option<&RawValue>| raw.map(|raw| Said(place_of(raw, body)));
        Wants {
            max_tokens: said(self.max_tokens),
            max_completion_tokens: said(self.max_completion_tokens),
            max_output_tokens: said(self.max_output_tokens),
            n: said(self.n),
            best_of: said(self.best_of),
            stream_options: said(self.stream_options),
            brings_data: self.data_sources.or(self.older_data_sources).is_some(),
            nulls: nulls(body),
        }
    }
}

/// A member that is there, be it `null`.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// `true` and nothing else: what `stream` holds otherwise is for the deployment to judge.
fn is_true<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(value).map(|raw| raw.get() == "true")
}

pub(super) fn parsed(body: &[u8]) -> Result<Ask, Refusal> {
    if is_too_deep(body) {
        return Err(Refusal::BodyTooDeep);
    }
    let start = body
        .iter()
        .position(|b| !b.is_ascii_whitespace())
        .ok_or(Refusal::BodyNotJson)?;
    // A struct would also be read from an array.
    if body[start] != b'{' {
        return Err(Refusal::BodyNotJson);
    }
    let members: Members<'_> = serde_json::from_slice(body).map_err(why)?;
    misspelled_nothing(body)?;
    let start = start + 1;
    let empty = body[start..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
    let (model, value) = match members.model {
        None => (None, null_model(body)),
        Some(raw) => {
            let name: Cow<'_, str> =
                serde_json::from_str(raw.get()).map_err(|_| Refusal::ModelNotText)?;
            (Some(name.into_owned()), Some(place_of(raw, body)))
        }
    };
    Ok(Ask {
        model,
        stream: members.stream,
        acts: members.conversation.is_some(),
        in_background: members.background.is_some_and(|raw| raw.get() != "false"),
        has_tools: members.tools.is_some(),
        wants: members.wants(body),
        may_use_state: true,
        has_prompt: false,
        place: ModelPlace::Json {
            value,
            start,
            empty,
        },
    })
}

/// Whether no member has a name that is read here in other letters.
fn misspelled_nothing(body: &[u8]) -> Result<(), Refusal> {
    match Scan::default().push(body) {
        Err(refusal @ Refusal::MemberMisspelled { .. }) => Err(refusal),
        _ => Ok(()),
    }
}

/// Where `"model": null` stands: to serde a null member and a missing one are the same, on the wire they are not.
fn null_model(body: &[u8]) -> Option<Range<usize>> {
    #[derive(Deserialize)]
    struct Member<'a> {
        #[serde(borrow)]
        model: &'a RawValue,
    }
    // Its name may be spelled with escapes.
    memmem::find(body, b"model").or_else(|| memchr(b'\\', body))?;
    let member: Member<'_> = serde_json::from_slice(body).ok()?;
    Some(place_of(member.model, body))
}

/// Where a borrowed value stands in the text it was borrowed from.
fn place_of(raw: &RawValue, body: &[u8]) -> Range<usize> {
    let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + raw.get().len()
}

/// The only data error the members above can raise is a member that stands twice.
fn why(error: serde_json::Error) -> Refusal {
    if error.classify() != serde_json::error::Category::Data {
        return Refusal::BodyNotJson;
    }
    let text = error.to_string();
    match text.split('`').nth(1) {
        Some("model") => Refusal::ModelTwice,
        named => match KNOWN.into_iter().find(|known| named == Some(*known)) {
            Some(name) => Refusal::MemberTwice { name },
            None => Refusal::BodyNotJson,
        },
    }
}

/// Where the members that bound the output stand that are `null`: to serde those and missing ones are the same.
fn nulls(body: &[u8]) -> Nulls {
    #[derive(Default, Deserialize)]
    struct Members<'a> {
        #[serde(borrow, default, deserialize_with = "said")]
        max_tokens: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "said")]
        max_completion_tokens: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "said")]
        max_output_tokens: Option<&'a RawValue>,
    }
    let members: Members<'_> = serde_json::from_slice(body).unwrap_or_default();
    let null = |raw: Option<&RawValue>| {
        let raw = raw.filter(|raw| raw.get() == "null")?;
        Some(Said(place_of(raw, body)))
    };
    Nulls {
        max_tokens: null(members.max_tokens),
        max_completion_tokens: null(members.max_completion_tokens),
        max_output_tokens: null(members.max_output_tokens),
    }
}
