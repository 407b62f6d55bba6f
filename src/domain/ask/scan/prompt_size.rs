//! How many tokens a prompt comes to by the texts that a request's body has.
//!
//! Text goes by its characters: 4 % off on the average (`char_estimate.rs` has the figures), and half a nanosecond a byte. Of a
//! long text, samples from all over it are looked at. The tokenizer on four samples of 512 bytes each would be 2 % off, and
//! take 20 µs more of every request, though each is settled with the true figure in the end. Pictures count as pictures,
//! whatever their size in base64.

use std::ops::Range;

use memchr::memchr;

use crate::domain::{route::Operation, usage::char_estimate::CharEstimate};

/// The most of one prompt that is looked at, in bytes of text; a longer one is taken to go on as it began.
pub(in crate::domain::ask) const MOST: usize = 512 << 10;
/// How many samples a long text is judged by, and how long each is, in bytes.
const SAMPLES: usize = 64;
const SAMPLE: usize = 512;
/// What finding a text costs beside its length, in the same measure, and what an escaped character does.
const TEXT: usize = 16;
const ESCAPE: usize = 16;
/// A picture of 1024 x 1024 in high detail.
pub(in crate::domain::ask) const PICTURE: u64 = 765;
/// What stands around each message.
pub(in crate::domain::ask) const MESSAGE: u64 = 4;
/// What a prompt ends with, so that an answer begins.
pub(in crate::domain::ask) const REPLY: u64 = 3;
/// Of a text this long with nothing but the letters of base64 nobody expects words.
const BLOB: usize = 512;

/// Reads along with a scan.
#[derive(Clone, Debug)]
pub(in crate::domain::ask) struct PromptSize {
    operation: Operation,
    scale: CharEstimate,
    /// How much has been looked at.
    effort: usize,
    /// Where there was too much to look at more.
    stopped_at: Option<usize>,
    /// What is no text.
    others: u64,
    section: Section,
    member: Member,
}

/// What the member of the outermost object is that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Settings,
    Words,
    /// Tools, and the form of the answer: the names of their parameters are read too.
    Schema,
}

/// What the text that comes next would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// Says nothing to the model.
    Label,
    Role,
    Picture,
    /// A file or sound.
    Data,
    Words,
}

impl PromptSize {
    pub(super) fn of(operation: Operation) -> Self {
        Self {
            operation,
            scale: CharEstimate::default(),
            effort: 0,
            stopped_at: None,
            others: 0,
            section: Section::Settings,
            member: Member::Words,
        }
    }

    /// How many tokens it is, of a body of this length.
    pub(super) fn tokens(&self, length: usize) -> u64 {
        let reply = match self.operation {
            Operation::ChatCompletions | Operation::Responses | Operation::ResponsesCompact => {
                REPLY
            }
            _ => 0,
        };
        let tokens = self.scale.tokens() + self.others + reply;
        self.stopped_at
            .map_or(tokens, |at| share(tokens, length, at))
    }

    /// A member's name as it is spelled, which begins at this place.
    pub(super) fn key(&mut self, depth: usize, at: usize, name: &[u8]) {
        if !self.has_room(at) {
            return;
        }
        self.member = member(name);
        if depth == 1 {
            self.section = section(name);
        } else if self.section == Section::Schema && !is_of_schemas(name) {
            self.weigh(name);
        }
    }

    /// A text as it is spelled, which begins at this place.
    pub(super) fn text(&mut self, at: usize, text: &[u8]) {
        if !self.has_room(at) {
            return;
        }
        match (self.section, self.member) {
            (Section::Settings, _) | (_, Member::Label) | (Section::Words, Member::Data) => {}
            (Section::Words, Member::Role) => self.others += MESSAGE,
            (Section::Words, Member::Picture) => self.others += PICTURE,
            _ if is_blob(text) => {}
            _ => self.weigh(text),
        }
    }

    /// A value in a list: a prompt may come as tokens.
    pub(super) fn element(&mut self, first: u8) {
        let is_prompt = matches!(
            self.operation,
            Operation::Embeddings | Operation::Completions
        );
        if is_prompt && self.section == Section::Words && first.is_ascii_digit() {
            self.others += 1;
        }
    }

    /// Whether the text at this place is looked at.
    fn has_room(&mut self, at: usize) -> bool {
        if self.effort >= MOST {
            self.stopped_at.get_or_insert(at);
            return false;
        }
        self.effort += TEXT;
        true
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

fn section(name: &[u8]) -> Section {
    match name {
        b"messages" | b"input" | b"prompt" | b"instructions" | b"suffix" => Section::Words,
        b"tools" | b"functions" | b"response_format" | b"text" => Section::Schema,
        _ => Section::Settings,
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

fn member(name: &[u8]) -> Member {
    match name {
        b"type" | b"id" | b"call_id" | b"tool_call_id" | b"detail" | b"status" => Member::Label,
        b"role" => Member::Role,
        b"url" | b"image_url" => Member::Picture,
        b"data" | b"file_data" | b"file_id" | b"encrypted_content" => Member::Data,
        _ => Member::Words,
    }
}
