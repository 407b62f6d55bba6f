//! Where a JSON text ends, and what it says.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::domain::swar::Bytes8;

/// How far a text's end is looked for by eight bytes.
const NEAR: usize = 64;

/// A byte is no part of a JSON object. Unlike a refusal it takes no room, in what is asked of every text and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// How long the text is that begins here, its quotes included. `None`: its end is not in here, or it is none.
#[inline]
pub(super) fn whole_text(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += end_of_plain(rest.get(at..)?).ok()?;
        if *rest.get(at)? == b'"' {
            return Some(at + 1);
        }
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
    for (i, word) in near.iter().enumerate() {
        let word = Bytes8::new(*word);
        let stops = word.below(b' ') | word.equal(b'"') | word.equal(b'\\');
        if let Some(stop) = stops.first() {
            let stop = i * 8 + stop;
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

/// What a text says, quotes included; `None`: it is none.
pub(super) fn spelled(text: &[u8]) -> Option<Cow<'_, str>> {
    let inside = text.get(1..text.len().checked_sub(1)?)?;
    match memchr(b'\\', inside) {
        None => std::str::from_utf8(inside).ok().map(Cow::Borrowed),
        Some(_) => serde_json::from_slice(text).ok().map(Cow::Owned),
    }
}
