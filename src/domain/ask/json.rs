//! Reads a JSON body that is here as a whole.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2, memmem};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Ask, DEEPEST, KNOWN, Place, Said, Scan, Wants};
use crate::domain::refusal::Refusal;

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
        }
    }
}

/// A member that is there, be it `null`.
pub(super) fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// `true` and nothing else: what `stream` holds otherwise is for the deployment to judge.
fn is_true<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(value).map(|raw| raw.get() == "true")
}

/// Reads a body. The scan is several times as fast, and serde, which says what is refused for which reason, reads
/// only what is no sound object to the scan.
pub(super) fn read(body: &[u8]) -> Result<Ask, Refusal> {
    Scan::whole(body).map_or_else(|| parsed(body), Ok)
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
        place: Place::Json {
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
pub(super) fn place_of(raw: &RawValue, body: &[u8]) -> Range<usize> {
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

/// Whether brackets nest deeper than allowed; strings are skipped, all else is left to the parser.
fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEEPEST {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(body, at),
            _ => {}
        }
    }
    false
}

/// Just behind the closing quote of the string whose content starts at `at`, or the body's end.
fn end_of_string(body: &[u8], mut at: usize) -> usize {
    while let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if body[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    body.len()
}
