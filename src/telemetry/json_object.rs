//! A JSON object, written member by member. Its names are the gateway's own and plain: copied, and not looked through for
//! what has to be escaped, which costs a line more than its values do.

use std::time::Duration;

use serde::Serialize;
use serde_json::Result;

pub(super) struct Object<'a> {
    text: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    /// Appends an object with the members that `fill` gives it.
    pub(super) fn write(
        text: &mut Vec<u8>,
        fill: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        text.push(b'{');
        let is_empty = true;
        fill(&mut Object { text, is_empty })?;
        text.push(b'}');
        Ok(())
    }

    #[inline(always)]
    pub(super) fn member(
        &mut self,
        name: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<()> {
        serde_json::to_writer(self.name(name), value)
    }

    /// A member that is a time in milliseconds, to the microsecond, or `null`.
    pub(super) fn ms(
        &mut self,
        name: &'static str,
        value: impl Into<Option<Duration>>,
    ) -> Result<()> {
        let text = self.name(name);
        match value.into() {
            Some(time) => ms(time, text),
            None => serde_json::to_writer(text, &()),
        }
    }

    /// A member that is an object of its own, or `null`.
    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        value: Option<&T>,
        fill: impl FnOnce(&T, &mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        let text = self.name(name);
        match value {
            Some(value) => Object::write(text, |object| fill(value, object)),
            None => serde_json::to_writer(text, &()),
        }
    }

    /// A member that is a list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        values: &[T],
        fill: impl Fn(&T, &mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        let text = self.name(name);
        text.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            Object::write(text, |object| fill(value, object))?;
        }
        text.push(b']');
        Ok(())
    }

    // Where a name is written its length is known: it is copied without a call.
    #[inline(always)]
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push(b',');
        }
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.text
    }
}

/// Writes fields as members of the same names.
macro_rules! members {
    ($to:expr, $from:expr, $($name:ident),+ $(,)?) => {
        $($to.member(stringify!($name), &$from.$name)?;)+
    };
}
pub(super) use members;

/// As a number with a point: in whole numbers, which are many times as fast to write.
fn ms(time: Duration, text: &mut Vec<u8>) -> Result<()> {
    // Not by way of 128 bits, which is slow: half a million years of microseconds fit.
    let micros = time
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(u64::from(time.subsec_micros()));
    serde_json::to_writer(&mut *text, &(micros / 1000))?;
    let digit = |unit: u64| b'0' + (micros / unit % 10) as u8;
    let fraction = [b'.', digit(100), digit(10), digit(1)];
    let shown = match fraction {
        [_, _, b'0', b'0'] => 2,
        [_, _, _, b'0'] => 3,
        _ => 4,
    };
    text.extend_from_slice(&fraction[..shown]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn line(fill: impl FnOnce(&mut Object<'_>) -> Result<()>) -> String {
        let mut text = Vec::new();
        Object::write(&mut text, fill).unwrap();
        String::from_utf8(text).unwrap()
    }

    proptest! {
        #[test]
        fn any_time_is_written_as_serde_writes_its_milliseconds(
            micros in prop_oneof![0..5000_u64, 0..10_000_000_u64, 0..1_000_000_000_000_000_u64],
        ) {
            let line = line(|line| line.ms("a", Duration::from_micros(micros)));
            prop_assert_eq!(line, json!({ "a": micros as f64 / 1000.0 }).to_string());
        }
    }

    #[test]
    fn the_longest_time_is_a_number_too() {
        let line = line(|line| line.ms("a", Duration::MAX).and(line.ms("b", None)));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(value["a"].is_f64() && value["b"].is_null(), "{line}");
    }
}
