//! Reads what an answer's JSON says of its tokens while it passes: nothing of it is kept but the numbers, however long it
//! is and wherever it is cut.
//!
//! It knows the few places where a deployment reports usage and where its output stands; every other value is skipped
//! whole. It is no judge of JSON: what can't be read ends in nothing having been reported.

use std::cell::RefCell;

use memchr::memchr2;

use super::{
    place::{Member, Place},
    report::Report,
};

/// How deep the places nest that matter.
const DEEPEST: usize = 8;
/// The longest key that matters, and more than the longest number and tier.
const LONGEST: usize = 26;

/// The longest word of filters that is kept.
const LONGEST_FILTERS: usize = 1024;

thread_local! {
    /// What filters last said in any answer, from bracket to bracket; empty: nothing yet.
    static FILTERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far one JSON value has been read.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    root: Place,
    /// The places around the one being read, outermost first.
    places: [Place; DEEPEST],
    known: usize,
    /// How many more are open inside the innermost of them, none of which matters.
    skipped: usize,
    /// What the value being read, or due, is.
    member: Member,
    token: Token,
    escape: Escape,
    /// The first half of a character that is escaped in two.
    high: Option<u16>,
    word: Word,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Between two of them; a text is a key.
    Key,
    /// Between two of them; a text is a value.
    Value,
    InKey,
    InText,
    /// A number, `true`, `false` or `null`.
    InScalar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// So many hexadecimal digits are still to come.
    Digits {
        left: u8,
        value: u16,
    },
}

/// A short text, as far as it has come; what is too long matters to nobody.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Scan {
    pub(super) fn of(root: Place) -> Self {
        Self {
            root,
            places: [root; DEEPEST],
            known: 0,
            skipped: 0,
            member: Member::Inside(root),
            token: Token::Value,
            escape: Escape::None,
            high: None,
            word: Word::default(),
        }
    }

    /// Begins with another value.
    pub(super) fn restart(&mut self) {
        (self.known, self.skipped) = (0, 0);
        (self.token, self.escape, self.high) = (Token::Value, Escape::None, None);
        self.member = Member::Inside(self.root);
    }

    /// Reads on.
    pub(super) fn push(&mut self, piece: &[u8], report: &mut Report) {
        let mut rest = piece;
        while !rest.is_empty() {
            let read = match self.token {
                Token::InKey | Token::InText => self.text(rest, report),
                Token::InScalar => self.scalar(rest, report),
                Token::Key | Token::Value if self.skipped > 0 => self.skip(rest),
                Token::Key | Token::Value => self.between(rest, report),
            };
            rest = &rest[read..];
        }
    }

    /// Between two tokens, where it matters what comes. Gives how much was read.
    fn between(&mut self, rest: &[u8], report: &mut Report) -> usize {
        match rest[0] {
            b'"' => self.begin_text(),
            b':' => self.token = Token::Value,
            b',' => self.expect(),
            b'{' | b'[' if self.member == Member::Filters => return self.filters(rest),
            bracket @ (b'{' | b'[') => self.enter(bracket, report),
            b'}' | b']' => self.leave(report),
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                self.token = Token::InScalar;
                self.word.length = 0;
                return 0;
            }
        }
        1
    }

    /// What comes next inside the innermost place.
    fn expect(&mut self) {
        let place = self.known.checked_sub(1).map(|last| self.places[last]);
        (self.token, self.member) = match place {
            None => (Token::Value, Member::Nothing),
            Some(place) => match place.elements() {
                Some(element) => (Token::Value, element),
                None => (Token::Key, Member::Nothing),
            },
        };
    }

    fn begin_text(&mut self) {
        self.word.length = 0;
        self.token = match self.token {
            Token::Key => Token::InKey,
            _ => Token::InText,
        };
    }

    fn enter(&mut self, bracket: u8, report: &mut Report) {
        let opened = match self.member {
            Member::Inside(place) => Some(place),
            _ => None,
        };
        let fits = |place: &Place| place.elements().is_some() == (bracket == b'[');
        match opened.filter(fits) {
            Some(place) if self.known < DEEPEST => {
                self.places[self.known] = place;
                self.known += 1;
                report.enter(place);
                self.expect();
            }
            _ => {
                report.nonsense(self.member);
                self.skipped = 1;
            }
        }
    }

    /// Skips what a filter says. What was skipped before is not looked at again: to compare takes a tenth of the time.
    fn filters(&mut self, rest: &[u8]) -> usize {
        let known = FILTERS.with_borrow(|known| match rest.starts_with(known) {
            true => known.len(),
            false => 0,
        });
        if known > 0 {
            self.after_value();
            return known;
        }
        self.skipped = 1;
        let read = 1 + self.skip(&rest[1..]);
        if self.skipped == 0 && read <= LONGEST_FILTERS {
            FILTERS.with_borrow_mut(|known| {
                known.clear();
                known.extend_from_slice(&rest[..read]);
            });
        }
        read
    }

    fn leave(&mut self, report: &mut Report) {
        if let Some(known) = self.known.checked_sub(1) {
            self.known = known;
            report.leave(self.places[known]);
        }
        self.after_value();
    }

    /// A value has ended: the next one is not due before a comma.
    fn after_value(&mut self) {
        (self.token, self.member) = (Token::Value, Member::Nothing);
    }

    /// Inside of what does not matter: only where it ends.
    fn skip(&mut self, rest: &[u8]) -> usize {
        let mut at = 0;
        while let Some(found) = bracket_or_quote(&rest[at..]) {
            at += found + 1;
            match rest[at - 1] {
                b'"' => match memchr2(b'"', b'\\', &rest[at..]) {
                    Some(end) if rest[at + end] == b'"' => at += end + 1,
                    // It has an escape in it, or no end yet.
                    _ => {
                        (self.token, self.member) = (Token::InText, Member::Nothing);
                        return at;
                    }
                },
                b'{' | b'[' => self.skipped += 1,
                _ => {
                    self.skipped -= 1;
                    if self.skipped == 0 {
                        self.after_value();
                        return at;
                    }
                }
            }
        }
        rest.len()
    }

    fn text(&mut self, rest: &[u8], report: &mut Report) -> usize {
        match self.escape {
            Escape::None => self.plain_text(rest, report),
            Escape::Begun => {
                self.escape = match rest[0] {
                    b'u' => Escape::Digits { left: 4, value: 0 },
                    _ => Escape::None,
                };
                let meant = match rest[0] {
                    b'u' => return 1,
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    other => other,
                };
                self.put(&[meant], report);
                1
            }
            Escape::Digits { left, value } => {
                let digit = (rest[0] as char).to_digit(16).unwrap_or_default();
                let value = value << 4 | u16::try_from(digit).unwrap_or_default();
                self.escape = match left {
                    1 => Escape::None,
                    _ => Escape::Digits {
                        left: left - 1,
                        value,
                    },
                };
                if left == 1 {
                    self.put_unit(value, report);
                }
                1
            }
        }
    }

    /// Text up to the next escape or the closing quote.
    fn plain_text(&mut self, rest: &[u8], report: &mut Report) -> usize {
        let stop = memchr2(b'"', b'\\', rest);
        let plain = &rest[..stop.unwrap_or(rest.len())];
        let is_end = stop.is_some_and(|stop| rest[stop] == b'"');
        match self.token {
            // Most keys are whole where they stand.
            Token::InKey if is_end && self.word.length == 0 => self.end_key(Some(plain)),
            _ => {
                if !plain.is_empty() {
                    self.put(plain, report);
                }
                if is_end {
                    self.end_text(report);
                } else if stop.is_some() {
                    self.escape = Escape::Begun;
                }
            }
        }
        plain.len() + usize::from(stop.is_some())
    }

    fn put(&mut self, bytes: &[u8], report: &mut Report) {
        match (self.token, self.member) {
            (Token::InText, Member::Text) => report.text(bytes),
            (Token::InText, Member::Nothing) => {}
            _ => self.word.add(bytes),
        }
    }

    /// A character that was escaped, or one half of it.
    fn put_unit(&mut self, unit: u16, report: &mut Report) {
        let units = [self.high.take().unwrap_or(unit), unit];
        let paired = units[0] != unit;
        let units = if paired { &units[..] } else { &units[1..] };
        if !paired && (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        for character in char::decode_utf16(units.iter().copied()) {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.put(character.encode_utf8(&mut [0; 4]).as_bytes(), report);
        }
    }

    fn end_text(&mut self, report: &mut Report) {
        self.high = None;
        if self.token == Token::InKey {
            let word = self.word;
            return self.end_key(word.whole());
        }
        match (self.member, self.word.whole()) {
            (Member::Tier, word) => report.tier(word.unwrap_or(b"?")),
            (Member::Kind, Some(word)) => report.kind(word),
            (member, _) => report.nonsense(member),
        }
        self.after_value();
    }

    /// A colon comes next, and then the value.
    fn end_key(&mut self, key: Option<&[u8]>) {
        let place = self.known.checked_sub(1).map(|last| self.places[last]);
        self.member = match (place, key) {
            (Some(place), Some(key)) => place.member(key),
            _ => Member::Nothing,
        };
        self.token = Token::Value;
    }

    fn scalar(&mut self, rest: &[u8], report: &mut Report) -> usize {
        let is_end = |byte: &u8| {
            matches!(
                byte,
                b',' | b'}' | b']' | b'"' | b'{' | b'[' | b':' | b' ' | b'\t' | b'\n' | b'\r'
            )
        };
        let end = rest.iter().position(is_end);
        let part = &rest[..end.unwrap_or(rest.len())];
        if let Member::Count(_) = self.member {
            self.word.add(part);
        }
        if end.is_some() {
            if let Member::Count(field) = self.member {
                report.count(field, self.word.whole());
            }
            self.after_value();
        }
        part.len()
    }
}

/// Where the next bracket or quote stands: most often near by, and in an embedding a megabyte away.
fn bracket_or_quote(rest: &[u8]) -> Option<usize> {
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

impl Default for Word {
    fn default() -> Self {
        Self {
            bytes: [0; LONGEST],
            length: 0,
        }
    }
}

impl Word {
    fn add(&mut self, more: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + more.len()) {
            room.copy_from_slice(more);
        }
        self.length = self.length.saturating_add(more.len()).min(LONGEST + 1);
    }

    /// `None`: it was longer than any that matters.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }
}
