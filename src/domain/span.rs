//! Durations in words, with no more digits than anybody acts on.

use std::{fmt, time::Duration};

/// Rounded: `8 s`, `5 min`, `3 h`, `4 days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// In seconds, to tenths, for fields that machines read.
    pub fn seconds(self) -> f64 {
        (self.0.as_secs_f64() * 10.0).round() / 10.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            // What is left of a second is told as one.
            0..120 => write!(f, "{} s", self.0.as_secs_f64().ceil()),
            120..7200 => write!(f, "{} min", seconds / 60),
            7200..172_800 => write!(f, "{} h", seconds / 3600),
            _ => write!(f, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_no_more_digits_than_anybody_acts_on() {
        let said = |millis| Span(Duration::from_millis(millis)).to_string();
        for (millis, text) in [
            (0, "0 s"),
            (1, "1 s"),
            (9_998, "10 s"),
            (119_999, "120 s"),
            (120_000, "2 min"),
            (7_199_000, "119 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(said(millis), text);
        }
        assert_eq!(Span(Duration::from_micros(9_998_765)).seconds(), 10.0);
        assert_eq!(Span(Duration::from_millis(250)).seconds(), 0.3);
    }
}
