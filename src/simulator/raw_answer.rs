//! An answer given byte by byte, past all that an honest server would do: over HTTP/1.1 only.
//!
//! The request is read as any other; then the connection is taken from hyper, these bytes are sent, and it ends as
//! told, or is given back for the next request.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes to send, and what becomes of the connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Status line, headers and the blank line behind them, unless the first piece has them.
    #[serde(default)]
    pub head: String,
    #[serde(default)]
    pub pieces: Vec<Piece>,
    #[serde(default)]
    pub end: RawEnd,
}

/// Sent at once, after its pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Piece {
    pub bytes: Bytes,
    pub pause: Duration,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawEnd {
    #[default]
    Close,
    Reset,
    /// It stays open for the next request.
    Keep,
}

/// A piece as it is written: its bytes as text, or in base64.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    pause_ms: u64,
}

impl TryFrom<Written> for Piece {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let bytes = match (written.text, written.base64) {
            (Some(text), None) => text.into(),
            (None, Some(text)) => BASE64_STANDARD
                .decode(text)
                .map_err(|error| format!("base64: {error}"))?
                .into(),
            _ => return Err("a piece has either text or base64".to_owned()),
        };
        Ok(Self {
            bytes,
            pause: Duration::from_millis(written.pause_ms),
        })
    }
}

impl From<Piece> for Written {
    fn from(piece: Piece) -> Self {
        let (text, base64) = match String::from_utf8(piece.bytes.to_vec()) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(&piece.bytes))),
        };
        Self {
            text,
            base64,
            pause_ms: u64::try_from(piece.pause.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Piece {
    fn from(bytes: T) -> Self {
        Self {
            bytes: bytes.into(),
            pause: Duration::ZERO,
        }
    }
}

impl Piece {
    /// The same, later.
    pub fn after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

impl Raw {
    /// This head and these pieces, and then the connection's end.
    pub fn new(head: impl Into<String>, pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self {
            head: head.into(),
            pieces: pieces.into_iter().collect(),
            end: RawEnd::default(),
        }
    }

    pub fn ends(self, end: RawEnd) -> Self {
        Self { end, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_reads_back_as_it_was_written_whatever_its_bytes() {
        let raw = Raw::new(
            "HTTP/1.1 200 OK\r\n\r\n",
            [
                Piece::from("text"),
                Piece::from(&b"\xff\x00"[..]).after(Duration::from_millis(5)),
            ],
        );
        let json = serde_json::to_string(&raw).unwrap();
        assert!(json.contains(r#""base64":"/wA=""#), "{json}");
        assert_eq!(serde_json::from_str::<Raw>(&json).unwrap(), raw);
    }

    #[test]
    fn a_piece_is_either_text_or_base64() {
        for wrong in ["{}", r#"{"text":"a","base64":"YQ=="}"#, r#"{"base64":"?"}"#] {
            assert!(serde_json::from_str::<Piece>(wrong).is_err(), "{wrong}");
        }
    }
}
