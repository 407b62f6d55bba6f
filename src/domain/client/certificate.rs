//! Whom a client's certificate stands for. The certificate itself was verified in the TLS handshake; here its names
//! are looked up, exactly as they are written: no wildcard is expanded, and no name is taken for another.

use std::{path::PathBuf, time::SystemTime};

use thiserror::Error;

/// A certificate with more names than these is nobody's: looking them up must not take long.
const MOST_NAMES: usize = 64;

/// One of the names that a certificate can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The whole subject.
    Subject(Subject),
    /// The subject's common name, where it has exactly one.
    CommonName(String),
    /// A subject alternative name of the kind `DNS`, in lower case.
    Dns(String),
    /// A subject alternative name of the kind `URI`, like `spiffe://contoso/batch`.
    Uri(String),
    /// A subject alternative name of the kind `email`.
    Email(String),
}

/// What a certificate must be to stand for somebody: it has this name, and one of these authorities has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Name,
    /// The file that names them (PEM). `None`: those of the listener that it is shown to, where all listeners have but
    /// one: two authorities may give one name to different bearers.
    pub ca: Option<PathBuf>,
}

/// A subject's attributes by object identifier, the most specific first, as RFC 4514 writes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(Vec<(String, String)>);

/// What a verified certificate says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub(super) names: Vec<Name>,
    pub(super) until: SystemTime,
    /// Of the entries' files, those whose authorities have signed it.
    signed_by: Vec<PathBuf>,
}

/// Why a text is no name. The message says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("this is empty, or has a control character")]
    Text,
    #[error("wildcards are not expanded; write the whole name")]
    Wildcard,
    #[error("a DNS name has letters, digits, dots and hyphens; write other scripts as xn--…")]
    Dns,
    #[error("a URI starts with its scheme, like spiffe://contoso/batch")]
    Uri,
    #[error("an email address has one @")]
    Email,
    #[error(
        "a subject is written like CN=batch,OU=AI,O=Contoso (`openssl x509 -noout -subject -nameopt RFC2253` prints it)"
    )]
    Subject,
    #[error("a subject that joins two values by + can't be matched; use another name")]
    Joined,
}

/// Why a certificate lets nobody in, although its authority is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It has ended since its connection was opened.
    Ended,
    /// Its names belong to more than one client.
    Ambiguous,
}

/// The short words that RFC 4514 and OpenSSL have for attributes.
const ATTRIBUTES: [(&str, &str); 14] = [
    ("CN", COMMON_NAME),
    ("SN", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("GN", "2.5.4.42"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];
const COMMON_NAME: &str = "2.5.4.3";

impl Name {
    pub fn common_name(text: &str) -> Result<Self, NameError> {
        Ok(Self::CommonName(plain(text)?.to_owned()))
    }

    /// Upper and lower case are one, as DNS has it.
    pub fn dns(text: &str) -> Result<Self, NameError> {
        match plain(text)? {
            text if text.contains('*') => Err(NameError::Wildcard),
            text if text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) =>
            {
                Ok(Self::Dns(text.to_ascii_lowercase()))
            }
            _ => Err(NameError::Dns),
        }
    }

    pub fn uri(text: &str) -> Result<Self, NameError> {
        let (scheme, rest) = plain(text)?.split_once(':').ok_or(NameError::Uri)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let fits = is_scheme && !rest.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self::Uri(text.to_owned()))
            .ok_or(NameError::Uri)
    }

    pub fn email(text: &str) -> Result<Self, NameError> {
        let (local, domain) = plain(text)?.split_once('@').ok_or(NameError::Email)?;
        let fits = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        let fits = fits && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self::Email(text.to_owned()))
            .ok_or(NameError::Email)
    }

    /// Reads RFC 4514, as in `CN=batch,OU=AI,O=Contoso`.
    pub fn subject(text: &str) -> Result<Self, NameError> {
        Subject::parse(plain(text)?).map(Self::Subject)
    }

    /// The common name that a certificate of this name has, where that is known.
    pub fn common(&self) -> Option<&str> {
        match self {
            Self::CommonName(name) => Some(name),
            Self::Subject(subject) => subject.common_name().map(String::as_str),
            Self::Dns(_) | Self::Uri(_) | Self::Email(_) => None,
        }
    }

    /// Whether one certificate could be both this and the other, which need not be the same.
    pub fn may_be_one_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Subject(subject), Self::CommonName(name))
            | (Self::CommonName(name), Self::Subject(subject)) => {
                subject.common_name() == Some(name)
            }
            _ => self == other,
        }
    }
}

fn plain(text: &str) -> Result<&str, NameError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        Err(NameError::Text)
    } else {
        Ok(text)
    }
}

impl Subject {
    /// From attributes as the certificate has them: the least specific first, each by its object identifier.
    fn from_attributes(attributes: &[(String, String)]) -> Self {
        Self(attributes.iter().rev().cloned().collect())
    }

    fn common_name(&self) -> Option<&String> {
        let mut names = self.0.iter().filter(|(kind, _)| kind == COMMON_NAME);
        match (names.next(), names.next()) {
            (Some((_, name)), None) => Some(name),
            _ => None,
        }
    }

    fn parse(text: &str) -> Result<Self, NameError> {
        let mut attributes = Vec::new();
        let mut rest = text;
        loop {
            let (kind, value) = rest.split_once('=').ok_or(NameError::Subject)?;
            let kind = identifier(kind.trim_start()).ok_or(NameError::Subject)?;
            let (value, after) = value_of(value)?;
            attributes.push((kind, value));
            match after {
                Some(after) => rest = after,
                None => return Ok(Self(attributes)),
            }
        }
    }
}

/// An attribute's object identifier, from its short word or from itself.
fn identifier(word: &str) -> Option<String> {
    let known = ATTRIBUTES
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(word));
    if let Some((_, identifier)) = known {
        return Some((*identifier).to_owned());
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (word.contains('.') && word.split('.').all(is_number)).then(|| word.to_owned())
}

/// A value up to its comma, its escapes undone, and what stands behind the comma.
fn value_of(text: &str) -> Result<(String, Option<&str>), NameError> {
    let (mut value, mut bytes) = (Vec::new(), text.bytes().enumerate());
    let mut rest = None;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b',' => {
                rest = Some(&text[at + 1..]);
                break;
            }
            b'+' => return Err(NameError::Joined),
            b'"' | b'<' | b'>' | b';' => return Err(NameError::Subject),
            b'\\' => {
                let (_, next) = bytes.next().ok_or(NameError::Subject)?;
                match char::from(next).to_digit(16) {
                    Some(_) => {
                        bytes.next();
                        let mut byte = [0];
                        let digits = text.get(at + 1..at + 3).ok_or(NameError::Subject)?;
                        hex::decode_to_slice(digits, &mut byte).map_err(|_| NameError::Subject)?;
                        value.push(byte[0]);
                    }
                    None if b",+\"\\<>;#= ".contains(&next) => value.push(next),
                    None => return Err(NameError::Subject),
                }
            }
            other => value.push(other),
        }
    }
    let value = String::from_utf8(value).map_err(|_| NameError::Subject)?;
    // `#` starts a value in hexadecimal, which nobody writes by hand.
    if value.is_empty() || text.starts_with('#') || plain(&value).is_err() {
        return Err(NameError::Subject);
    }
    Ok((value, rest))
}

impl Certificate {
    /// `subject`: the attributes in the certificate's order, by object identifier; `None` where one of them can't be
    /// read as text, or two are joined. `others`: the alternative names that could be read. `until`: when it ends.
    pub fn new(
        subject: Option<&[(String, String)]>,
        others: impl IntoIterator<Item = Name>,
        until: SystemTime,
    ) -> Self {
        let mut names: Vec<Name> = others.into_iter().take(MOST_NAMES + 1).collect();
        if let Some(attributes) = subject.filter(|attributes| !attributes.is_empty()) {
            let subject = Subject::from_attributes(attributes);
            let common_name = subject.common_name().map(|name| Name::common_name(name));
            names.extend(common_name.and_then(Result::ok));
            names.push(Name::Subject(subject));
        }
        if names.len() > MOST_NAMES {
            names.clear();
        }
        let signed_by = Vec::new();
        Self {
            names,
            until,
            signed_by,
        }
    }

    /// The same, signed by the authorities that these files name.
    pub fn signed_by(self, signed_by: Vec<PathBuf>) -> Self {
        Self { signed_by, ..self }
    }

    pub(super) fn is_signed_by(&self, ca: Option<&PathBuf>) -> bool {
        ca.is_none_or(|ca| self.signed_by.contains(ca))
    }

    /// Whether it is one of these, and has not ended.
    pub fn is_any_of(&self, entries: &[Entry], now: SystemTime) -> bool {
        let fits = |entry: &Entry| {
            self.names.contains(&entry.name) && self.is_signed_by(entry.ca.as_ref())
        };
        now <= self.until && entries.iter().any(fits)
    }
}

#[cfg(test)]
mod tests;
