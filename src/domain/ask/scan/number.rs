//! The grammar of a JSON number, byte by byte.

use super::text::NotJson;

/// The last part of a number that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    /// The part that a number begins with; `None`: no number begins like this.
    pub(super) fn begun_by(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Whole),
            _ => None,
        }
    }

    /// The part that this byte belongs to; `None`: the number has ended before it.
    pub(super) fn followed_by(self, byte: u8) -> Result<Option<Self>, NotJson> {
        use Number::*;
        Ok(Some(match (self, byte) {
            (Minus, b'0') => Zero,
            (Minus | Whole, b'1'..=b'9') | (Whole, b'0') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => E,
            (E, b'+' | b'-') => Sign,
            (E | Sign | Exponent, b'0'..=b'9') => Exponent,
            (Zero | Whole | Fraction | Exponent, _) => return Ok(None),
            _ => return Err(NotJson),
        }))
    }
}
