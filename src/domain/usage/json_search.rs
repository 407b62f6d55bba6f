//! Where texts, scalars and brackets end in JSON, in as few instructions as it takes.

use memchr::memchr2;

use crate::domain::swar::Bytes8;

/// The text up to the closing quote, if that is in here and no escape is before it.
pub(super) fn whole_text(rest: &[u8]) -> Option<&[u8]> {
    let stop = quote_or_escape(rest)?;
    (rest[stop] == b'"').then(|| &rest[..stop])
}

/// Where the next quote or backslash stands: in a key or a name within a few bytes.
pub(super) fn quote_or_escape(rest: &[u8]) -> Option<usize> {
    const NEAR: usize = 4;
    let (words, _) = rest.as_chunks();
    for (number, word) in words.iter().take(NEAR).enumerate() {
        let word = Bytes8::new(*word);
        if let Some(found) = (word.equal(b'"') | word.equal(b'\\')).first() {
            return Some(8 * number + found);
        }
    }
    let clear = 8 * words.len().min(NEAR);
    memchr2(b'"', b'\\', &rest[clear..]).map(|at| clear + at)
}

/// What a byte behind a backslash stands for; `None`: digits follow.
pub(super) fn meant(byte: u8) -> Option<u8> {
    match byte {
        b'u' => None,
        b'n' => Some(b'\n'),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'b' => Some(8),
        b'f' => Some(12),
        other => Some(other),
    }
}

/// A number, `true`, `false` or `null`, if its end is in here.
pub(super) fn whole_scalar(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().position(ends_scalar)?;
    Some(&rest[..end])
}

pub(super) fn ends_scalar(byte: &u8) -> bool {
    matches!(
        byte,
        b',' | b'}' | b']' | b'"' | b'{' | b'[' | b':' | b' ' | b'\t' | b'\n' | b'\r'
    )
}

/// Where the next bracket or quote stands: most often near by, and in an embedding a megabyte away.
pub(super) fn bracket_or_quote(rest: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    const BLOCK: usize = 32;
    // `[` and `{` differ in one bit, as do `]` and `}`.
    let is_one = |byte: &u8| *byte == b'"' || matches!(*byte | 0x20, b'{' | b'}');
    let near = rest.iter().take(NEAR).position(is_one);
    if near.is_some() || rest.len() <= NEAR {
        return near;
    }
    // Without an early end a block is looked at as one.
    let has_one = |block: &[u8]| block.iter().fold(false, |found, byte| found | is_one(byte));
    let blocks = rest[NEAR..].chunks_exact(BLOCK);
    let clear = NEAR + blocks.take_while(|block| !has_one(block)).count() * BLOCK;
    let found = rest[clear..].iter().position(is_one);
    found.map(|at| clear + at)
}
