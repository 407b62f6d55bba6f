//! Reads a JSON object while it arrives, in pieces cut anywhere: its grammar, which model it names where, and whatever
//! else a request goes by. A body that is here as a whole is one piece.
//!
//! Some bodies are passed on before their end is known. Whatever reads one at its destination must not find another model
//! in it than was found here, so a second `model`, however its name is spelled, is an error as soon as it comes, and so is
//! every byte that does not belong to one JSON object.

mod grants;
mod listeners;
mod number;
mod prompt_size;
mod side_effects;
mod text;
mod token;

use std::mem;

use super::{
    members::{Member, Members, Value},
    names::misspelled,
};
use crate::domain::{refusal::Refusal, route::Operation};

pub use grants::Forbidden;
use grants::may_name_stored;
use listeners::Listeners;
use number::Number;
use prompt_size::PromptSize;
#[cfg(test)]
pub(super) use prompt_size::{MESSAGE, REPLY};
pub(super) use prompt_size::{MOST, PICTURE};
use side_effects::SideEffects;
use text::{Text, end_of_plain, spelled, whole_text};
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
    /// Who looks for more. In a box, so that a body nobody looks at is read with one check a token.
    listeners: Option<Box<Listeners>>,
    /// What is refused beside the grammar, where that is no error at once.
    noted: Option<Result<(), Refusal>>,
}

impl Scan {
    /// Of a request by a client that lacks grants: what needs one of them is an error as soon as it comes.
    pub fn forbidding(forbidden: Forbidden) -> Self {
        Self::told_to(Listeners::forbidding(forbidden))
    }

    /// Of a request for a response: one in the background is an error as soon as that comes.
    pub fn of_response() -> Self {
        Self::told_to(Listeners::of_response())
    }

    fn told_to(listeners: Listeners) -> Self {
        Self {
            listeners: Some(listeners.into()),
            ..Self::default()
        }
    }

    /// The same, and how many tokens its prompt is: of a body that comes in one piece.
    pub fn sizing(mut self, operation: Operation) -> Self {
        let listeners = self.listeners.get_or_insert_default();
        listeners.prompt = Some(PromptSize::of(operation));
        self
    }

    /// How many tokens the prompt is, where that was asked for.
    pub fn prompt_tokens(&self) -> Option<u64> {
        let prompt = self.listeners.as_ref()?.prompt.as_ref()?;
        Some(prompt.tokens(self.at))
    }

    /// What is refused, but for what can't be read, is no error as soon as it comes: [`Self::noted`] tells it.
    pub(super) fn note(&mut self) {
        self.noted = Some(Ok(()));
    }

    /// Whether nothing was refused beside what can't be read.
    pub fn noted(&self) -> Result<(), Refusal> {
        self.noted.clone().unwrap_or(Ok(()))
    }

    /// Tells whoever looks for more, and takes what they refuse.
    fn tell(
        &mut self,
        told: impl FnOnce(&mut Listeners, usize) -> Result<(), Refusal>,
    ) -> Result<(), Stop> {
        let Some(listeners) = &mut self.listeners else {
            return Ok(());
        };
        let Err(refusal) = told(listeners, self.depth) else {
            return Ok(());
        };
        match &mut self.noted {
            Some(noted) => {
                *noted = noted.clone().and(Err(refusal));
                Ok(())
            }
            None => Err(refusal.into()),
        }
    }

    fn side_effects(&self) -> Option<&SideEffects> {
        self.listeners.as_ref()?.side_effects.as_ref()
    }

    /// Whether what has come of it does something that would be there twice if it were done twice.
    pub fn acts(&self) -> bool {
        self.side_effects().is_some_and(SideEffects::acts)
    }

    /// The models that the tools of a response name, as far as it has come; an empty name for what is none.
    pub fn tool_models(&self) -> &[Box<str>] {
        self.side_effects().map_or(&[], SideEffects::models)
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
            self.at += read;
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
    fn outside(&mut self, piece: &[u8]) -> Result<usize, Stop> {
        let mut at = 0;
        while let Some(byte) = piece.get(at) {
            let rest = &piece[at..];
            at += match (self.next, byte) {
                (_, b' ' | b'\t' | b'\n' | b'\r') => 1,
                (Next::Key | Next::KeyOrEnd, b'"') => self.begin_key(at, rest)?,
                (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => self.leave(at)?,
                (Next::Value | Next::ValueOrEnd, _) => self.begin_value(at, rest)?,
                (Next::CommaOrEnd, b',') if self.in_object() => self.step(Next::Key),
                (Next::CommaOrEnd, b',') => self.step(Next::Value),
                (Next::CommaOrEnd, b'}') if self.in_object() => self.leave(at)?,
                (Next::CommaOrEnd, b']') if !self.in_object() => self.leave(at)?,
                (Next::Colon, b':') => self.step(Next::Value),
                (Next::Object, b'{') => {
                    self.start = self.at + at + 1;
                    self.enter(true)?
                }
                _ => return Err(Stop::NotJson),
            };
            if !matches!(self.token, Token::None) {
                break;
            }
        }
        Ok(at)
    }

    fn step(&mut self, next: Next) -> usize {
        self.next = next;
        1
    }

    /// A name begins: most are here as a whole, and so is the colon.
    fn begin_key(&mut self, at: usize, rest: &[u8]) -> Result<usize, Stop> {
        self.next = Next::Colon;
        let is_wanted =
            self.is_outermost() || matches!(&self.listeners, Some(all) if all.want_key(self.depth));
        let Some(key) = whole_text(rest) else {
            self.begin_text(is_wanted);
            return Ok(1);
        };
        if is_wanted {
            self.key(&key)?;
        }
        if let Some(listeners) = &mut self.listeners {
            listeners.spelled_key(self.depth, self.at + at, key.inside());
        }
        // It is asked of each name in a body, so most are told by their first letter.
        let first = key.spelled[1];
        if matches!(first, b'a' | b'A' | b'f' | b'F' | b'\\') && may_name_stored(key.spelled) {
            self.names_stored |= !self.is_outermost();
        }
        let length = key.spelled.len();
        if rest.get(length) != Some(&b':') {
            return Ok(length);
        }
        self.next = Next::Value;
        Ok(length + 1)
    }

    fn begin_value(&mut self, at: usize, rest: &[u8]) -> Result<usize, Stop> {
        let (byte, is_model) = (rest[0], self.is_model());
        if is_model && !matches!(byte, b'"' | b'n') {
            return Err(Refusal::ModelNotText.into());
        }
        if self.is_outermost() {
            (self.value_at, self.value_first) = (self.at + at, byte);
        }
        let in_object = self.in_object();
        self.tell(|all, depth| all.value(depth, byte, in_object))?;
        self.next = Next::CommaOrEnd;
        match byte {
            b'{' | b'[' => self.enter(byte == b'{'),
            b'"' => self.begin_value_text(is_model, at, rest),
            b't' => self.begin_word(b"true", at, rest),
            b'f' => self.begin_word(b"false", at, rest),
            b'n' => self.begin_word(b"null", at, rest),
            _ => {
                self.token = Token::Number(Number::begun_by(byte).ok_or(Stop::NotJson)?);
                Ok(1)
            }
        }
    }

    fn begin_value_text(&mut self, is_model: bool, at: usize, rest: &[u8]) -> Result<usize, Stop> {
        let is_wanted =
            is_model || matches!(&self.listeners, Some(all) if self.in_object() && all.want_text());
        let text = whole_text(rest);
        if let Some(listeners) = &mut self.listeners {
            let spelled = text.as_ref().map_or(&rest[1..], Text::inside);
            listeners.spelled_text(self.at + at, spelled);
        }
        let Some(text) = text else {
            self.begin_text(is_wanted);
            return Ok(1);
        };
        if is_wanted {
            self.value_text(&text)?;
        }
        let length = text.spelled.len();
        self.end_value(at + length);
        Ok(length)
    }

    fn begin_word(&mut self, word: &'static [u8], at: usize, rest: &[u8]) -> Result<usize, Stop> {
        if rest.starts_with(word) {
            self.end_value(at + word.len());
            return Ok(word.len());
        }
        self.token = Token::Word(&word[1..]);
        Ok(1)
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

    fn enter(&mut self, is_object: bool) -> Result<usize, Stop> {
        if self.depth == DEEPEST {
            return Err(Refusal::BodyTooDeep.into());
        }
        self.open = self.open << 1 | u128::from(is_object);
        self.depth += 1;
        if let Some(listeners) = &mut self.listeners {
            listeners.enter(self.depth);
        }
        self.next = match is_object {
            true => Next::KeyOrEnd,
            false => Next::ValueOrEnd,
        };
        Ok(1)
    }

    fn leave(&mut self, at: usize) -> Result<usize, Stop> {
        self.tell(|all, depth| all.leave(depth))?;
        self.open >>= 1;
        self.depth -= 1;
        self.next = match self.depth {
            0 => Next::Nothing,
            _ => Next::CommaOrEnd,
        };
        self.end_value(at + 1);
        Ok(1)
    }

    /// A value has ended, so far behind what had been read.
    fn end_value(&mut self, end: usize) {
        if let (true, Some(member)) = (self.is_outermost(), self.member) {
            let (at, first) = (self.value_at..self.at + end, self.value_first);
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
                self.end_text(read)?;
            }
            Some(_) => self.token = Token::Text(Escape::Begun),
            None => {}
        }
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
            (Some(key), true) => return self.key(&Text::of(&key)),
            (Some(text), false) => self.value_text(&Text::of(&text))?,
            (None, true) => {
                if self.is_outermost() {
                    self.member = None;
                }
                return self.tell(|all, depth| {
                    all.key(depth, "");
                    Ok(())
                });
            }
            (None, false) => self.tell(|all, _| all.text(None))?,
        }
        self.end_value(end);
        Ok(())
    }

    /// A name that matters to somebody.
    fn key(&mut self, key: &Text) -> Result<(), Stop> {
        let name = spelled(key);
        if let Some(listeners) = &mut self.listeners {
            let told = name
                .as_deref()
                .filter(|_| key.spelled.len() <= LONGEST_KEY)
                .and_then(|name| str::from_utf8(name).ok());
            listeners.key(self.depth, told.unwrap_or_default());
        }
        if !self.is_outermost() {
            return Ok(());
        }
        self.has_members = true;
        let name = name.ok_or(Stop::NotJson)?;
        self.member = Member::named(&name);
        match self.member {
            Some(member) => Ok(self.members.begin(member)?),
            None => match misspelled(&name)? {
                Some(name) => Err(Refusal::MemberMisspelled { name }.into()),
                None => Ok(()),
            },
        }
    }

    /// A value that matters to somebody.
    fn value_text(&mut self, text: &Text) -> Result<(), Stop> {
        if self.is_model() {
            let name = spelled(text).ok_or(Refusal::ModelNotText)?;
            self.model = Some(str::from_utf8(&name)?.to_owned());
            return Ok(());
        }
        let said = spelled(text).filter(|_| text.spelled.len() <= LONGEST_KEY);
        let said = said.as_deref().map(str::from_utf8);
        self.tell(|all, _| all.text(said.and_then(Result::ok)))
    }

    fn word(&mut self, word: &'static [u8], rest: &[u8]) -> Result<usize, Stop> {
        let read = word.len().min(rest.len());
        let (here, due) = word.split_at(read);
        if !rest.starts_with(here) {
            return Err(Stop::NotJson);
        }
        match due {
            b"" => {
                self.token = Token::None;
                self.end_value(read);
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
        match read == rest.len() {
            true => self.token = Token::Number(part),
            false => self.end_value(read),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
