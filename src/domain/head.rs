//! A request as it comes over the wire, before anything reads it: where its head ends, whether the head can be
//! trusted, and how its body is framed.
//!
//! Stricter than what parses a request after this: where two readers could see two requests in the same bytes, or a
//! request and the beginning of another, it is refused (RFC 9112, and RFC 9113 for HTTP/2). So whoever reads next, here
//! or at a deployment, has nothing left to understand otherwise.

mod chunks;
mod target;

use http::{HeaderMap, HeaderName, Method, Version, header};

use super::refusal::Refusal;
pub use chunks::Chunks;
use target::{absolute, is_authority, is_target};

/// Header lines of one request.
pub const MAX_LINES: usize = 100;
/// A request's path and query, in bytes: as much as Front Door lets through (AZURE.md 13).
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
            let (most, too_long) = self.limit(max);
            let line = &line[..line.len().min(most.saturating_sub(self.seen))];
            let text = line.iter().position(|byte| !is_text(*byte));
            self.seen += text.unwrap_or(line.len());
            match bytes.get(self.seen..) {
                None | Some([]) => break,
                Some(_) if self.seen >= most => return Err(too_long),
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

    /// How far the line may go that is being read, and what it is beyond that.
    fn limit(&self, max: usize) -> (usize, Refusal) {
        match self.lines {
            // The method and the version come on top.
            0 => (MAX_TARGET + MAX_METHOD + 12, Refusal::UriTooLong),
            _ => (max, Refusal::HeadersTooLarge),
        }
    }
}

/// What may stand in a line.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Reads a whole HTTP/1 head, its empty line included, as [`Search`] found it.
pub fn read(bytes: &[u8], max: usize) -> Result<Head, Refusal> {
    let mut lines = bytes
        .strip_suffix(b"\r\n\r\n")
        .ok_or(Refusal::MalformedRequest)?
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (target, version) = request_line(lines.next().unwrap_or_default())?;
    if bytes.len() > max {
        return Err(Refusal::HeadersTooLarge);
    }
    let mut fields = Fields::default();
    for line in lines {
        fields.add(line)?;
    }
    fields.judge(target, version)
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
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::MalformedRequest);
    };
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
        return Err(Refusal::MethodNotAllowed);
    }
    Ok((target, version))
}

/// The header lines that say where a request goes and where it ends; all others only have to be well formed.
#[derive(Default)]
struct Fields<'a> {
    hosts: Vec<&'a [u8]>,
    lengths: Vec<&'a [u8]>,
    codings: Vec<&'a [u8]>,
    expects: Vec<&'a [u8]>,
    connection: Vec<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(Refusal::MalformedRequest)?);
        // Also a line that goes on with the one before (it starts with a blank), and a blank before the colon.
        if !is_token(name) {
            return Err(Refusal::MalformedRequest);
        }
        let value = trimmed(&value[1..]);
        let is = |known: HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
        match () {
            () if is(header::HOST) => self.hosts.push(value),
            () if is(header::CONTENT_LENGTH) => self.lengths.push(value),
            () if is(header::TRANSFER_ENCODING) => self.codings.push(value),
            () if is(header::EXPECT) => self.expects.push(value),
            () if is(header::CONNECTION) => self.connection.push(value),
            () if is(header::UPGRADE) => self.upgrade = Some(value),
            () => {}
        }
        Ok(())
    }

    fn judge(self, target: &[u8], version: Version) -> Result<Head, Refusal> {
        self.authority(target, version)?;
        expectation(&self.expects, version)?;
        nominations(&self.connection)?;
        let framing = framing(&self.lengths, &self.codings, version)?;
        let asks = |word: &[u8]| tokens(&self.connection).any(|t| t.eq_ignore_ascii_case(word));
        let upgrade = self.upgrade.unwrap_or_default();
        let is_upgrade = upgrade.eq_ignore_ascii_case(b"websocket") && asks(b"upgrade");
        Ok(Head {
            framing,
            is_upgrade: is_upgrade && version == Version::HTTP_11 && framing == Framing::Length(0),
        })
    }

    fn authority(&self, target: &[u8], version: Version) -> Result<(), Refusal> {
        let host = match self.hosts.as_slice() {
            [] if version == Version::HTTP_10 => None,
            [host] if is_authority(host) => Some(*host),
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

fn framing(lengths: &[&[u8]], codings: &[&[u8]], version: Version) -> Result<Framing, Refusal> {
    let framing = match (lengths, codings) {
        ([], []) => Some(Framing::Length(0)),
        ([length], []) => digits(length).map(Framing::Length),
        ([], [coding])
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
fn expectation(expects: &[&[u8]], version: Version) -> Result<(), Refusal> {
    match expects {
        _ if version == Version::HTTP_10 => Ok(()),
        [] => Ok(()),
        [one] if one.eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Refusal::ExpectationFailed),
    }
}

/// A request whose `Connection` names what the request is read by would be another one without it.
fn nominations(connection: &[&[u8]]) -> Result<(), Refusal> {
    const NEVER: [&[u8]; 7] = [
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"authorization",
        b"api-key",
        b"x-azure-fdid",
    ];
    let is_odd = tokens(connection).any(|token| {
        !is_token(token) || NEVER.iter().any(|never| token.eq_ignore_ascii_case(never))
    });
    match is_odd {
        true => Err(Refusal::MalformedRequest),
        false => Ok(()),
    }
}

/// The words of a comma-separated list, in all its lines.
fn tokens<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let words = lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b','));
    words.map(trimmed).filter(|word| !word.is_empty())
}

fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// The characters of a method or a header's name (RFC 9110, 5.6.2).
fn is_token(word: &[u8]) -> bool {
    static FITS: Characters = Characters::alphanumeric_and(b"!#$%&'*+-.^_`|~");
    !word.is_empty() && FITS.all(word)
}

/// A set of bytes: one look-up for each byte of a head, and not one comparison for each that it might be.
struct Characters([bool; 256]);

impl Characters {
    const fn alphanumeric_and(others: &[u8]) -> Self {
        let (mut set, mut byte, mut other) = ([false; 256], 0, 0);
        while byte < set.len() {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        while other < others.len() {
            set[others[other] as usize] = true;
            other += 1;
        }
        Self(set)
    }

    fn all(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.0[usize::from(*byte)])
    }
}

/// Judges a head that HTTP/2 carried: the same limits and the same target; its frames say where it ends.
pub fn check(method: &Method, path: &[u8], headers: &HeaderMap, max: usize) -> Result<(), Refusal> {
    if method == Method::CONNECT {
        return Err(Refusal::MethodNotAllowed);
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
    let all = |name| -> Vec<&[u8]> {
        let values = headers.get_all(name).iter();
        values.map(|value| value.as_bytes()).collect()
    };
    if all(header::HOST).iter().any(|host| !is_authority(host)) {
        return Err(Refusal::AmbiguousHost);
    }
    expectation(&all(header::EXPECT), Version::HTTP_2)?;
    framing(&all(header::CONTENT_LENGTH), &[], Version::HTTP_2).map(|_| ())
}

#[cfg(test)]
mod tests;
