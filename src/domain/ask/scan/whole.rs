//! A body that is here as a whole: the same grammar, without a state to keep between pieces.

use std::{borrow::Cow, ops::Range};

use super::{DEEPEST, Number, Scan, end_of_plain, spelled};
use crate::domain::ask::{Ask, Place, Said, Wants, is_misspelled};

/// Where the values stand of those members of the outermost object that matter.
#[derive(Default)]
struct Members {
    model: Option<Range<usize>>,
    stream: Option<Range<usize>>,
    background: Option<Range<usize>>,
    conversation: Option<Range<usize>>,
    tools: Option<Range<usize>>,
    max_tokens: Option<Range<usize>>,
    max_completion_tokens: Option<Range<usize>>,
    max_output_tokens: Option<Range<usize>>,
    n: Option<Range<usize>>,
    best_of: Option<Range<usize>>,
    stream_options: Option<Range<usize>>,
    data_sources: Option<Range<usize>>,
    older_data_sources: Option<Range<usize>>,
    /// A chat has no other member that keeps anything.
    store: Option<Range<usize>>,
    /// A member further inside has a name that may stand for something stored.
    names_stored: bool,
}

impl Members {
    fn named(&mut self, name: &[u8]) -> Option<&mut Option<Range<usize>>> {
        Some(match name {
            b"model" => &mut self.model,
            b"stream" => &mut self.stream,
            b"background" => &mut self.background,
            b"conversation" => &mut self.conversation,
            b"tools" => &mut self.tools,
            b"max_tokens" => &mut self.max_tokens,
            b"max_completion_tokens" => &mut self.max_completion_tokens,
            b"max_output_tokens" => &mut self.max_output_tokens,
            b"n" => &mut self.n,
            b"best_of" => &mut self.best_of,
            b"stream_options" => &mut self.stream_options,
            b"data_sources" => &mut self.data_sources,
            b"dataSources" => &mut self.older_data_sources,
            b"store" => &mut self.store,
            _ => return None,
        })
    }
}

impl Scan {
    /// What a body that is here as a whole asks for. `None`: it is refused, or says something oddly, so that another
    /// reader has to say what it is.
    pub(in crate::domain::ask) fn whole(body: &[u8]) -> Option<Ask> {
        let start = byte(body, 0, b'{')?;
        let (members, empty) = members(body, start)?;
        let text = |at: &Range<usize>| &body[at.clone()];
        let not_null = |at: Option<Range<usize>>| at.filter(|at| text(at) != b"null").map(Said);
        let is_true = |at: Option<Range<usize>>| at.is_some_and(|at| text(&at) == b"true");
        let model = match members.model.as_ref().map(text) {
            None | Some(b"null") => None,
            Some(name) if name.starts_with(b"\"") => Some(spelled(name)?.into_owned()),
            Some(_) => return None,
        };
        let store = not_null(members.store);
        let data = not_null(members.data_sources).or(not_null(members.older_data_sources));
        Some(Ask {
            model,
            may_use_state: members.names_stored || store.is_some() || data.is_some(),
            stream: is_true(members.stream),
            acts: not_null(members.conversation).is_some(),
            in_background: not_null(members.background).is_some_and(|at| text(&at.0) != b"false"),
            has_tools: not_null(members.tools).is_some(),
            wants: Wants {
                max_tokens: not_null(members.max_tokens),
                max_completion_tokens: not_null(members.max_completion_tokens),
                max_output_tokens: not_null(members.max_output_tokens),
                n: not_null(members.n),
                best_of: not_null(members.best_of),
                stream_options: members.stream_options.map(Said),
                brings_data: data.is_some(),
            },
            place: Place::Json {
                value: members.model,
                start,
                empty,
            },
        })
    }
}

/// The members of an object that begins before `at` and is all that is left of the body, and whether there are none.
fn members(body: &[u8], at: usize) -> Option<(Members, bool)> {
    let mut members = Members::default();
    if let Some(end) = byte(body, at, b'}') {
        return (space(body, end) == body.len()).then_some((members, true));
    }
    let mut at = space(body, at);
    loop {
        let start = at;
        let end = text(body, at)?;
        let name = match &body[start + 1..end - 1] {
            known if members.named(known).is_some() => Cow::Borrowed(known),
            _ => other_name(&body[start..end])?,
        };
        let start = space(body, byte(body, end, b':')?);
        let end = value(body, start, &mut members.names_stored)?;
        if let Some(member) = members.named(&name) {
            // What matters must be text, and be said once.
            std::str::from_utf8(&body[start..end]).ok()?;
            if member.replace(start..end).is_some() {
                return None;
            }
        }
        at = space(body, end);
        match body.get(at)? {
            b',' => at = space(body, at + 1),
            b'}' => return (space(body, at + 1) == body.len()).then_some((members, false)),
            _ => return None,
        }
    }
}

/// What a name says, quotes included, that is not written like one that matters. `None`: it can't be read, or is one of
/// those in other letters.
fn other_name(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    match spelled(text)? {
        name if is_misspelled(&name) => None,
        Cow::Borrowed(name) => Some(Cow::Borrowed(name.as_bytes())),
        Cow::Owned(name) => Some(Cow::Owned(name.into_bytes())),
    }
}

/// Behind the value of a member that begins here.
fn value(body: &[u8], mut at: usize, names_stored: &mut bool) -> Option<usize> {
    // The containers around, one bit each, innermost lowest: whether it is an object. The outermost is not among them.
    let (mut open, mut depth) = (0_u128, 0);
    loop {
        if open & 1 == 1 {
            at = key(body, at, names_stored)?;
        }
        let first = *body.get(at)?;
        at = match first {
            b'"' => rest_of_text(body, at + 1)?,
            b'{' | b'[' => {
                let is_object = first == b'{';
                depth += 1;
                if depth == DEEPEST {
                    return None;
                }
                open = open << 1 | u128::from(is_object);
                at = space(body, at + 1);
                match (body.get(at)?, is_object) {
                    // Left again below.
                    (b'}', true) | (b']', false) => at,
                    _ => continue,
                }
            }
            b't' => word(body, at, b"true")?,
            b'f' => word(body, at, b"false")?,
            b'n' => word(body, at, b"null")?,
            _ => number(body, at)?,
        };
        loop {
            if depth == 0 {
                return Some(at);
            }
            at = space(body, at);
            let in_object = open & 1 == 1;
            match (body.get(at)?, in_object) {
                (b'}', true) | (b']', false) => {
                    open >>= 1;
                    depth -= 1;
                    at += 1;
                }
                (b',', _) => {
                    at = space(body, at + 1);
                    break;
                }
                _ => return None,
            }
        }
    }
}

/// Behind a name and its colon, where the value begins.
fn key(body: &[u8], at: usize, names_stored: &mut bool) -> Option<usize> {
    let end = text(body, at)?;
    // It is asked of each name in a body, so most are told by their first letter.
    if matches!(body[at + 1], b'a' | b'A' | b'f' | b'F' | b'\\') && may_name_stored(&body[at..end])
    {
        *names_stored = true;
    }
    Some(space(body, byte(body, end, b':')?))
}

/// Whether a name, quotes included, may be one that stands for something stored in a message of a chat.
#[inline(never)]
fn may_name_stored(name: &[u8]) -> bool {
    const STORED: [&[u8]; 2] = [b"\"audio\"", b"\"file_id\""];
    match name.len() {
        7 | 9 => STORED
            .iter()
            .any(|stored| stored.eq_ignore_ascii_case(name)),
        // With escapes it is longer: from one in the shorter name to all in the longer one.
        12..=44 => name.contains(&b'\\'),
        _ => false,
    }
}

/// Behind the text that begins here.
fn text(body: &[u8], at: usize) -> Option<usize> {
    rest_of_text(body, word(body, at, b"\"")?)
}

/// Behind the text that began before.
fn rest_of_text(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += end_of_plain(&body[at..]).ok()?;
        if *body.get(at)? == b'"' {
            return Some(at + 1);
        }
        at += match body.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                let digits = body.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
            }
            _ => return None,
        };
    }
}

fn number(body: &[u8], at: usize) -> Option<usize> {
    let mut part = Number::begun_by(*body.get(at)?)?;
    let rest = &body[at + 1..];
    for (read, byte) in rest.iter().enumerate() {
        match part.followed_by(*byte).ok()? {
            Some(next) => part = next,
            None => return Some(at + 1 + read),
        }
    }
    // Behind it there is at least the brace.
    None
}

fn word(body: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    body.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Behind this byte, where nothing but space stands before it.
fn byte(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = space(body, at);
    (*body.get(at)? == byte).then_some(at + 1)
}

/// Where the space ends that begins here, if there is any.
fn space(body: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = body.get(at) {
        at += 1;
    }
    at
}
