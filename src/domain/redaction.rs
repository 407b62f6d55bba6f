//! Redaction of prompts before they are logged.
//!
//! Credentials that a request hands to its deployment go whatever the operator says: what an MCP server or a data source is
//! to be shown, and what a URL carries in its query. They are known by the name of their field.
//!
//! Patterns meet what a JSON text means, not how it is spelled: an escape like `\u0040` hides nothing from them, nor do the
//! escapes of JSON inside a string. Of a body that is no JSON nothing is kept, since nothing could be found in it.

mod secrets;

use std::borrow::Cow;

use regex::{NoExpand, Regex};
use thiserror::Error;

use self::secrets::closing_quote;

/// What stands in the place of what was taken out.
const REDACTED: &str = "[redacted]";
/// How often escapes are undone: JSON in a string of JSON in a string, and so on.
const DEPTH: usize = 16;
/// A text that was not kept to its end may end within a match. What could be the beginning of one is left out, in bytes.
const MARGIN: usize = 256;

/// The operator's patterns.
#[derive(Clone, Debug, Default)]
pub struct Redaction(Vec<Regex>);

/// A pattern, checked.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no pattern. The message says what to mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("this is not a valid regular expression: {0}")]
    Syntax(String),
    #[error("this regular expression is too large; use smaller repetitions")]
    TooLarge,
    #[error(
        "this pattern matches the empty string, so everything would be redacted; make it match at least one character"
    )]
    Empty,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let pattern = Regex::new(text).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            error => {
                // Its last line says why; those before show the pattern.
                let error = error.to_string();
                let why = error.lines().next_back().unwrap_or_default();
                PatternError::Syntax(why.trim_start_matches("error: ").to_owned())
            }
        })?;
        if pattern.is_match("") {
            Err(PatternError::Empty)
        } else {
            Ok(Self(pattern))
        }
    }
}

/// What may be kept of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub text: String,
    /// It was longer than it may be.
    pub is_cut: bool,
}

impl Redaction {
    pub fn new(patterns: impl IntoIterator<Item = Pattern>) -> Self {
        Self(patterns.into_iter().map(|pattern| pattern.0).collect())
    }

    /// A JSON text, or the beginning of one, without what the patterns find in its strings, its keys and its numbers: at
    /// most so many bytes, and the rest is not looked at. `None`: it is no JSON.
    pub fn json(&self, body: &[u8], most: usize) -> Option<Excerpt> {
        let mut text = String::new();
        let mut rest = body;
        let mut place = secrets::Nesting::default();
        while let (Some(first), true) = (rest.first(), text.len() <= most) {
            let length = match first {
                b'"' => {
                    let length = self.string(rest, &mut text);
                    let (name, behind) = rest.split_at(length);
                    length + self.value(name, behind, &mut place, &mut text)
                }
                b'-' | b'0'..=b'9' => self.number(rest, &mut text),
                b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\t' | b'\r' | b'\n' => {
                    place.step(*first);
                    text.push(char::from(*first));
                    1
                }
                _ => word(rest, &mut text)?,
            };
            rest = &rest[length..];
        }
        let is_cut = text.len() > most;
        if is_cut {
            text.truncate(text.floor_char_boundary(most));
        }
        Some(Excerpt { text, is_cut })
    }

    /// Appends what stands behind a string, where that is a field's name that tells of credentials: the colon, and what
    /// is left of the value. Gives the length of what was read.
    fn value(
        &self,
        name: &[u8],
        behind: &[u8],
        place: &mut secrets::Nesting,
        text: &mut String,
    ) -> usize {
        let Some(colon) = secrets::colon(behind) else {
            return 0;
        };
        let (before, value) = behind.split_at(colon);
        let name = String::from_utf8_lossy(name);
        let kept = match place.what_is(&unescaped(name.trim_matches('"'))) {
            secrets::Value::Plain => return 0,
            secrets::Value::Secret => Cow::Borrowed(REDACTED),
            secrets::Value::Url => match self.url(value) {
                Some(kept) => Cow::Owned(kept),
                None => return 0,
            },
        };
        if value.is_empty() || value.starts_with(b"null") {
            return 0;
        }
        text.push_str(&String::from_utf8_lossy(before));
        push_quoted(&kept, true, text);
        colon + secrets::length(value)
    }

    /// What is left of a URL that may carry a credential; `None`: it can't.
    fn url(&self, value: &[u8]) -> Option<String> {
        let inside = value.strip_prefix(b"\"")?;
        let inside = &inside[..closing_quote(inside).unwrap_or(inside.len())];
        let meant = unescaped(&String::from_utf8_lossy(inside)).into_owned();
        let (before, is_bare) = match meant.find(['?', '#']) {
            Some(at) => (&meant[..at], false),
            None => (meant.as_str(), true),
        };
        let authority = before
            .split("://")
            .nth(1)?
            .split('/')
            .next()
            .unwrap_or_default();
        match (authority.contains('@'), is_bare) {
            (true, _) => Some(REDACTED.to_owned()),
            (false, true) => None,
            (false, false) => Some(format!("{}?{REDACTED}", self.text(before))),
        }
    }

    /// Appends what is left of the string that `json` begins with. Gives its length there.
    fn string(&self, json: &[u8], text: &mut String) -> usize {
        let inside = &json[1..];
        let (length, is_ended) = match closing_quote(inside) {
            Some(quote) => (quote, true),
            None => (inside.len(), false),
        };
        let spelled = &inside[..length];
        let mut meant = unescaped(&String::from_utf8_lossy(spelled)).into_owned();
        if !is_ended && !self.0.is_empty() {
            let sure = meant.len().saturating_sub(MARGIN);
            meant.truncate(meant.floor_char_boundary(sure));
        }
        let left = self.text(&meant);
        match (std::str::from_utf8(spelled), is_ended) {
            // As the client spelled it.
            (Ok(spelled), true) if *left == meant => {
                text.extend(["\"", spelled, "\""]);
            }
            _ => push_quoted(&left, is_ended, text),
        }
        1 + length + usize::from(is_ended)
    }

    fn number(&self, json: &[u8], text: &mut String) -> usize {
        let is_in = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
        let length = json.iter().take_while(|b| is_in(b)).count();
        let number = String::from_utf8_lossy(&json[..length]);
        let left = self.text(&number);
        if left == number {
            text.push_str(&number)
        } else {
            push_quoted(&left, true, text)
        }
        length
    }

    /// A text without what the patterns find in it. Where they find something only in what its escapes mean (the
    /// arguments of a tool are JSON in a string), nothing of it is kept.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut left = Cow::Borrowed(text);
        for pattern in &self.0 {
            if let Cow::Owned(replaced) = pattern.replace_all(&left, NoExpand(REDACTED)) {
                left = Cow::Owned(replaced);
            }
        }
        if self.is_hidden_in(&left) {
            Cow::Borrowed(REDACTED)
        } else {
            left
        }
    }

    fn is_hidden_in(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let mut meant = Cow::Borrowed(text);
        for _ in 0..DEPTH {
            let deeper = unescaped(&meant).into_owned();
            if deeper == *meant {
                return false;
            }
            if self.0.iter().any(|pattern| pattern.is_match(&deeper)) {
                return true;
            }
            meant = Cow::Owned(deeper);
        }
        true
    }
}

/// `true`, `false`, `null`, or the beginning of one where the text ends.
fn word(json: &[u8], text: &mut String) -> Option<usize> {
    let words = ["true", "false", "null"];
    let word = words.into_iter().find(|word| {
        let length = word.len().min(json.len());
        json[..length] == word.as_bytes()[..length]
    })?;
    let length = word.len().min(json.len());
    text.push_str(&word[..length]);
    Some(length)
}

fn push_quoted(content: &str, is_ended: bool, text: &mut String) {
    // A text can't fail to be written.
    let mut quoted = serde_json::to_string(content).unwrap_or_default();
    if !is_ended {
        quoted.pop();
    }
    text.push_str(&quoted);
}

/// What a text means once its JSON escapes are undone; what is no escape stays.
fn unescaped(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('\\') else {
        return Cow::Borrowed(text);
    };
    let (before, mut rest) = text.split_at(first);
    let mut meant = String::with_capacity(text.len());
    meant.push_str(before);
    while let Some(at) = rest.find('\\') {
        meant.push_str(&rest[..at]);
        rest = &rest[at..];
        let (character, length) = escape(rest.as_bytes());
        meant.push(character);
        rest = &rest[length..];
    }
    meant.push_str(rest);
    Cow::Owned(meant)
}

/// What an escape stands for, and its length. What is none is its backslash.
fn escape(text: &[u8]) -> (char, usize) {
    let simple = |character| (character, 2);
    match text.get(1) {
        Some(b'n') => simple('\n'),
        Some(b't') => simple('\t'),
        Some(b'r') => simple('\r'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(other @ (b'"' | b'\\' | b'/')) => simple(char::from(*other)),
        Some(b'u') => unicode(text).unwrap_or(('\\', 1)),
        _ => ('\\', 1),
    }
}

/// `\uXXXX`, or two of them that are one character.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    };
    let first = unit(0)?;
    if let (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) = (first, unit(6)) {
        let both = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return Some((char::from_u32(both)?, 12));
    }
    Some((
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        6,
    ))
}

#[cfg(test)]
mod tests;
