//! A request as it comes over the wire, before anything reads it: where its head ends, whether the head can be
//! trusted, and how its body is framed.
//!
//! Stricter than what parses a request after this: where two readers could see two requests in the same bytes, or a
//! request and the beginning of another, it is refused (RFC 9112, and RFC 9113 for HTTP/2). So whoever reads next, here
//! or at a deployment, has nothing left to understand otherwise.

mod characters;
mod chunked_body;
mod target;

use http::{HeaderMap, HeaderName, Method, Version, header};
use memchr::memchr;

use super::{bytes16::Bytes16, refusal::Refusal};
use characters::{TOKEN, is_token};
pub use chunked_body::Chunks;
use target::{absolute, is_authority, is_target};

/// Header lines of one request.
pub const MAX_LINES: usize = 100;
/// A request's path and query, in bytes: as much as Front Door lets through (wire facts: Front Door).
pub const MAX_TARGET: usize = 8192;
/// No method is as long.
const MAX_METHOD: usize = 32;

/// How a request's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; 0 also where the head says nothing of a body.
    Length(u64),
    Chunked,
}

/// What whoever passes a request on must know of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub framing: Framing,
    /// It asks to turn the connection into a WebSocket.
    pub is_upgrade: bool,
}

/// Looks for the end of a head while it arrives, at each byte once.
#[derive(Debug, Default)]
pub struct Search {
    seen: usize,
    /// Line ends so far.
    lines: usize,
}

impl Search {
    /// Where the head ends, its empty line included; `None`: not yet. `bytes` starts where the head does, and only grows
    /// from call to call. What no head may hold is refused as soon as it is there.
    pub fn end(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, Refusal> {
        while let Some(line) = bytes.get(self.seen..).filter(|line| !line.is_empty()) {
            let most = self.limit(max);
            let line = &line[..line.len().min(most.saturating_sub(self.seen))];
            self.seen += text(line);
            match bytes.get(self.seen..) {
                None | Some([]) => break,
                Some(_) if self.seen >= most => return Err(self.too_long()),
                // What follows is not there yet.
                Some([b'\r']) => break,
                Some([b'\r', b'\n', ..]) => {
                    let is_empty = bytes[..self.seen].ends_with(b"\r\n");
                    self.seen += 2;
                    self.lines += 1;
                    if is_empty {
                        return Ok(Some(self.seen));
                    }
                    if self.seen > max || self.lines > MAX_LINES + 1 {
                        return Err(Refusal::HeadersTooLarge);
                    }
                }
                Some(_) => return Err(Refusal::MalformedRequest),
            }
        }
        Ok(None)
    }

    /// How far the line may go that is being read.
    fn limit(&self, max: usize) -> usize {
        match self.lines {
            // The method and the version come on top.
            0 => MAX_TARGET + MAX_METHOD + 12,
            _ => max,
        }
    }

    /// What the line is beyond that.
    fn too_long(&self) -> Refusal {
        match self.lines {
            0 => Refusal::UriTooLong,
            _ => Refusal::HeadersTooLarge,
        }
    }
}

/// How far these bytes may stand in a line.
fn text(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(bytes) = bytes[at..].first_chunk() {
        let next = Bytes16::of(*bytes);
        match (next.below(b' ') | next.equal(0x7f)).first() {
            None => at += bytes.len(),
            Some(found) if is_text(bytes[found]) => at += found + 1,
            Some(found) => return at + found,
        }
    }
    let end = bytes[at..].iter().position(|byte| !is_text(*byte));
    end.map_or(bytes.len(), |end| at + end)
}

/// What may stand in a line.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Reads a whole HTTP/1 head, its empty line included, as [`Search`] found it.
pub fn read(bytes: &[u8], max: usize) -> Result<Head, Refusal> {
    let lines = bytes.strip_suffix(b"\r\n");
    let (first, mut lines) = lines.and_then(line).ok_or(Refusal::MalformedRequest)?;
    let (target, version) = request_line(first)?;
    if bytes.len() > max {
        return Err(Refusal::HeadersTooLarge);
    }
    let mut fields = Fields::default();
    while !lines.is_empty() {
        let (name, rest) = lines.split_at(TOKEN.span(lines));
        // Also a line that goes on with the one before (it starts with a blank), and a blank before the colon.
        let value = rest.strip_prefix(b":").filter(|_| !name.is_empty());
        let Some((value, rest)) = value.and_then(line) else {
            return Err(Refusal::MalformedRequest);
        };
        fields.add(name, trimmed(value));
        lines = rest;
    }
    fields.judge(target, version)
}

/// What stands before and behind the first line end.
fn line(lines: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = lines.split_at(text(lines));
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// What stands before and behind the first such byte.
fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = memchr(at, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// What the first line of a head seems to ask for, for the log of one that was refused: method and path, the query
/// left out because it may hold a key.
pub fn glimpse(bytes: &[u8]) -> Option<(Method, String)> {
    const SHOWN: usize = 256;
    let line = bytes
        .split(|byte| *byte == b'\r' || *byte == b'\n')
        .next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let method = Some(method).filter(|method| is_token(method) && method.len() <= MAX_METHOD)?;
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let path = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]).into_owned();
    Some((Method::from_bytes(method).ok()?, path))
}

fn request_line(line: &[u8]) -> Result<(&[u8], Version), Refusal> {
    let (method, rest) = split(line, b' ').ok_or(Refusal::MalformedRequest)?;
    let (target, version) = split(rest, b' ').ok_or(Refusal::MalformedRequest)?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Refusal::MalformedRequest),
    };
    if !is_token(method) || method.len() > MAX_METHOD {
        return Err(Refusal::MalformedRequest);
    }
    if target.len() > MAX_TARGET {
        return Err(Refusal::UriTooLong);
    }
    if method == b"CONNECT" {
        return Err(Refusal::MethodNotAllowed { allow: "" });
    }
    Ok((target, version))
}

/// The header lines that say where a request goes and where it ends; all others only have to be well formed.
#[derive(Default)]
struct Fields<'a> {
    host: Once<'a>,
    length: Once<'a>,
    coding: Once<'a>,
    expect: Once<'a>,
    upgrade: Option<&'a [u8]>,
    /// `Connection` names what no request may do without, or says what is no name.
    is_odd: bool,
    /// `Connection` asks for an upgrade.
    asks_upgrade: bool,
}

/// What a header says that stands once at most.
#[derive(Clone, Copy, Default)]
enum Once<'a> {
    #[default]
    Never,
    Said(&'a [u8]),
    Twice,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Never => Self::Said(value),
            _ => Self::Twice,
        };
    }

    fn read(headers: &'a HeaderMap, name: HeaderName) -> Self {
        let mut said = Self::Never;
        let values = headers.get_all(name).iter();
        values.for_each(|value| said.add(value.as_bytes()));
        said
    }
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // Most names differ in their length already.
        match name.len() {
            4 if is(b"host") => self.host.add(value),
            6 if is(b"expect") => self.expect.add(value),
            7 if is(b"upgrade") => self.upgrade = Some(value),
            10 if is(b"connection") => self.nominate(value),
            14 if is(b"content-length") => self.length.add(value),
            17 if is(b"transfer-encoding") => self.coding.add(value),
            _ => {}
        }
    }

    /// A request whose `Connection` names what the request is read by would be another one without it.
    fn nominate(&mut self, connection: &[u8]) {
        const NEVER: [&[u8]; 7] = [
            b"host",
            b"content-length",
            b"content-type",
            b"transfer-encoding",
            b"authorization",
            b"api-key",
            b"x-azure-fdid",
        ];
        let words = connection.split(|byte| *byte == b',').map(trimmed);
        for word in words.filter(|word| !word.is_empty()) {
            let is = |known: &&[u8]| word.eq_ignore_ascii_case(known);
            self.is_odd |= !is_token(word) || NEVER.iter().any(is);
            self.asks_upgrade |= is(&&b"upgrade"[..]);
        }
    }

    fn judge(self, target: &[u8], version: Version) -> Result<Head, Refusal> {
        self.authority(target, version)?;
        expectation(self.expect, version)?;
        if self.is_odd {
            return Err(Refusal::MalformedRequest);
        }
        let framing = framing(self.length, self.coding, version)?;
        let upgrade = self.upgrade.unwrap_or_default();
        let is_upgrade = upgrade.eq_ignore_ascii_case(b"websocket") && self.asks_upgrade;
        Ok(Head {
            framing,
            is_upgrade: is_upgrade && version == Version::HTTP_11 && framing == Framing::Length(0),
        })
    }

    fn authority(&self, target: &[u8], version: Version) -> Result<(), Refusal> {
        let host = match self.host {
            Once::Never if version == Version::HTTP_10 => None,
            Once::Said(host) if is_authority(host) => Some(host),
            _ => return Err(Refusal::AmbiguousHost),
        };
        let path = match absolute(target) {
            None => target,
            Some((authority, path)) => {
                let is_same = host.is_none_or(|host| host == authority);
                if !is_authority(authority) || !is_same {
                    return Err(Refusal::AmbiguousHost);
                }
                path
            }
        };
        is_target(path)
            .then_some(())
            .ok_or(Refusal::MalformedRequest)
    }
}

fn framing(length: Once<'_>, coding: Once<'_>, version: Version) -> Result<Framing, Refusal> {
    let framing = match (length, coding) {
        (Once::Never, Once::Never) => Some(Framing::Length(0)),
        (Once::Said(length), Once::Never) => digits(length).map(Framing::Length),
        (Once::Never, Once::Said(coding))
            if version == Version::HTTP_11 && coding.eq_ignore_ascii_case(b"chunked") =>
        {
            Some(Framing::Chunked)
        }
        _ => None,
    };
    framing.ok_or(Refusal::AmbiguousFraming)
}

/// A length as RFC 9110 writes it: digits, nothing else, and no more than fit.
fn digits(value: &[u8]) -> Option<u64> {
    let is_plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_plain)?;
    text.parse::<i64>().ok()?.try_into().ok()
}

/// HTTP/1.0 knows no expectations: what it sends is passed over.
fn expectation(expect: Once<'_>, version: Version) -> Result<(), Refusal> {
    match expect {
        _ if version == Version::HTTP_10 => Ok(()),
        Once::Never => Ok(()),
        Once::Said(one) if one.eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Refusal::ExpectationFailed),
    }
}

fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// The characters of a method or a header's name (RFC 9110, 5.6.2).
/// Judges a head that HTTP/2 carried: the same limits and the same target; its frames say where it ends.
pub fn check(method: &Method, path: &[u8], headers: &HeaderMap, max: usize) -> Result<(), Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed { allow: "" });
    }
    if path.len() > MAX_TARGET {
        return Err(Refusal::UriTooLong);
    }
    let lines = headers.iter();
    let size: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if headers.len() > MAX_LINES || size + path.len() > max {
        return Err(Refusal::HeadersTooLarge);
    }
    if !is_target(path) {
        return Err(Refusal::MalformedRequest);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    if hosts.any(|host| !is_authority(host.as_bytes())) {
        return Err(Refusal::AmbiguousHost);
    }
    expectation(Once::read(headers, header::EXPECT), Version::HTTP_2)?;
    let length = Once::read(headers, header::CONTENT_LENGTH);
    framing(length, Once::Never, Version::HTTP_2).map(|_| ())
}

#[cfg(test)]
mod tests;
