//! Where a JSON text ends, and what it says.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::domain::bytes16::Bytes16;

/// How far a text's end is looked for by eight bytes.
const NEAR: usize = 64;

/// A byte is no part of a JSON object. Unlike a refusal it takes no room, in what is asked of every text and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// A text as it is spelled, its quotes included.
pub(super) struct Text<'a> {
    pub(super) spelled: &'a [u8],
    /// Whether it is spelled without any escape.
    is_plain: bool,
}

impl<'a> Text<'a> {
    pub(super) fn of(spelled: &'a [u8]) -> Self {
        Self {
            spelled,
            is_plain: memchr(b'\\', spelled).is_none(),
        }
    }

    /// What stands between its quotes, as it is spelled.
    pub(super) fn inside(&self) -> &'a [u8] {
        &self.spelled[1..self.spelled.len() - 1]
    }
}

/// The text that begins here. `None`: its end is not in here, or it is none.
#[inline(always)]
pub(super) fn whole_text(rest: &[u8]) -> Option<Text<'_>> {
    // Most names are so short and so plain.
    if let Some(bytes) = rest.get(1..).and_then(<[u8]>::first_chunk)
        && let Some(stop) = first_stop(*bytes)
        && bytes[stop] == b'"'
    {
        let spelled = &rest[..stop + 2];
        return Some(Text {
            spelled,
            is_plain: true,
        });
    }
    longer_text(rest)
}

#[inline(never)]
fn longer_text(rest: &[u8]) -> Option<Text<'_>> {
    let (mut at, mut is_plain) = (1, true);
    loop {
        at += end_of_plain(rest.get(at..)?).ok()?;
        if *rest.get(at)? == b'"' {
            let spelled = &rest[..=at];
            return Some(Text { spelled, is_plain });
        }
        is_plain = false;
        at += match rest.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                let digits = rest.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
            }
            _ => return None,
        };
    }
}

/// Where the next escape or the closing quote stands, or where the piece ends.
#[inline(always)]
pub(super) fn end_of_plain(rest: &[u8]) -> Result<usize, NotJson> {
    // Most texts are short, and a search that looks at more bytes at once takes a while to begin.
    let (near, _) = rest[..rest.len().min(NEAR)].as_chunks();
    for (i, bytes) in near.iter().enumerate() {
        if let Some(stop) = first_stop(*bytes) {
            let stop = i * bytes.len() + stop;
            let is_text = rest[stop] >= b' ';
            return is_text.then_some(stop).ok_or(NotJson);
        }
    }
    let (near, far) = rest.split_at(near.as_flattened().len());
    let stop = memchr2(b'"', b'\\', far).unwrap_or(far.len());
    // Without an early end it can look at many bytes at once.
    let is_text = far[..stop]
        .iter()
        .fold(true, |all, byte| all & (*byte >= b' '));
    is_text.then_some(near.len() + stop).ok_or(NotJson)
}

/// The first of these bytes that is no plain text.
#[inline(always)]
fn first_stop(bytes: [u8; 16]) -> Option<usize> {
    let bytes = Bytes16::of(bytes);
    (bytes.below(b' ') | bytes.equal(b'"') | bytes.equal(b'\\')).first()
}

/// What a text says; `None`: it is none. Without an escape it may be none and is only told apart as UTF-8.
pub(super) fn spelled<'a>(text: &Text<'a>) -> Option<Cow<'a, [u8]>> {
    if text.is_plain {
        return Some(Cow::Borrowed(text.inside()));
    }
    let said: Result<String, _> = serde_json::from_slice(text.spelled);
    said.ok().map(|said| Cow::Owned(said.into_bytes()))
}
