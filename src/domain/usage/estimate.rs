//! How many tokens a prompt comes to, before any deployment has said so: what is reserved for a request, and what an answer
//! is taken to have read that broke off.
//!
//! Text goes by its characters: 4 % off on the average (`char_estimate.rs` has the figures), and half a nanosecond a byte. Of a
//! long text, samples from all over it are looked at. The tokenizer on four samples of 512 bytes each would be 2 % off, and
//! take 20 µs more of every request, though each is settled with the true figure in the end. Pictures count as pictures,
//! whatever their size in base64.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

use super::char_estimate::CharEstimate;
use crate::domain::route::Operation;

/// The most of one prompt that is looked at, in bytes of text; a longer one is taken to go on as it began.
const MOST: usize = 512 << 10;
/// How many samples a long text is judged by, and how long each is, in bytes.
const SAMPLES: usize = 64;
const SAMPLE: usize = 512;
/// What finding a text costs beside its length, in the same measure, and what an escaped character does.
const TEXT: usize = 16;
const ESCAPE: usize = 16;
/// A picture of 1024 x 1024 in high detail.
const PICTURE: u64 = 765;
/// What stands around each message.
const MESSAGE: u64 = 4;
/// What a prompt ends with, so that an answer begins.
const REPLY: u64 = 3;
/// Of a text this long with nothing but the letters of base64 nobody expects words.
const BLOB: usize = 512;

/// How many tokens the prompt in this body is; a form of parts has text, and may have pictures.
pub fn input(operation: Operation, body: &[u8]) -> u64 {
    match body.trim_ascii_start().first() {
        Some(b'{') => Prompt::of(operation).read(body),
        Some(b'-') => of_form(operation, body),
        _ => 0,
    }
}

/// What has been found of a prompt.
struct Prompt<'a> {
    operation: Operation,
    scale: CharEstimate,
    /// How much has been looked at.
    effort: usize,
    /// What is no text.
    others: u64,
    depth: usize,
    within: Within,
    /// The last member's name, as it is written.
    key: &'a [u8],
}

/// What the member of the outermost object is that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Settings,
    Words,
    /// Tools, and the form of the answer: the names of their parameters are read too.
    Schema,
}

impl<'a> Prompt<'a> {
    fn of(operation: Operation) -> Self {
        Self {
            operation,
            scale: CharEstimate::default(),
            effort: 0,
            others: 0,
            depth: 0,
            within: Within::Settings,
            key: b"",
        }
    }

    /// Goes over the body from text to text.
    fn read(mut self, body: &'a [u8]) -> u64 {
        let mut at = 0;
        while let Some(found) = next(&body[at..]) {
            at += found + 1;
            if self.effort >= MOST {
                return share(self.total(), body.len(), at);
            }
            match body[at - 1] {
                b'"' => {
                    let end = end_of_text(body, at);
                    self.effort += TEXT;
                    self.text(&body[at..end], is_key(&body[end..]));
                    at = (end + 1).min(body.len());
                }
                b'[' => {
                    self.depth += 1;
                    at += self.tokens(&body[at..]);
                }
                b'{' => self.depth += 1,
                _ => self.depth = self.depth.saturating_sub(1),
            }
        }
        self.total()
    }

    fn total(&self) -> u64 {
        let reply = match self.operation {
            Operation::ChatCompletions | Operation::Responses | Operation::ResponsesCompact => {
                REPLY
            }
            _ => 0,
        };
        self.scale.tokens() + self.others + reply
    }

    fn text(&mut self, text: &'a [u8], is_key: bool) {
        if is_key {
            self.key = text;
            if self.depth == 1 {
                self.within = within(text);
            } else if self.within == Within::Schema && !is_of_schemas(text) {
                self.weigh(text);
            }
            return;
        }
        match (self.within, self.key) {
            (Within::Settings, _) => {}
            (_, b"type" | b"id" | b"call_id" | b"tool_call_id" | b"detail" | b"status") => {}
            (Within::Words, b"role") => self.others += MESSAGE,
            (Within::Words, b"url" | b"image_url") => self.others += PICTURE,
            (Within::Words, b"data" | b"file_data" | b"file_id" | b"encrypted_content") => {}
            _ if is_blob(text) => {}
            _ => self.weigh(text),
        }
    }

    /// A prompt that comes as tokens. Gives how much was read.
    fn tokens(&mut self, rest: &[u8]) -> usize {
        let is_prompt = matches!(
            self.operation,
            Operation::Embeddings | Operation::Completions
        );
        let begins = rest.trim_ascii_start().first();
        if self.within != Within::Words || !is_prompt || !begins.is_some_and(u8::is_ascii_digit) {
            return 0;
        }
        let end = memchr(b']', rest).unwrap_or(rest.len());
        self.others += memchr::memchr_iter(b',', &rest[..end]).count() as u64 + 1;
        end
    }

    /// Text as JSON spells it.
    fn weigh(&mut self, text: &[u8]) {
        let (mut read, before) = (0, self.scale);
        for sample in samples(text) {
            read += self.weigh_sample(text, sample);
        }
        if read > 0 && read < text.len() {
            let weighed = self.scale.tokens() - before.tokens();
            self.others += share(weighed, text.len() - read, read);
        }
    }

    /// Gives how much was looked at.
    fn weigh_sample(&mut self, text: &[u8], Range { start, end }: Range<usize>) -> usize {
        let mut at = start;
        while at < end && self.effort < MOST {
            let room = &text[at..end.min(at + MOST - self.effort)];
            let plain = memchr(b'\\', room).unwrap_or(room.len());
            self.scale.add(&room[..plain]);
            self.effort += plain;
            at += plain;
            if plain < room.len() {
                let (character, read) = escaped(&text[at + 1..]);
                self.scale
                    .add(character.encode_utf8(&mut [0; 4]).as_bytes());
                self.effort += ESCAPE;
                at += 1 + read;
            }
        }
        at - start
    }
}

/// What is looked at of a text. A sample may begin inside an escape: that adds 1 % where everything is escaped.
fn samples(text: &[u8]) -> impl Iterator<Item = Range<usize>> + use<> {
    let (count, length) = match text.len() <= SAMPLES * SAMPLE {
        true => (1, text.len()),
        false => (SAMPLES, SAMPLE),
    };
    let apart = text.len() / count;
    (0..count).map(move |sample| sample * apart..sample * apart + length)
}

/// What so much of something comes to, where `of` it came to `tokens`.
fn share(tokens: u64, much: usize, of: usize) -> u64 {
    let tokens = u128::from(tokens) * much as u128 / of.max(1) as u128;
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// Where the next bracket or quote stands.
fn next(rest: &[u8]) -> Option<usize> {
    rest.iter()
        .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
}

/// Where the closing quote of a text stands, or the body's end; that too where more is escaped than is looked at.
fn end_of_text(body: &[u8], mut at: usize) -> usize {
    for _ in 0..=MOST / ESCAPE {
        let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            break;
        };
        at += found;
        if body[at] == b'"' {
            return at;
        }
        at += 2;
    }
    body.len()
}

/// Whether what follows a text makes it a member's name.
fn is_key(rest: &[u8]) -> bool {
    let after = rest.get(1..).unwrap_or_default().trim_ascii_start();
    after.first() == Some(&b':')
}

/// What stands behind a backslash, and how much of it there is.
fn escaped(rest: &[u8]) -> (char, usize) {
    match rest.first() {
        Some(b'n' | b'r') => ('\n', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => {
            let digits = rest.get(1..5).and_then(|hex| std::str::from_utf8(hex).ok());
            match digits.and_then(|hex| u16::from_str_radix(hex, 16).ok()) {
                // Two of these are one character, most often an emoji.
                Some(0xd800..0xdc00) => ('\u{1f600}', 5),
                Some(0xdc00..0xe000) => ('\t', 5),
                Some(unit) => (char::from_u32(unit.into()).unwrap_or('?'), 5),
                None => ('?', 1),
            }
        }
        Some(other) => (char::from(*other & 0x7f), 1),
        None => ('?', 0),
    }
}

fn within(name: &[u8]) -> Within {
    match name {
        b"messages" | b"input" | b"prompt" | b"instructions" | b"suffix" => Within::Words,
        b"tools" | b"functions" | b"response_format" | b"text" => Within::Schema,
        _ => Within::Settings,
    }
}

/// The words of JSON Schema and of tools themselves, which the model reads in a shorter form.
fn is_of_schemas(name: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"type",
        b"function",
        b"name",
        b"description",
        b"parameters",
        b"properties",
        b"required",
        b"additionalProperties",
        b"items",
        b"enum",
        b"strict",
        b"format",
        b"schema",
        b"json_schema",
    ];
    WORDS.contains(&name)
}

/// Whether a text is data: a file, a picture, sound.
fn is_blob(text: &[u8]) -> bool {
    let is_of_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    text.starts_with(b"data:")
        || text
            .get(..BLOB)
            .is_some_and(|head| head.iter().all(is_of_base64))
}

/// The prompt of a form, and its pictures where they are read.
fn of_form(operation: Operation, body: &[u8]) -> u64 {
    let mut scale = CharEstimate::default();
    if let Some(at) = memmem::find(body, b"name=\"prompt\"") {
        let part = &body[at..];
        let start = memmem::find(part, b"\r\n\r\n").map_or(part.len(), |at| at + 4);
        let text = &part[start..];
        let end = memmem::find(text, b"\r\n--").unwrap_or(text.len());
        scale.add(&text[..end.min(MOST)]);
    }
    let pictures = match operation {
        Operation::ImageEdits => memmem::find_iter(body, b"filename=").count() as u64,
        _ => 0,
    };
    scale.tokens() + pictures * PICTURE
}

#[cfg(test)]
mod tests;
