//! Reads what an answer's JSON says of its tokens while it passes: nothing of it is kept but the numbers, however long it
//! is and wherever it is cut.
//!
//! It knows the few places where a deployment reports usage and where its output stands; every other value is skipped
//! whole. It is no judge of JSON: what can't be read ends in nothing having been reported.

use super::{
    cursor::{Cursor, Token},
    json_search::{
        bracket_or_quote, ends_scalar, meant, quote_or_escape, whole_scalar, whole_text,
    },
    memo::{Memo, Side, StretchEnd},
    report::Report,
    schema::{Container, Member},
};

/// The longest key that matters, and more than the longest number and tier.
const LONGEST: usize = 26;
/// How long an escape with digits is.
const UNIT: usize = r"\u0000".len();

/// How far one JSON value has been read.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    root: Container,
    cursor: Cursor,
    escape: Escape,
    /// The first half of a character that is escaped in two.
    high: Option<u16>,
    word: Word,
}

/// A stretch that is being read.
struct Stretch {
    side: Side,
    from: Cursor,
    at: usize,
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
    pub(super) fn of(root: Container) -> Self {
        Self {
            root,
            cursor: Cursor::beginning_of(root),
            escape: Escape::None,
            high: None,
            word: Word::default(),
        }
    }

    /// Begins with another value.
    pub(super) fn restart(&mut self) {
        self.cursor = Cursor::beginning_of(self.root);
        (self.escape, self.high) = (Escape::None, None);
    }

    /// Reads on.
    pub(super) fn push(&mut self, piece: &[u8], report: &mut Report, memo: &mut Memo) {
        let mut at = 0;
        let mut stretch = match self.cursor == Cursor::beginning_of(self.root) {
            true => self.set_out(Side::Before, piece, &mut at, report, memo),
            false => None,
        };
        while at < piece.len() {
            let rest = &piece[at..];
            match self.cursor.token {
                Token::Key | Token::Value if self.cursor.skipped > 0 => at += self.skip(rest),
                Token::Key | Token::Value if rest[0] == b'"' && self.cursor.is_before_output() => {
                    self.arrive(stretch.take(), &piece[..at], report, memo);
                    self.begin_text();
                    at += 1;
                }
                Token::Key | Token::Value => at += self.between(rest, report, memo),
                Token::InKey => at += self.text(rest, report),
                Token::InScalar => at += self.scalar(rest, report),
                Token::InText => {
                    let is_output = self.cursor.member == Member::Text;
                    at += self.text(rest, report);
                    if is_output && self.cursor.token == Token::Value {
                        stretch = self.set_out(Side::Behind, piece, &mut at, report, memo);
                    }
                }
            }
        }
        if self.cursor.is_between() && self.cursor.is_outside() {
            let behind = stretch.filter(|stretch| stretch.side == Side::Behind);
            self.arrive(behind, piece, report, memo);
        }
    }

    /// Sets out from here, or is there already where the same stretch was read before.
    fn set_out(
        &mut self,
        side: Side,
        piece: &[u8],
        at: &mut usize,
        report: &mut Report,
        memo: &Memo,
    ) -> Option<Stretch> {
        if let Some((length, end)) = memo.recall(side, &self.cursor, &piece[*at..]) {
            *at += length;
            self.cursor = end.cursor;
            report.served_with(end.tier);
            return None;
        }
        report.begin_stretch();
        let (from, at) = (self.cursor, *at);
        Some(Stretch { side, from, at })
    }

    /// At the end of a stretch, which is the end of what was `read`.
    fn arrive(&self, stretch: Option<Stretch>, read: &[u8], report: &Report, memo: &mut Memo) {
        if let (Some(stretch), Some(tier)) = (stretch, report.only_tier()) {
            let cursor = self.cursor;
            let end = StretchEnd { cursor, tier };
            memo.learn(stretch.side, stretch.from, &read[stretch.at..], end);
        }
    }

    /// Between two tokens, where it matters what comes, and on for as long as each is whole. Gives how much was read.
    fn between(&mut self, rest: &[u8], report: &mut Report, memo: &mut Memo) -> usize {
        let mut at = 0;
        while let Some(byte) = rest.get(at) {
            match byte {
                b'"' if self.cursor.is_before_output() => return at,
                b'"' => match whole_text(&rest[at + 1..]) {
                    Some(text) => {
                        at += text.len() + 2;
                        match self.cursor.token {
                            Token::Key => {
                                self.end_key(Some(text));
                                at += usize::from(rest.get(at) == Some(&b':'));
                            }
                            _ => self.whole_value(text, report),
                        }
                    }
                    None => {
                        self.begin_text();
                        return at + 1;
                    }
                },
                b':' => {
                    self.cursor.token = Token::Value;
                    at += 1;
                }
                b',' => {
                    self.cursor.expect();
                    at += 1;
                }
                b'{' | b'[' if self.cursor.member == Member::Filters => {
                    at += self.filters(&rest[at..], memo);
                    if self.cursor.skipped > 0 || self.cursor.token == Token::InText {
                        return at;
                    }
                }
                bracket @ (b'{' | b'[') => {
                    self.enter(*bracket, report);
                    at += 1;
                    if self.cursor.skipped > 0 {
                        return at;
                    }
                }
                b'}' | b']' => {
                    self.leave(report);
                    at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                _ => match whole_scalar(&rest[at..]) {
                    Some(scalar) => {
                        if let Member::Count(field) = self.cursor.member {
                            report.count(field, Some(scalar).filter(fits));
                        }
                        self.cursor.pass_value();
                        at += scalar.len();
                    }
                    None => {
                        self.cursor.token = Token::InScalar;
                        self.word.length = 0;
                        return at;
                    }
                },
            }
        }
        at
    }

    /// A value that is text, no output, without escapes.
    fn whole_value(&mut self, text: &[u8], report: &mut Report) {
        match self.cursor.member {
            Member::Nothing => {}
            member => report.word(member, Some(text).filter(fits)),
        }
        self.cursor.pass_value();
    }

    fn begin_text(&mut self) {
        self.word.length = 0;
        self.cursor.token = match self.cursor.token {
            Token::Key => Token::InKey,
            _ => Token::InText,
        };
    }

    fn enter(&mut self, bracket: u8, report: &mut Report) {
        let opened = match self.cursor.member {
            Member::Inside(container) if container.elements().is_some() == (bracket == b'[') => {
                Some(container)
            }
            _ => None,
        };
        match opened {
            Some(container) if self.cursor.enter(container) => {
                report.enter(container);
                self.cursor.expect();
            }
            _ => {
                report.nonsense(self.cursor.member);
                self.cursor.skipped = 1;
            }
        }
    }

    /// What filters say, in a stretch of its own: what stands around it differs from answer to answer.
    fn filters(&mut self, rest: &[u8], memo: &mut Memo) -> usize {
        let from = self.cursor;
        if let Some((length, end)) = memo.recall(Side::Filters, &from, rest) {
            self.cursor = end.cursor;
            return length;
        }
        self.cursor.skipped = 1;
        let read = 1 + self.skip(&rest[1..]);
        if self.cursor.is_between() {
            let end = StretchEnd {
                cursor: self.cursor,
                tier: None,
            };
            memo.learn(Side::Filters, from, &rest[..read], end);
        }
        read
    }

    fn leave(&mut self, report: &mut Report) {
        if let Some(container) = self.cursor.leave() {
            report.leave(container);
        }
        self.cursor.pass_value();
    }

    /// Inside of what does not matter: only where it ends.
    fn skip(&mut self, rest: &[u8]) -> usize {
        let mut at = 0;
        while let Some(found) = bracket_or_quote(&rest[at..]) {
            at += found + 1;
            match rest[at - 1] {
                b'"' => match quote_or_escape(&rest[at..]) {
                    Some(end) if rest[at + end] == b'"' => at += end + 1,
                    // It has an escape in it, or no end yet.
                    _ => {
                        (self.cursor.token, self.cursor.member) = (Token::InText, Member::Nothing);
                        return at;
                    }
                },
                b'{' | b'[' => self.cursor.skipped += 1,
                _ => {
                    self.cursor.skipped -= 1;
                    if self.cursor.skipped == 0 {
                        self.cursor.pass_value();
                        return at;
                    }
                }
            }
        }
        rest.len()
    }

    fn text(&mut self, rest: &[u8], report: &mut Report) -> usize {
        match self.escape {
            Escape::None if self.is_passed_over(report) => self.pass_over(rest, report),
            Escape::None => self.plain_text(rest, report),
            Escape::Begun => {
                self.escape = match meant(rest[0]) {
                    Some(meant) => {
                        self.put(&[meant], report);
                        Escape::None
                    }
                    None => Escape::Digits { left: 4, value: 0 },
                };
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

    /// Whether it does not matter what the text says.
    fn is_passed_over(&self, report: &Report) -> bool {
        self.cursor.token == Token::InText
            && match self.cursor.member {
                Member::Nothing => true,
                Member::Text => report.is_withheld(),
                _ => false,
            }
    }

    /// Text up to the closing quote.
    fn pass_over(&mut self, rest: &[u8], report: &mut Report) -> usize {
        self.put(rest, report);
        let mut at = 0;
        while let Some(stop) = quote_or_escape(&rest[at..]) {
            at += stop;
            match (rest[at], rest.get(at + 1)) {
                (b'"', _) => {
                    self.end_text(report);
                    return at + 1;
                }
                (_, Some(b'u')) if at + UNIT <= rest.len() => at += UNIT,
                (_, Some(b'u') | None) => {
                    self.escape = Escape::Begun;
                    return at + 1;
                }
                (_, Some(_)) => at += 2,
            }
        }
        rest.len()
    }

    /// Text up to the next escape or the closing quote.
    fn plain_text(&mut self, rest: &[u8], report: &mut Report) -> usize {
        let stop = quote_or_escape(rest);
        let plain = &rest[..stop.unwrap_or(rest.len())];
        let is_end = stop.is_some_and(|stop| rest[stop] == b'"');
        // Most keys are whole where they stand.
        if is_end && self.cursor.token == Token::InKey && self.word.length == 0 {
            self.end_key(Some(plain));
            return plain.len() + 1;
        }
        if !plain.is_empty() {
            self.put(plain, report);
        }
        let Some(stop) = stop else {
            return rest.len();
        };
        if is_end {
            self.end_text(report);
            return stop + 1;
        }
        if let Some(meant) = rest.get(stop + 1).copied().and_then(meant) {
            self.put(&[meant], report);
            return stop + 2;
        }
        self.escape = Escape::Begun;
        stop + 1
    }

    fn put(&mut self, bytes: &[u8], report: &mut Report) {
        match (self.cursor.token, self.cursor.member) {
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
        if self.cursor.token == Token::InKey {
            let word = self.word;
            return self.end_key(word.whole());
        }
        self.high = None;
        report.word(self.cursor.member, self.word.whole());
        self.cursor.pass_value();
    }

    /// A colon comes next, and then the value.
    fn end_key(&mut self, key: Option<&[u8]>) {
        self.high = None;
        let container = self.cursor.container();
        self.cursor.member = match (container, key) {
            (Some(container), Some(key)) => container.member(key),
            _ => Member::Nothing,
        };
        self.cursor.token = Token::Value;
    }

    fn scalar(&mut self, rest: &[u8], report: &mut Report) -> usize {
        let end = rest.iter().position(ends_scalar);
        let part = &rest[..end.unwrap_or(rest.len())];
        if let Member::Count(_) = self.cursor.member {
            self.word.add(part);
        }
        if end.is_some() {
            if let Member::Count(field) = self.cursor.member {
                report.count(field, self.word.whole());
            }
            self.cursor.pass_value();
        }
        part.len()
    }
}

/// Whether a word is none of those that are too long to matter.
fn fits(word: &&[u8]) -> bool {
    word.len() <= LONGEST
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
