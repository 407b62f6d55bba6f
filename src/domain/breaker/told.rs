//! What a deployment itself said: not before then. A later, shorter word never shortens, and nothing is multiplied.

use std::time::{Duration, Instant};

use super::Cause;

/// The word that holds longest. It is kept when it is over, until the deployment was seen to serve.
#[derive(Debug, Default)]
pub(super) struct Told {
    word: Option<Word>,
}

#[derive(Debug)]
struct Word {
    until: Instant,
    cause: Cause,
    /// It asked for longer than any deployment is left alone, so one asks again first.
    cut: bool,
}

impl Told {
    pub(super) fn hear(&mut self, wait: Duration, cause: Cause, longest: Duration, now: Instant) {
        let heard = Word {
            until: now + wait.min(longest),
            cause,
            cut: wait > longest,
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

    /// Until when, and why; it may be over.
    pub(super) fn until(&self) -> Option<(Instant, Cause)> {
        self.word.as_ref().map(|word| (word.until, word.cause))
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
