//! Cooldown: the time for which the deployment itself asked to get no requests. A later, shorter wait never shortens it, and
//! nothing is multiplied.
//!
//! When the wait is over one request leads and the others follow at its first good answer, or when as much time has
//! passed as a refusal takes to come: a deployment that is still at its limit is asked once a wait, not by a crowd, and
//! one that isn't is not kept for the length of a whole answer.

use std::time::{Duration, Instant};

use super::state::Cause;

/// The word that holds longest. It is kept when it is over, until the deployment was seen to serve.
#[derive(Debug, Default)]
pub(super) struct Cooldown {
    word: Option<Word>,
}

#[derive(Debug)]
struct Word {
    until: Instant,
    cause: Cause,
    /// It asked for longer than any deployment is left alone, so one asks again first.
    cut: bool,
    /// How long the first request after it is ahead of the others: not at all where it asked for no time.
    lead: Duration,
    /// When that one went.
    led: Option<Instant>,
}

/// The longest lead of the first request after a wait. A 429 comes within a fraction of it.
pub(super) const LONGEST_LEAD: Duration = Duration::from_millis(500);
/// The shortest: no refusal comes sooner than one's way there and back.
const SHORTEST_LEAD: Duration = Duration::from_millis(20);

/// The lead after a wait: as long as that, so that a wait of a few milliseconds, as a provisioned deployment tells it, is
/// not made ten times as long (wire facts: Provisioned deployments).
pub(super) fn lead(wait: Duration) -> Duration {
    if wait.is_zero() {
        Duration::ZERO
    } else {
        wait.clamp(SHORTEST_LEAD, LONGEST_LEAD)
    }
}

impl Cooldown {
    pub(super) fn hear(&mut self, wait: Duration, cause: Cause, longest: Duration, now: Instant) {
        let heard = Word {
            until: now + wait.min(longest),
            cause,
            cut: wait > longest,
            lead: lead(wait),
            led: None,
        };
        self.word = Some(match self.word.take() {
            None => heard,
            Some(said) => {
                let cut = said.cut || heard.cut;
                let later = if heard.until > said.until {
                    heard
                } else {
                    said
                };
                Word { cut, ..later }
            }
        });
    }

    /// Whether there is a word that has not been seen to be over.
    pub(super) fn has_word(&self) -> bool {
        self.word.is_some()
    }

    /// Until when, and why; it may be over.
    pub(super) fn until(&self) -> Option<(Instant, Cause)> {
        self.word.as_ref().map(|word| (word.until, word.cause))
    }

    /// From when on everybody may go, as far as is known.
    pub(super) fn free_from(&self) -> Option<(Instant, Cause)> {
        let word = self.word.as_ref()?;
        Some((
            word.led.map_or(word.until, |led| led + word.lead),
            word.cause,
        ))
    }

    /// Since when, if one request is ahead of the others now.
    pub(super) fn lead(&self, now: Instant) -> Option<(Instant, Cause)> {
        let word = self.word.as_ref()?;
        word.led
            .filter(|led| now < *led + word.lead)
            .map(|_| (word.until, word.cause))
    }

    /// The first to go after the wait leads. Whether this one does.
    pub(super) fn go_ahead(&mut self, now: Instant) -> bool {
        let first =
            |word: &&mut Word| !word.lead.is_zero() && word.until <= now && word.led.is_none();
        match self.word.as_mut().filter(first) {
            Some(word) => {
                word.led = Some(now);
                true
            }
            None => false,
        }
    }

    /// The one that led found nothing out.
    pub(super) fn turn_back(&mut self) {
        if let Some(word) = &mut self.word {
            word.led = None;
        }
    }

    /// Whether it asked for no time at all.
    pub(super) fn is_momentary(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.lead.is_zero())
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.word.as_ref().map(|word| word.cause)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.cut)
    }

    /// One asked first, and has an answer.
    pub(super) fn tried(&mut self) {
        if let Some(word) = &mut self.word {
            word.cut = false;
        }
    }

    /// The deployment served: what it said is done with, if it is over. Whether there was something.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        let over = |word: &mut Word| word.until <= now && !word.cut;
        self.word.take_if(over).is_some()
    }
}
