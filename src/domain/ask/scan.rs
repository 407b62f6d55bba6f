//! Reads a JSON object while it arrives, in pieces cut anywhere: its grammar, and which model it names where.
//!
//! It is for bodies that are passed on before their end is known. Whatever reads such a body at its destination must
//! not find another model in it than was found here, so a second `model`, however its name is spelled, is an error as
//! soon as it comes, and so is every byte that does not belong to one JSON object.

mod acting;
mod number;
mod state;
mod whole;

use std::{borrow::Cow, mem, ops::Range};

use memchr::{memchr, memchr2};

use super::{Ask, DEEPEST, Place, Wants, misspelled};
use crate::domain::{refusal::Refusal, swar::Bytes8};

use acting::Acting;
use number::Number;
pub use state::Forbidden;
use state::Watch;

/// The longest text that may spell a name that matters, each character an escape.
const LONGEST_KEY: usize = 2 + 6 * "previous_response_id".len();
/// The longest model's name, as it is spelled.
const LONGEST_NAME: usize = 4096;

/// How far a text's end is looked for by eight bytes.
const NEAR: usize = 64;

/// How far an object has been read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Bytes read.
    at: usize,
    /// The containers around the place being read, one bit each, innermost lowest: whether it is an object.
    open: u128,
    depth: usize,
    next: Next,
    token: Token,
    /// The text being read, its quotes included, as long as it may be one that matters.
    text: Option<Vec<u8>>,
    text_start: usize,
    /// What the value being read, or due, is to the outermost object.
    member: Member,
    /// Just behind the opening brace.
    start: usize,
    model: Option<Named>,
    stream: Option<bool>,
    /// Given where a request that needs a grant is refused.
    watch: Option<Watch>,
    /// Of a request for a response.
    acting: Option<Acting>,
}

/// The model's name and where it stands; `None`: it is `null`.
#[derive(Clone, Debug)]
struct Named {
    name: Option<String>,
    at: Range<usize>,
}

/// What may come next, outside of any token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Object,
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// The token being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    None,
    Text(Escape),
    /// What is still to come of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// So many hexadecimal digits are still to come.
    Digits(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Model,
    Stream,
    Other,
}

/// A byte is no part of a JSON object. Unlike a [`Refusal`] it takes no room, in what is asked of every text and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotJson;

impl From<NotJson> for Refusal {
    fn from(_: NotJson) -> Self {
        Self::BodyNotJson
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: 0,
            open: 0,
            depth: 0,
            next: Next::Object,
            token: Token::None,
            text: None,
            text_start: 0,
            member: Member::Other,
            start: 0,
            model: None,
            stream: None,
            watch: None,
            acting: None,
        }
    }
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
        while let Some(byte) = rest.first() {
            let read = match self.token {
                Token::None => self.outside(*byte)?,
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
        self.stream == Some(true)
    }

    /// What the object asks for, once its model is known. That it may do something which must not be done twice is
    /// left out: who has not been sent all of it can't have done it.
    pub fn ask(&self) -> Option<Ask> {
        let model = self.model.as_ref()?;
        Some(Ask {
            model: model.name.clone(),
            stream: self.stream(),
            acts: self.acts(),
            in_background: false,
            has_tools: false,
            wants: Wants::default(),
            may_use_state: true,
            place: Place::Json {
                value: Some(model.at.clone()),
                start: self.start,
                empty: false,
            },
        })
    }

    /// Between two tokens. Gives how much was read.
    fn outside(&mut self, byte: u8) -> Result<usize, Refusal> {
        match (self.next, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (Next::Object, b'{') => {
                self.start = self.at + 1;
                self.enter(true)?;
            }
            (Next::ValueOrEnd, b']') | (Next::KeyOrEnd, b'}') => self.leave()?,
            (Next::CommaOrEnd, b'}') if self.in_object() => {
                self.leave()?;
            }
            (Next::CommaOrEnd, b']') if !self.in_object() => self.leave()?,
            (Next::CommaOrEnd, b',') if self.in_object() => {
                self.next = Next::Key;
            }
            (Next::CommaOrEnd, b',') => self.next = Next::Value,
            (Next::Colon, b':') => self.next = Next::Value,
            (Next::Key | Next::KeyOrEnd, b'"') => {
                self.next = Next::Colon;
                let watched = |watch: &Watch| watch.wants_key(self.depth);
                let acting = |acting: &Acting| acting.wants_key(self.depth);
                self.begin_text(
                    self.is_outermost()
                        || self.watch.as_ref().is_some_and(watched)
                        || self.acting.as_ref().is_some_and(acting),
                );
            }
            (Next::Value | Next::ValueOrEnd, byte) => self.begin_value(byte)?,
            _ => return Err(Refusal::BodyNotJson),
        }
        Ok(1)
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), Refusal> {
        let is_model = self.is_model();
        if is_model && !matches!(byte, b'"' | b'n') {
            return Err(Refusal::ModelNotText);
        }
        let (depth, in_object) = (self.depth, self.in_object());
        if let Some(acting) = &mut self.acting {
            acting.value(byte, in_object)?;
        }
        self.look(|watch| watch.value(depth, byte, in_object))?;
        self.next = Next::CommaOrEnd;
        self.token = match byte {
            b'{' | b'[' => return self.enter(byte == b'{'),
            b'"' => {
                let is_wanted = in_object
                    && (self.watch.as_ref().is_some_and(Watch::wants_text)
                        || self.acting.as_ref().is_some_and(Acting::wants_text));
                self.begin_text(is_model || is_wanted);
                return Ok(());
            }
            b't' => Token::Word(b"rue"),
            b'f' => Token::Word(b"alse"),
            b'n' => Token::Word(b"ull"),
            _ => Token::Number(Number::begun_by(byte).ok_or(Refusal::BodyNotJson)?),
        };
        self.text_start = self.at;
        Ok(())
    }

    /// Shows something to whoever watches for what needs a grant.
    fn look(&mut self, is_forbidden: impl FnOnce(&mut Watch) -> bool) -> Result<(), Refusal> {
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        match is_forbidden(watch) {
            true => Err(Refusal::OperationNotAllowed {
                needs: watch.needs(),
            }),
            false => Ok(()),
        }
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
        self.is_outermost() && self.member == Member::Model
    }

    fn enter(&mut self, is_object: bool) -> Result<(), Refusal> {
        if self.depth == DEEPEST {
            return Err(Refusal::BodyTooDeep);
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

    fn leave(&mut self) -> Result<(), Refusal> {
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
        Ok(())
    }

    fn begin_text(&mut self, matters: bool) {
        self.token = Token::Text(Escape::None);
        self.text_start = self.at;
        self.text = matters.then(|| vec![b'"']);
    }

    fn text(&mut self, escape: Escape, rest: &[u8]) -> Result<usize, Refusal> {
        let byte = rest[0];
        let after = match escape {
            Escape::None => return self.plain_text(rest),
            Escape::Begun => match byte {
                b'u' => Escape::Digits(4),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Escape::None,
                _ => return Err(Refusal::BodyNotJson),
            },
            Escape::Digits(_) if !byte.is_ascii_hexdigit() => return Err(Refusal::BodyNotJson),
            Escape::Digits(1) => Escape::None,
            Escape::Digits(left) => Escape::Digits(left - 1),
        };
        self.keep(&rest[..1])?;
        self.token = Token::Text(after);
        Ok(1)
    }

    /// Text up to the next escape or the closing quote.
    fn plain_text(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
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
        Ok(read)
    }

    /// Adds to the text that may matter, until it is too long to.
    fn keep(&mut self, more: &[u8]) -> Result<(), Refusal> {
        let names_model = self.next != Next::Colon && self.is_model();
        let Some(text) = &mut self.text else {
            return Ok(());
        };
        if !names_model && text.len() + more.len() > LONGEST_KEY {
            self.text = None;
        } else if text.len() + more.len() > LONGEST_NAME {
            return Err(Refusal::ModelNotText);
        } else {
            text.extend_from_slice(more);
        }
        Ok(())
    }

    fn end_text(&mut self, end: usize) -> Result<(), Refusal> {
        let is_key = self.next == Next::Colon;
        let text = mem::take(&mut self.text);
        match text {
            Some(key) if is_key => self.begin_member(&key),
            Some(name) if self.is_model() => {
                let name = serde_json::from_slice(&name).map_err(|_| Refusal::ModelNotText)?;
                self.name(Some(name), end);
                Ok(())
            }
            Some(text) => {
                let text = spelled(&text);
                let text = text.unwrap_or_default();
                if let Some(acting) = &mut self.acting {
                    acting.text(&text);
                }
                self.look(|watch| watch.wants_text() && watch.text(&text))
            }
            None => {
                if let (false, Some(acting)) = (is_key, &mut self.acting)
                    && acting.wants_text()
                {
                    acting.text("");
                }
                if is_key && self.is_outermost() {
                    self.member = Member::Other;
                }
                if let (true, Some(watch)) = (is_key, &mut self.watch) {
                    watch.key(self.depth, "");
                }
                if let (true, Some(acting)) = (is_key, &mut self.acting) {
                    acting.key(self.depth, "");
                }
                Ok(())
            }
        }
    }

    fn begin_member(&mut self, key: &[u8]) -> Result<(), Refusal> {
        let key = spelled(key);
        if let Some(watch) = &mut self.watch {
            watch.key(self.depth, key.as_deref().unwrap_or_default());
        }
        if let Some(acting) = &mut self.acting {
            acting.key(self.depth, key.as_deref().unwrap_or_default());
        }
        if !self.is_outermost() {
            return Ok(());
        }
        let key = key.ok_or(Refusal::BodyNotJson)?;
        self.member = match &*key {
            "model" if self.model.is_some() => return Err(Refusal::ModelTwice),
            "model" => Member::Model,
            "stream" if self.stream.is_some() => {
                return Err(Refusal::MemberTwice { name: "stream" });
            }
            "stream" => {
                self.stream = Some(false);
                Member::Stream
            }
            key => match misspelled(key) {
                Some(name) => return Err(Refusal::MemberMisspelled { name }),
                None => Member::Other,
            },
        };
        Ok(())
    }

    fn name(&mut self, name: Option<String>, end: usize) {
        let at = self.text_start..end;
        self.model = Some(Named { name, at });
    }

    fn word(&mut self, word: &'static [u8], rest: &[u8]) -> Result<usize, Refusal> {
        let read = word.len().min(rest.len());
        let (here, due) = word.split_at(read);
        if !rest.starts_with(here) {
            return Err(Refusal::BodyNotJson);
        }
        if !due.is_empty() {
            self.token = Token::Word(due);
            return Ok(read);
        }
        self.token = Token::None;
        let end = self.at + read;
        match self.member {
            Member::Model if self.is_outermost() => self.name(None, end),
            Member::Stream if self.is_outermost() => {
                let length = end - self.text_start;
                self.stream = Some(length == b"true".len() && word.ends_with(b"e"));
            }
            _ => {}
        }
        Ok(read)
    }

    /// A number has no end of its own: what can't belong to it is read again as what follows it.
    fn number(&mut self, mut part: Number, rest: &[u8]) -> Result<usize, Refusal> {
        for (read, byte) in rest.iter().enumerate() {
            let Some(next) = part.followed_by(*byte)? else {
                self.token = Token::None;
                return Ok(read);
            };
            part = next;
        }
        self.token = Token::Number(part);
        Ok(rest.len())
    }
}

/// Where the next escape or the closing quote stands, or where the piece ends.
#[inline(always)]
fn end_of_plain(rest: &[u8]) -> Result<usize, NotJson> {
    // Most texts are short, and a search that looks at more bytes at once takes a while to begin.
    let (near, _) = rest[..rest.len().min(NEAR)].as_chunks();
    for (i, word) in near.iter().enumerate() {
        let word = Bytes8::of(*word);
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
fn spelled(text: &[u8]) -> Option<Cow<'_, str>> {
    let inside = text.get(1..text.len().checked_sub(1)?)?;
    match memchr(b'\\', inside) {
        None => std::str::from_utf8(inside).ok().map(Cow::Borrowed),
        Some(_) => serde_json::from_slice(text).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests;
