//! Reads a form of parts (`multipart/form-data`, RFC 7578) in the one way that clients write it.
//!
//! Forms have many readers, and few agree on what is folded, doubled, escaped or spelled oddly. So all of that is refused:
//! where a form is passed on, whoever reads it next finds the same parts with the same names as were found here.

use memchr::memmem;

use super::{
    body::{Ask, ModelPlace},
    names::misspelled,
    wants::{Said, Wants},
};
use crate::domain::refusal::Refusal;

/// RFC 2046, 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// The boundary of a form's content type; `None`: it is of another kind, and a JSON body is read as that. What could be a
/// form to another reader is refused.
pub(super) fn boundary(content_type: &[u8]) -> Result<Option<&str>, Refusal> {
    if content_type.is_empty() || content_type == b"application/json" {
        return Ok(None);
    }
    let (kind, parameters) = match content_type.iter().position(|byte| *byte == b';') {
        Some(end) => content_type.split_at(end),
        None => (content_type, &b""[..]),
    };
    if kind.eq_ignore_ascii_case(b"multipart/form-data") {
        let boundary = boundary_of(parameters).ok_or(Refusal::BodyNotMultipart)?;
        return Ok(Some(boundary));
    }
    let lower = content_type.to_ascii_lowercase();
    let has = |text: &str| memmem::find(&lower, text.as_bytes()).is_some();
    let is_other_text = has("charset") && !is_plain_text(parameters);
    match has("multipart") || has("urlencoded") || is_other_text {
        true => Err(Refusal::UnsupportedContentType),
        false => Ok(None),
    }
}

fn boundary_of(parameters: &[u8]) -> Option<&str> {
    let mut boundary = None;
    let mut rest = parameters;
    while !rest.is_empty() {
        let (name, value);
        (name, value, rest) = parameter(rest)?;
        if name.eq_ignore_ascii_case(b"boundary") {
            if boundary.replace(value).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"charset") && !is_plain_charset(value) {
            return None;
        }
    }
    let boundary = std::str::from_utf8(boundary?).ok()?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let is_one = (1..=LONGEST_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(is_known);
    is_one.then_some(boundary)
}

/// Whether these parameters say nothing of how a text is spelled in bytes but what every reader takes it for.
fn is_plain_text(parameters: &[u8]) -> bool {
    let mut rest = parameters;
    while !rest.is_empty() {
        let Some((name, value, behind)) = parameter(rest) else {
            return false;
        };
        if name.eq_ignore_ascii_case(b"charset") && !is_plain_charset(value) {
            return false;
        }
        rest = behind;
    }
    true
}

fn is_plain_charset(value: &[u8]) -> bool {
    let known: [&[u8]; 3] = [b"utf-8", b"utf8", b"us-ascii"];
    known.iter().any(|known| value.eq_ignore_ascii_case(known))
}

/// `; name=value` at the beginning of a text, the value a word or in quotes, and what stands behind it. `None`: it begins
/// otherwise, or with what readers that know no quotes, or no escapes, would read otherwise.
fn parameter(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let text = text.strip_prefix(b";")?.trim_ascii_start();
    let (name, text) = text.split_at(word(text)?);
    let text = text.strip_prefix(b"=")?;
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (value, behind) = text.split_at(word(text)?);
        return is_next(behind).then_some((name, value, behind));
    };
    let end = quoted.iter().position(|byte| *byte == b'"')?;
    let (value, behind) = (&quoted[..end], &quoted[end + 1..]);
    let is_escaped = value.ends_with(b"\\");
    let is_split = value.contains(&b';') && value.contains(&b'=');
    (is_next(behind) && !is_escaped && !is_split).then_some((name, value, behind))
}

fn is_next(behind: &[u8]) -> bool {
    matches!(behind.first(), None | Some(b';'))
}

/// How long the word (RFC 9110's token) is that begins a text.
fn word(text: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().take_while(|byte| is_part(byte)).count();
    (length > 0).then_some(length)
}

/// Reads a form.
pub(super) fn read(boundary: &str, body: &[u8]) -> Result<Ask, Refusal> {
    let delimiter = format!("--{boundary}");
    let finder = memmem::Finder::new(&delimiter);
    if !body.starts_with(delimiter.as_bytes()) {
        return Err(Refusal::BodyNotMultipart);
    }
    let (mut value, mut stream, mut at) = (None, None, delimiter.len());
    let mut wants = Wants::default();
    while !body[at..].starts_with(b"--") {
        let head = body[at..]
            .strip_prefix(b"\r\n")
            .ok_or(Refusal::BodyNotMultipart)?;
        let length = memmem::find(head, b"\r\n\r\n").ok_or(Refusal::BodyNotMultipart)?;
        let part = part(&head[..length])
            .filter(|_| finder.find(&head[..length]).is_none())
            .ok_or(Refusal::BodyNotMultipart)?;
        let start = at + 2 + length + 4;
        let end = end(body, start, &finder).ok_or(Refusal::BodyNotMultipart)?;
        match part.name {
            "model" if value.is_some() => return Err(Refusal::ModelTwice),
            "model" if !part.is_text => return Err(Refusal::BodyNotMultipart),
            "model" => value = Some(start..end),
            name if could_be_the_model(name) => {
                return Err(Refusal::MemberMisspelled { name: "model" });
            }
            // It says how the others are spelled.
            "_charset_" => return Err(Refusal::BodyNotMultipart),
            // Twice says nothing that can be read.
            "n" => {
                wants.n = Some(Said(match wants.n {
                    Some(_) => 0..0,
                    None => start..end,
                }));
            }
            "stream" if stream.is_some() => return Err(Refusal::BodyNotMultipart),
            "stream" => stream = Some(&body[start..end] == b"true"),
            name => {
                if let Ok(Some(name)) = misspelled(name.as_bytes()) {
                    return Err(Refusal::MemberMisspelled { name });
                }
            }
        }
        at = end + 2 + delimiter.len();
    }
    if !matches!(&body[at + 2..], b"" | b"\r\n") {
        return Err(Refusal::BodyNotMultipart);
    }
    let model = match &value {
        Some(at) => Some(
            std::str::from_utf8(&body[at.clone()])
                .map_err(|_| Refusal::ModelNotText)?
                .to_owned(),
        ),
        None => None,
    };
    Ok(Ask {
        model,
        stream: stream == Some(true),
        wants,
        place: ModelPlace::Multipart {
            value,
            boundary: boundary.to_owned(),
        },
        ..Ask::unread()
    })
}

/// Where the content ends that begins here: before the line end that belongs to the next delimiter. No reader may see a
/// delimiter anywhere else: one behind half a line end is one to some.
fn end(body: &[u8], start: usize, delimiter: &memmem::Finder<'_>) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + delimiter.find(&body[from..])?;
        let before = &body[start..at];
        if before.ends_with(b"\r\n") {
            return Some(at - 2);
        }
        if matches!(before.last(), None | Some(b'\r' | b'\n')) {
            return None;
        }
        from = at + 1;
    }
}

/// Whether some readers would take a field of this name for a model, or for one of several.
fn could_be_the_model(name: &str) -> bool {
    let (start, rest) = name.split_at_checked("model".len()).unwrap_or_default();
    start.eq_ignore_ascii_case("model") && rest.starts_with(['[', '.'])
}

/// What the head of a part says of it.
struct Part<'a> {
    name: &'a str,
    /// A value, and neither a file nor of another spelling.
    is_text: bool,
}

fn part(head: &[u8]) -> Option<Part<'_>> {
    let (mut found, mut is_typed, mut is_text, mut is_encoded) = (None, false, true, false);
    let mut rest = Some(head);
    while let Some(text) = rest {
        let line;
        (line, rest) = match memmem::find(text, b"\r\n") {
            Some(end) => (&text[..end], Some(&text[end + 2..])),
            None => (text, None),
        };
        if line
            .iter()
            .any(|byte| byte.is_ascii_control() && *byte != b'\t')
        {
            return None;
        }
        let (name, value) = line.split_at(word(line)?);
        let value = value.strip_prefix(b":")?.trim_ascii();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"content-disposition") {
            if found.replace(disposition(value)?).is_some() {
                return None;
            }
        } else if is(b"content-type") {
            if std::mem::replace(&mut is_typed, true) {
                return None;
            }
            // Its own parts, and their names, belong to the form for some readers.
            if has_parts(value) {
                return None;
            }
            is_text = is_plain_value(value);
        } else if is(b"content-transfer-encoding") {
            let plain: [&[u8]; 3] = [b"binary", b"8bit", b"7bit"];
            let is_plain = plain.iter().any(|plain| value.eq_ignore_ascii_case(plain));
            if std::mem::replace(&mut is_encoded, true) || !is_plain {
                return None;
            }
        } else if is(b"content-encoding") {
            return None;
        }
    }
    let (name, is_file) = found?;
    Some(Part {
        name,
        is_text: is_text && !is_file,
    })
}

/// Whether a part is made up of parts itself.
fn has_parts(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let kinds: [&[u8]; 2] = [b"multipart", b"message"];
    kinds
        .iter()
        .any(|kind| memmem::find(&lower, kind).is_some())
}

fn is_plain_value(content_type: &[u8]) -> bool {
    const PLAIN: &[u8] = b"text/plain";
    let (kind, parameters) = content_type.split_at(content_type.len().min(PLAIN.len()));
    kind.eq_ignore_ascii_case(PLAIN) && is_plain_text(parameters)
}

/// The name of a part, and whether it is a file.
fn disposition(value: &[u8]) -> Option<(&str, bool)> {
    let mut rest = value.strip_prefix(b"form-data")?;
    let (mut found, mut file, mut long_file) = (None, None, None);
    while !rest.is_empty() {
        let (name, value);
        (name, value, rest) = parameter(rest)?;
        let place = match name {
            b"name" => &mut found,
            b"filename" => &mut file,
            b"filename*" => &mut long_file,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let name = std::str::from_utf8(found?).ok()?;
    let is_one = !name.is_empty() && name.bytes().all(is_plain);
    is_one.then_some((name, file.or(long_file).is_some()))
}

#[cfg(test)]
mod tests;
