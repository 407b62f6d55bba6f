//! What can go wrong on purpose, and whether it does for this request.
//!
//! A [`Fault`] is set on a deployment or on a whole instance; a [`FaultSlot`] holds the one that is set and
//! decides, with the time and the chance given to it. Carrying a fault out is `handler/inject_fault.rs`'s and `body.rs`'s matter.

mod error_event;
mod kind;
mod odd_usage;

pub use error_event::{ErrorForm, ErrorType, StreamEnd, StreamError};
pub use kind::{FaultKind, Wording};
pub use odd_usage::OddUsage;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

/// What happens, how often, and how likely.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Clears itself after so many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// 0 to 1; absent: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self {
            kind,
            times: None,
            probability: None,
        }
    }
}

impl Fault {
    /// A fault from the control endpoint's JSON; the error says what is allowed.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// An answer of this status, in Azure's shape.
    pub fn status(status: u16) -> Self {
        FaultKind::Status {
            status,
            headers: BTreeMap::new(),
            body: None,
        }
        .into()
    }

    /// The same fault, for so many requests only.
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// The same fault, for this share of requests only.
    pub fn probability(self, probability: f64) -> Self {
        Self {
            probability: Some(probability),
            ..self
        }
    }
}

/// By hand, since serde can't refuse unknown fields beside flattened ones.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let mut number = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| de::Error::custom(format!("{name}: {value} is not a number"))),
        };
        let (times, probability) = (number("times")?, number("probability")?);
        if probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(de::Error::custom("probability: use 0 to 1"));
        }
        if times.is_some_and(|n| n < 1.0 || n.fract() != 0.0) {
            return Err(de::Error::custom("times: use a whole number from 1"));
        }
        let kind: FaultKind =
            serde_json::from_value(Value::Object(fields)).map_err(de::Error::custom)?;
        kind.check().map_err(de::Error::custom)?;
        Ok(Self {
            kind,
            times: times.map(|n| n as u64),
            probability,
        })
    }
}

/// The fault that is set on one deployment, or on one instance.
#[derive(Debug, Default)]
pub(crate) struct FaultSlot(Mutex<Option<Armed>>);

#[derive(Debug)]
struct Armed {
    fault: Fault,
    since: Instant,
}

impl FaultSlot {
    pub(crate) fn new(fault: Option<Fault>, now: Instant) -> Self {
        let fault_slot = Self::default();
        fault_slot.set(fault, now);
        fault_slot
    }

    pub(crate) fn set(&self, fault: Option<Fault>, now: Instant) {
        *self.0.lock() = fault.map(|fault| Armed { fault, since: now });
    }

    pub(crate) fn current(&self) -> Option<Fault> {
        self.0.lock().as_ref().map(|armed| armed.fault.clone())
    }

    /// What happens to a request that comes now, of the faults that `concern` its stage.
    pub(crate) fn draw(
        &self,
        now: Instant,
        rng: &mut fastrand::Rng,
        concern: impl Fn(&FaultKind) -> bool,
    ) -> Option<FaultKind> {
        let mut slot = self.0.lock();
        let armed = slot.as_mut()?;
        if !concern(&armed.fault.kind) {
            return None;
        }
        let mut kind = armed.fault.kind.clone();
        if let FaultKind::Throttle { seconds } = &mut kind {
            let left = Duration::from_secs_f64(*seconds)
                .saturating_sub(now.saturating_duration_since(armed.since));
            if left.is_zero() {
                *slot = None;
                return None;
            }
            *seconds = left.as_secs_f64();
        }
        if armed.fault.probability.is_some_and(|p| rng.f64() >= p) {
            return None;
        }
        if let Some(times) = &mut armed.fault.times {
            *times -= 1;
            if *times == 0 {
                *slot = None;
            }
        }
        Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(fault_slot: &FaultSlot, now: Instant) -> Option<FaultKind> {
        fault_slot.draw(now, &mut fastrand::Rng::with_seed(1), |_| true)
    }

    #[test]
    fn a_fault_with_times_clears_itself() {
        let (now, fault_slot) = (Instant::now(), FaultSlot::default());
        fault_slot.set(Some(Fault::status(503).times(2)), now);
        assert!(draw(&fault_slot, now).is_some() && draw(&fault_slot, now).is_some());
        assert_eq!(draw(&fault_slot, now), None);
    }

    #[test]
    fn a_throttle_counts_down_and_ends_by_itself() {
        let (now, fault_slot) = (Instant::now(), FaultSlot::default());
        fault_slot.set(Some(FaultKind::Throttle { seconds: 5.0 }.into()), now);
        assert_eq!(
            draw(&fault_slot, now + Duration::from_secs(2)),
            Some(FaultKind::Throttle { seconds: 3.0 })
        );
        assert_eq!(draw(&fault_slot, now + Duration::from_secs(5)), None);
        assert_eq!(fault_slot.current(), None);
    }

    #[test]
    fn a_probability_strikes_its_share_of_requests() {
        let (now, fault_slot) = (Instant::now(), FaultSlot::default());
        fault_slot.set(Some(Fault::status(500).probability(0.2)), now);
        let mut rng = fastrand::Rng::with_seed(7);
        let struck = (0..10_000)
            .filter(|_| fault_slot.draw(now, &mut rng, |_| true).is_some())
            .count();
        assert!((1_850..2_150).contains(&struck), "{struck}");
    }

    #[test]
    fn a_fault_of_another_stage_is_neither_drawn_nor_counted() {
        let (now, fault_slot) = (Instant::now(), FaultSlot::default());
        fault_slot.set(Some(Fault::status(500).times(1)), now);
        assert_eq!(
            fault_slot.draw(now, &mut fastrand::Rng::with_seed(1), FaultKind::is_early),
            None
        );
        assert!(draw(&fault_slot, now).is_some());
    }

    #[test]
    fn a_wrong_fault_is_told_what_would_be_right() {
        let error = |json: &str| Fault::parse(json.as_bytes()).unwrap_err();
        assert!(error(r#"{"kind":"explode"}"#).contains("reset_mid_stream"));
        assert!(error(r#"{"kind":"status","status":503,"retry":1}"#).contains("`headers`"));
        assert!(error(r#"{"kind":"reset","after":1}"#).contains("after"));
        assert!(error(r#"{"kind":"hang","probability":2}"#).contains("0 to 1"));
        assert!(error(r#"{"kind":"status","status":99}"#).contains("200 to 599"));
        assert!(error(r#"{"kind":"stream_error","shape":"x"}"#).contains("`form`"));
        assert!(error(r#"{"kind":"raw","body":"x"}"#).contains("`pieces`"));
    }

    #[test]
    fn a_fault_reads_back_as_it_was_written() {
        for json in [
            r#"{"kind":"stream_error","after_events":2,"event":"data: {}","times":3}"#,
            r#"{"kind":"stream_error","form":"root_typed","type":"server_error","code":"x","end":"reset"}"#,
            r#"{"kind":"raw","head":"HTTP/1.1 200 OK\r\n\r\n","pieces":[{"text":"a","pause_ms":3}],"end":"keep"}"#,
            r#"{"kind":"throttle_in_words","wording":"please_wait","seconds":3}"#,
            r#"{"kind":"silent","ms":250}"#,
        ] {
            let fault = Fault::parse(json.as_bytes()).unwrap();
            let written = serde_json::to_vec(&fault).unwrap();
            assert_eq!(Fault::parse(&written).unwrap(), fault, "{json}");
        }
    }
}
