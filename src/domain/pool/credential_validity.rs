//! Validity of the gateway's credential for a deployment's instance: until when, and when the next token request is due.

use std::time::{Duration, Instant};

/// How the credential of an instance stands, as its identity last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialValidity {
    /// When the token ends, or ended; `None`: nothing ends, as with an api-key, or the first token is still on its way
    /// and worth waiting for.
    pub ends: Option<Instant>,
    /// When the next token is asked for.
    pub renewal: Option<Instant>,
}

/// A token that is being asked for may be there within this.
const SOON: Duration = Duration::from_secs(1);

impl CredentialValidity {
    /// There is no token, and none came when it was asked for.
    pub fn over(now: Instant, renewal: Instant) -> Self {
        Self {
            ends: Some(now),
            renewal: Some(renewal),
        }
    }

    /// Up to the end and not at it.
    pub fn holds(&self, now: Instant) -> bool {
        self.ends.is_none_or(|end| now < end)
    }

    /// When an instance without a token may be worth another try: never at once.
    pub(super) fn back_at(&self, now: Instant) -> Instant {
        let soonest = now + SOON;
        self.renewal.map_or(soonest, |renewal| renewal.max(soonest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_holds_up_to_its_end_and_not_at_it() {
        let t = Instant::now();
        let validity = CredentialValidity {
            ends: Some(t + SOON),
            renewal: None,
        };
        assert!(validity.holds(t + SOON - Duration::from_nanos(1)));
        assert!(!validity.holds(t + SOON));
        assert!(CredentialValidity::default().holds(t + Duration::from_secs(1 << 30)));
    }

    #[test]
    fn nobody_is_told_to_come_back_before_the_next_token_request_nor_at_once() {
        let t = Instant::now();
        let later = t + 9 * SOON;
        assert_eq!(CredentialValidity::over(t, later).back_at(t), later);
        assert_eq!(CredentialValidity::over(t, t).back_at(t), t + SOON);
    }
}
