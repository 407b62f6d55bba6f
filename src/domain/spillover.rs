//! Azure's own spillover (wire facts: Spillover): what a provisioned deployment can't serve, another one of its instance does,
//! and the answer's headers say so. What they say changed in June 2026; both forms are read.
//!
//! A wait, a fault and what is left of a limit belong to the deployment that answered. Of the one that was asked the
//! headers tell a status at most, and never its wait.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::outcome::{Fault, Outcome};

const SPILLED_FROM: HeaderName = HeaderName::from_static("x-ms-spillover-from-deployment");
const SPILLOVER_ERROR: HeaderName = HeaderName::from_static("x-ms-spillover-error");

/// How long a provisioned deployment is left alone that was full and whose spillover deployment can't serve either: it does
/// not say its own wait. Nine of ten that are told are shorter.
const FULL_FOR: Duration = Duration::from_millis(100);

/// What an answer says of its deployment's own spillover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spillover {
    /// The answer, good or bad, is the spillover deployment's. `own`: the status that the one that was asked had; not told
    /// before June 2026.
    Answered { own: Option<u16> },
    /// It failed too, and the answer is that of the deployment that was asked (the form before June 2026).
    Failed,
}

impl Spillover {
    /// `None`: the answer has nothing to do with it.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let error = headers.get(SPILLOVER_ERROR);
        if !headers.contains_key(SPILLED_FROM) {
            return error.map(|_| Self::Failed);
        }
        let own = error.and_then(|error| error.to_str().ok()).and_then(status);
        Some(Self::Answered { own })
    }

    /// What an answer that means `answered` says of the deployment that was asked.
    pub fn own(self, answered: &Outcome) -> Outcome {
        let Self::Answered { own } = self else {
            return *answered;
        };
        if is_of_both(answered) {
            return *answered;
        }
        match own {
            Some(code @ (408 | 424 | 500..=599)) => Outcome::fault(Fault::of_status(code)),
            // A prompt that is too long for it, mostly.
            Some(400..=428 | 430..=499) => Outcome::CallerError,
            // A spill is no throttle: its capacity is asked for again at once, and Azure serves what it can't.
            _ if answered.is_delivered() => *answered,
            _ => Outcome::Throttled {
                wait: Some(FULL_FOR),
            },
        }
    }

    /// The same of the spillover deployment.
    pub fn other(self, answered: &Outcome) -> Option<Outcome> {
        match (self, answered) {
            (Self::Answered { .. }, answered) if is_of_both(answered) => None,
            (Self::Answered { .. }, _) => Some(*answered),
            // How long it is full nobody says: no longer than the first one.
            (Self::Failed, Outcome::Throttled { .. }) => Some(*answered),
            (Self::Failed, _) => None,
        }
    }
}

/// What is said of the whole instance, or of neither: one credential is for all of it; and who left says nothing.
fn is_of_both(answered: &Outcome) -> bool {
    matches!(
        answered,
        Outcome::IdentityRejected
            | Outcome::IdentityUnfit
            | Outcome::OperationRejected
            | Outcome::Redirected
            | Outcome::NotTheApi
            | Outcome::ClientLeft
            | Outcome::UsageRejected
            | Outcome::LimitRejected
    )
}

/// The status that a word begins with.
fn status(word: &str) -> Option<u16> {
    let digits = word.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from: bool, error: Option<&str>) -> Option<Spillover> {
        let mut headers = HeaderMap::new();
        if from {
            headers.insert(SPILLED_FROM, "ptu".parse().unwrap());
        }
        if let Some(error) = error {
            headers.insert(SPILLOVER_ERROR, error.parse().unwrap());
        }
        Spillover::read(&headers)
    }

    #[test]
    fn both_forms_of_the_headers_are_read() {
        let answered = |own| Some(Spillover::Answered { own });
        assert_eq!(read(false, None), None);
        assert_eq!(read(false, Some("429")), Some(Spillover::Failed));
        assert_eq!(read(true, None), answered(None));
        assert_eq!(read(true, Some("429")), answered(Some(429)));
        assert_eq!(read(true, Some(" 503: why")), answered(Some(503)));
        assert_eq!(read(true, Some("full")), answered(None));
    }

    #[test]
    fn what_the_spillover_deployment_answered_is_its_own_and_not_that_of_the_one_asked() {
        let throttled = |ms| Outcome::Throttled {
            wait: Some(Duration::from_millis(ms)),
        };
        let (full, fault) = (throttled(46_000), Outcome::fault(Fault::Status));
        for (own, answered, asked, other) in [
            (Some(429), full, throttled(100), Some(full)),
            (Some(429), fault, throttled(100), Some(fault)),
            (None, full, throttled(100), Some(full)),
            (
                Some(429),
                Outcome::Served,
                Outcome::Served,
                Some(Outcome::Served),
            ),
            (Some(500), Outcome::Served, fault, Some(Outcome::Served)),
            (
                Some(503),
                full,
                Outcome::fault(Fault::Unavailable),
                Some(full),
            ),
            (Some(400), full, Outcome::CallerError, Some(full)),
            (
                Some(429),
                Outcome::IdentityRejected,
                Outcome::IdentityRejected,
                None,
            ),
        ] {
            let spillover = Spillover::Answered { own };
            let said = (spillover.own(&answered), spillover.other(&answered));
            assert_eq!(said, (asked, other), "{own:?} {answered:?}");
        }
        let failed = Spillover::Failed;
        assert_eq!((failed.own(&full), failed.other(&full)), (full, Some(full)));
        assert_eq!((failed.own(&fault), failed.other(&fault)), (fault, None));
    }
}
