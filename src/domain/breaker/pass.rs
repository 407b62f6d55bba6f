//! The kind of permission with which a breaker lets a request through.

/// What a request was let through as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    pub(super) trial: bool,
    /// It goes while another is the trial, and may find out as well.
    pub(super) follows: bool,
    /// Of the latest trial by then.
    pub(super) number: u32,
    /// The first after a told wait.
    pub(super) leads: bool,
    /// How often the deployment had been set aside by then.
    pub(super) era: u32,
}

impl Pass {
    /// Whether it is the one that finds out.
    pub(in crate::domain) fn is_trial(self) -> bool {
        self.trial
    }

    pub(super) fn finds_out(self) -> bool {
        self.trial || self.follows
    }
}
