//! Takes out of a chat's stream what is in it only because the gateway asked for usage where its client did not: the
//! chunk with the usage, and the `"usage":null` of the others (wire facts: Streams). All else goes out byte for byte, and no
//! event later than when it is whole.
//!
//! Usage that comes beside output stays: some servers say it there whether they were asked or not.

use std::{ops::Range, sync::LazyLock};

use memchr::{memchr2, memmem::Finder, memrchr};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::event_stream::{Event, Outgoing};

/// How Azure ends each chunk but the one with the usage.
const NO_USAGE: &[u8] = br#","usage":null}"#;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("usage"));

/// Puts out what of an event is to go out.
pub fn put(event: &Event<'_>, out: &mut Outgoing<'_>) {
    match rest_of(event) {
        Rest::All => out.keep_all(event),
        Rest::Without(cut) => {
            out.keep(event, 0..cut.start);
            out.keep(event, cut.end..event.raw.len());
        }
        Rest::Comments => comments(event.raw).for_each(|line| out.keep(event, line)),
    }
}

/// What is left of an event.
enum Rest {
    All,
    Without(Range<usize>),
    Comments,
}

fn rest_of(event: &Event<'_>) -> Rest {
    let without = |cut: Option<Range<usize>>| {
        cut.and_then(|cut| event.place_of(cut))
            .map_or(Rest::All, Rest::Without)
    };
    if let Some(cut) = no_usage_at_its_end(event.data) {
        return without(Some(cut));
    }
    if USAGE.find(event.data).is_none() {
        return Rest::All;
    }
    let chunk: Option<Chunk<'_>> = serde_json::from_slice(event.data).ok();
    let usage = chunk.as_ref().and_then(|chunk| chunk.usage);
    let (Some(chunk), Some(usage)) = (chunk, usage) else {
        return Rest::All;
    };
    let is_null = usage.get() == "null";
    let is_empty = chunk.choices.is_some_and(is_empty_array);
    match (is_null, is_empty) {
        (false, true) if chunk.prompt_filter_results.is_none() => Rest::Comments,
        (false, false) => Rest::All,
        (true, _) | (false, true) => without(member_of(event.data, usage)),
    }
}

/// In a whole JSON text that ends so it can be nothing but the outermost object's last member.
fn no_usage_at_its_end(text: &[u8]) -> Option<Range<usize>> {
    let text = text.trim_ascii_end();
    let is_it = text.ends_with(NO_USAGE);
    is_it.then(|| text.len() - NO_USAGE.len()..text.len() - 1)
}

/// What of a chunk says what to do with it.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "said")]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_filter_results: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

fn is_empty_array(value: &RawValue) -> bool {
    let inside = value.get().strip_prefix('[');
    inside.is_some_and(|inside| inside.trim_ascii_start() == "]")
}

/// Where a member stands in its object's text, with one of the commas beside it, by its value.
fn member_of(text: &[u8], value: &RawValue) -> Option<Range<usize>> {
    let value_start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    let end = value_start + value.get().len();
    let before = |end: usize| text[..end].trim_ascii_end();
    let colon = before(value_start).strip_suffix(b":")?;
    let name = before(colon.len()).strip_suffix(b"\"")?;
    let start = memrchr(b'"', name)?;
    let opener = before(start);
    Some(match opener.last()? {
        b',' => opener.len() - 1..end,
        _ => {
            let after = text[end..].trim_ascii_start();
            let after = after
                .strip_prefix(b",")
                .map_or(&text[end..], <[u8]>::trim_ascii_start);
            start..text.len() - after.len()
        }
    })
}

/// Comments go out even where the event they stand in does not.
fn comments(event: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    with_ends(event).filter(|line| event[line.start] == b':')
}

fn with_ends(event: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = event.get(from..).filter(|rest| !rest.is_empty())?;
        let length = match memchr2(b'\n', b'\r', rest) {
            Some(at) if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let line = from..from + length;
        from = line.end;
        Some(line)
    })
}

#[cfg(test)]
mod tests;
