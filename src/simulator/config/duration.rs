//! Durations, as written in YAML.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration in YAML: `20ms`, `1s`, or a bare `0`.
#[derive(Clone, Copy, Debug)]
pub struct Pause(pub Duration);

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer).map(Self)
    }
}

pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Read;
    impl de::Visitor<'_> for Read {
        type Value = Duration;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration such as 20ms, 1s or 0")
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
            if number == 0 {
                Ok(Duration::ZERO)
            } else {
                Err(E::custom(format!(
                    "a duration needs a unit: write {number}ms or {number}s"
                )))
            }
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
            self.visit_u64(number.unsigned_abs())
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            if text == "0" {
                return Ok(Duration::ZERO);
            }
            humantime::parse_duration(text).map_err(|error| {
                E::custom(format!(
                    "{text:?} is not a duration like 20ms or 1s: {error}"
                ))
            })
        }
    }
    deserializer.deserialize_any(Read)
}
