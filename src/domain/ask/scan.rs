//! Reads a JSON object while it arrives, in pieces cut anywhere: its grammar, which model it names where, and whatever
//! else a request goes by. A body that is here as a whole is one piece.
//!
//! Some bodies are passed on before their end is known. Whatever reads one at its destination must not find another model
//! in it than was found here, so a second `model`, however its name is spelled, is an error as soon as it comes, and so is
//! every byte that does not belong to one JSON object.

mod acting;
mod number;
mod state;
mod text;
mod token;

use std::mem;

use super::{
    members::{Member, Members, Value},
    names::misspelled,
};
use crate::domain::refusal::Refusal;

use acting::Acting;
use number::Number;
pub use state::Forbidden;
use state::{Watch, may_name_stored};
use text::{end_of_plain, spelled, whole_text};
use token::{Escape, Next, Stop, Token};

/// How deep an object may nest.
pub(super) const DEEPEST: usize = 128;
/// The longest text that may spell a name that matters, each character an escape.
const LONGEST_KEY: usize = 2 + 6 * "previous_response_id".len();
/// The longest model's name that comes in pieces, as it is spelled.
const LONGEST_NAME: usize = 4096;

/// How far an object has been read.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Bytes read.
    at: usize,
    /// The containers around the place being read, one bit each, innermost lowest: whether it is an object.
    open: u128,
    depth: usize,
    next: Next,
    token: Token,
    /// The text being read that came in pieces, its quotes included, as long as it may be one that matters.
    text: Option<Vec<u8>>,
    /// The member of the outermost object whose value is being read, or due.
    member: Option<Member>,
    /// Where that value begins, and with which byte.
    value_at: usize,
    value_first: u8,
    /// Just behind the opening brace.
    pub(super) start: usize,
    pub(super) has_members: bool,
    pub(super) members: Members,
    /// What the model is called that is named.
    pub(super) model: Option<String>,
    /// A member further inside has a name that may stand for something stored.
    pub(super) names_stored: bool,
    /// Given where a request that needs a grant is refused.
    watch: Option<Watch>,
    /// Of a request for a response.
    acting: Option<Acting>,
    /// What is refused beside the grammar, where that is no error at once.
    noted: Option<Result<(), Refusal>>,
}

impl Scan {
    /// Of a request by a client that lacks grants: what needs one of them is an error as soon as it comes.
    pub fn forbidding(forbidden: Forbidden) -> Self {
        Self {
            watch: Some(Watch::new(forbidden)),
            acting: (!forbidden.is_chat).then(Acting::default),
            ..Self::default()
        }
    }

    /// Of a request for a response: one in the background is an error as soon as that comes.
    pub fn of_response() -> Self {
        Self {
            acting: Some(Acting::default()),
            ..Self::default()
        }
    }

    /// What is refused, but for what can't be read, is no error as soon as it comes: [`Self::noted`] tells it.
    pub(super) fn noting(self) -> Self {
        let noted = Some(Ok(()));
        Self { noted, ..self }
    }

    /// Whether nothing was refused beside what can't be read.
    pub fn noted(&self) -> Result<(), Refusal> {
        self.noted.clone().unwrap_or(Ok(()))
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Stop> {
        match &mut self.noted {
            Some(noted) => {
                *noted = noted.clone().and(Err(refusal));
                Ok(())
            }
            None => Err(refusal.into()),
        }
    }

    /// Whether what has come of it does something that would be there twice if it were done twice.
    pub fn acts(&self) -> bool {
        self.acting.as_ref().is_some_and(Acting::acts)
    }

    /// The models that the tools of a response name, as far as it has come; an empty name for what is none.
    pub fn tool_models(&self) -> &[Box<str>] {
        self.acting.as_ref().map_or(&[], Acting::models)
    }

    /// Reads on. After an error nothing more can be read.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let mut rest = piece;
        while !rest.is_empty() {
            let read = match self.token {
                Token::None => self.outside(rest)?,
                Token::Text(escape) => self.text(escape, rest)?,
                Token::Word(word) => self.word(word, rest)?,
                Token::Number(part) => self.number(part, rest)?,
            };
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Whether all of the object has been read.
    pub fn finish(&self) -> Result<(), Refusal> {
        match self.next {
            Next::Nothing => Ok(()),
            _ => Err(Refusal::BodyNotJson),
        }
    }

    /// Whether a stream of events is asked for, as far as is known.
    pub fn stream(&self) -> bool {
        // The grammar has no other value that begins like this.
        let stream = self.members.said(Member::Stream);
        stream.is_some_and(|value| value.first == b't')
    }

    /// Between two tokens, and over all that are here as a whole. Gives how much was read.
    fn outside(&mut self, rest: &[u8]) -> Result<usize, Stop> {
        let mut at = 0;
        while let Some(byte) = rest.get(at) {
            let mut read = 1;
            match (self.next, byte) {
                (_, b' ' | b'\t' | b'\n' | b'\r') => {}
                (Next::Key | Next::KeyOrEnd, b'"') => read = self.begin_key(&rest[at..])?,
                (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => self.leave()?,
                (Next::Value | Next::ValueOrEnd, _) => read = self.begin_value(&rest[at..])?,
                (Next::CommaOrEnd, b',') if self.in_object() => self.next = Next::Key,
                (Next::CommaOrEnd, b',') => self.next = Next::Value,
                (Next::CommaOrEnd, b'}') if self.in_object() => self.leave()?,
                (Next::CommaOrEnd, b']') if !self.in_object() => self.leave()?,
                (Next::Colon, b':') => self.next = Next::Value,
                (Next::Object, b'{') => {
                    self.start = self.at + 1;
                    self.enter(true)?;
                }
                _ => return Err(Stop::NotJson),
            }
            (at, self.at) = (at + read, self.at + read);
            if self.token != Token::None {
                break;
            }
        }
        Ok(at)
    }

    /// A name begins: most are here as a whole, and so is the colon.
    fn begin_key(&mut self, rest: &[u8]) -> Result<usize, Stop> {
        self.next = Next::Colon;
        let Some(length) = whole_text(rest) else {
            self.begin_text(self.is_outermost() || self.is_key_wanted());
            return Ok(1);
        };
        let key = &rest[..length];
        if self.is_outermost() || self.is_key_wanted() {
            self.key(key)?;
        }
        // It is asked of each name in a body, so most are told by their first letter.
        if matches!(key[1], b'a' | b'A' | b'f' | b'F' | b'\\') && may_name_stored(key) {
            self.names_stored |= !self.is_outermost();
        }
        if rest.get(length) != Some(&b':') {
            return Ok(length);
        }
        self.next = Next::Value;
        Ok(length + 1)
    }

    /// Whether somebody else looks at the names of members here.
    fn is_key_wanted(&self) -> bool {
        let (watch, acting) = (self.watch.as_ref(), self.acting.as_ref());
        watch.is_some_and(|watch| watch.wants_key(self.depth))
            || acting.is_some_and(|acting| acting.wants_key(self.depth))
    }

    fn begin_value(&mut self, rest: &[u8]) -> Result<usize, Stop> {
        let (byte, is_model) = (rest[0], self.is_model());
        if is_model && !matches!(byte, b'"' | b'n') {
            return Err(Refusal::ModelNotText.into());
        }
        if self.is_outermost() {
            (self.value_at, self.value_first) = (self.at, byte);
        }
        let (depth, in_object) = (self.depth, self.in_object());
        if let Some(acting) = &mut self.acting
            && let Err(refusal) = acting.value(byte, in_object)
        {
            self.refuse(refusal)?;
        }
        self.look(|watch| watch.value(depth, byte, in_object))?;
        self.next = Next::CommaOrEnd;
        match byte {
            b'{' | b'[' => self.enter(byte == b'{')?,
            b'"' => return self.begin_value_text(is_model, rest),
            b't' => self.token = Token::Word(b"rue"),
            b'f' => self.token = Token::Word(b"alse"),
            b'n' => self.token = Token::Word(b"ull"),
            _ => self.token = Token::Number(Number::begun_by(byte).ok_or(Stop::NotJson)?),
        }
        Ok(1)
    }

    fn begin_value_text(&mut self, is_model: bool, rest: &[u8]) -> Result<usize, Stop> {
        let is_wanted = is_model
            || self.in_object()
                && (self.watch.as_ref().is_some_and(Watch::wants_text)
                    || self.acting.as_ref().is_some_and(Acting::wants_text));
        let Some(length) = whole_text(rest) else {
            self.begin_text(is_wanted);
            return Ok(1);
        };
        if is_wanted {
            self.value_text(&rest[..length])?;
        }
        self.end_value(self.at + length);
        Ok(length)
    }

    /// Shows something to whoever watches for what needs a grant.
    fn look(&mut self, is_forbidden: impl FnOnce(&mut Watch) -> bool) -> Result<(), Stop> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        if !is_forbidden(watch) {
            return Ok(());
        }
        let needs = watch.needs();
        self.refuse(Refusal::OperationNotAllowed { needs })
    }

    fn in_object(&self) -> bool {
        self.open & 1 == 1
    }

    /// Whether what is read belongs to the object itself and not to one of its values.
    fn is_outermost(&self) -> bool {
        self.depth == 1
    }

    /// Whether the value being read, or due, is the model's name.
    fn is_model(&self) -> bool {
        self.is_outermost() && self.member == Some(Member::Model)
    }

    fn enter(&mut self, is_object: bool) -> Result<(), Stop> {
        if self.depth == DEEPEST {
            return Err(Refusal::BodyTooDeep.into());
        }
        self.open = self.open << 1 | u128::from(is_object);
        self.depth += 1;
        if let Some(watch) = &mut self.watch {
            watch.enter(self.depth);
        }
        if let Some(acting) = &mut self.acting {
            acting.step();
        }
        self.next = match is_object {
            true => Next::KeyOrEnd,
            false => Next::ValueOrEnd,
        };
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let depth = self.depth;
        if let Some(acting) = &mut self.acting {
            acting.step();
        }
        self.look(|watch| watch.leave(depth))?;
        self.open >>= 1;
        self.depth -= 1;
        self.next = match self.depth {
            0 => Next::Nothing,
            _ => Next::CommaOrEnd,
        };
        self.end_value(self.at + 1);
        Ok(())
    }

    /// A value has ended.
    fn end_value(&mut self, end: usize) {
        if let (true, Some(member)) = (self.is_outermost(), self.member) {
            let (at, first) = (self.value_at..end, self.value_first);
            self.members.end(member, Value { at, first });
        }
    }

    /// A text begins that comes in pieces.
    fn begin_text(&mut self, matters: bool) {
        self.token = Token::Text(Escape::None);
        self.text = matters.then(|| vec![b'"']);
    }

    fn text(&mut self, escape: Escape, rest: &[u8]) -> Result<usize, Stop> {
        let byte = rest[0];
        let after = match escape {
            Escape::None => return self.plain_text(rest),
            Escape::Begun => match byte {
                b'u' => Escape::Digits(4),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Escape::None,
                _ => return Err(Stop::NotJson),
            },
            Escape::Digits(_) if !byte.is_ascii_hexdigit() => return Err(Stop::NotJson),
            Escape::Digits(1) => Escape::None,
            Escape::Digits(left) => Escape::Digits(left - 1),
        };
        self.keep(&rest[..1])?;
        self.token = Token::Text(after);
        self.at += 1;
        Ok(1)
    }

    /// Text up to the next escape or the closing quote.
    fn plain_text(&mut self, rest: &[u8]) -> Result<usize, Stop> {
        let stop = end_of_plain(rest)?;
        let read = rest.len().min(stop + 1);
        self.keep(&rest[..read])?;
        match rest.get(stop) {
            Some(b'"') => {
                self.token = Token::None;
                self.end_text(self.at + read)?;
            }
            Some(_) => self.token = Token::Text(Escape::Begun),
            None => {}
        }
        self.at += read;
        Ok(read)
    }

    /// Adds to the text that may matter, until it is too long to.
    fn keep(&mut self, more: &[u8]) -> Result<(), Stop> {
        let names_model = self.next != Next::Colon && self.is_model();
        let Some(text) = &mut self.text else {
            return Ok(());
        };
        if !names_model && text.len() + more.len() > LONGEST_KEY {
            self.text = None;
        } else if text.len() + more.len() > LONGEST_NAME {
            return Err(Refusal::ModelNotText.into());
        } else {
            text.extend_from_slice(more);
        }
        Ok(())
    }

    /// A text has ended that came in pieces.
    fn end_text(&mut self, end: usize) -> Result<(), Stop> {
        let is_key = self.next == Next::Colon;
        match (mem::take(&mut self.text), is_key) {
            (Some(key), true) => return self.key(&key),
            (Some(text), false) => self.value_text(&text)?,
            (None, true) => {
                if self.is_outermost() {
                    self.member = None;
                }
                self.tell_key("");
                return Ok(());
            }
            (None, false) => self.tell_long_text(),
        }
        self.end_value(end);
        Ok(())
    }

    /// A name, quotes included, that matters to somebody.
    fn key(&mut self, key: &[u8]) -> Result<(), Stop> {
        let name = spelled(key);
        let told = name.as_deref().filter(|_| key.len() <= LONGEST_KEY);
        self.tell_key(told.unwrap_or_default());
        if !self.is_outermost() {
            return Ok(());
        }
        self.has_members = true;
        let name = name.ok_or(Stop::NotJson)?;
        self.member = Member::named(name.as_bytes());
        match self.member {
            Some(member) => Ok(self.members.begin(member)?),
            None => match misspelled(&name) {
                Some(name) => Err(Refusal::MemberMisspelled { name }.into()),
                None => Ok(()),
            },
        }
    }

    fn tell_key(&mut self, name: &str) {
        if let Some(watch) = &mut self.watch {
            watch.key(self.depth, name);
        }
        if let Some(acting) = &mut self.acting {
            acting.key(self.depth, name);
        }
    }

    /// A value, quotes included, that matters to somebody.
    fn value_text(&mut self, text: &[u8]) -> Result<(), Stop> {
        if self.is_model() {
            let name = std::str::from_utf8(text).map_err(|_| Stop::NotJson)?;
            let name = spelled(name.as_bytes()).ok_or(Refusal::ModelNotText)?;
            self.model = Some(name.into_owned());
            return Ok(());
        }
        if text.len() > LONGEST_KEY {
            self.tell_long_text();
            return Ok(());
        }
        let text = spelled(text).unwrap_or_default();
        if let Some(acting) = &mut self.acting {
            acting.text(&text);
        }
        self.look(|watch| watch.wants_text() && watch.text(&text))
    }

    /// A text is too long to matter.
    fn tell_long_text(&mut self) {
        if let Some(acting) = &mut self.acting
            && acting.wants_text()
        {
            acting.text("");
        }
    }

    fn word(&mut self, word: &'static [u8], rest: &[u8]) -> Result<usize, Stop> {
        let read = word.len().min(rest.len());
        let (here, due) = word.split_at(read);
        if !rest.starts_with(here) {
            return Err(Stop::NotJson);
        }
        self.at += read;
        match due {
            b"" => {
                self.token = Token::None;
                self.end_value(self.at);
            }
            due => self.token = Token::Word(due),
        }
        Ok(read)
    }

    /// A number has no end of its own: what can't belong to it is read again as what follows it.
    fn number(&mut self, mut part: Number, rest: &[u8]) -> Result<usize, Stop> {
        let mut read = 0;
        self.token = Token::None;
        for byte in rest {
            match part.followed_by(*byte)? {
                Some(next) => part = next,
                None => break,
            }
            read += 1;
        }
        self.at += read;
        match read == rest.len() {
            true => self.token = Token::Number(part),
            false => self.end_value(self.at),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
