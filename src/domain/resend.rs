//! Whether a request that was lost with its connection is sent once more to the same deployment, over another one.
//!
//! Each sending is an attempt, written down and counted. Nothing here says anything of the deployment: what does not come
//! to a further sending is judged as its fault elsewhere.

use std::time::Duration;

use super::outcome::Outcome;

/// How long after a request was begun to be sent its pooled connection may turn out to have been closed already: a way to
/// the deployment and back, and some room where everything is slow. One that ends later had the request, and may have worked
/// on it.
pub const STALE_WITHIN: Duration = Duration::from_millis(500);
/// How many times in a row one attempt's request may be lost to its connections.
const MOST: u8 = 3;

/// A request that got no answer.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Its connection had been used before.
    pub reused: bool,
    /// Something of an answer had come.
    pub was_heard: bool,
    /// Its end could not be written.
    pub unwritten: bool,
    /// How long after it was begun to be sent; `None`: it was not.
    pub after: Option<Duration>,
    pub told: Told,
}

/// What the connection's protocol says of why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Nothing,
    /// HTTP/2: a GOAWAY whose last stream is below this one, or REFUSED_STREAM.
    NotProcessed,
    /// HTTP/2: HTTP_1_1_REQUIRED.
    WantsHttp1,
    /// HTTP/2: the stream was ended while its body was being written, and why was not to be learned.
    Stopped,
}

impl Lost {
    /// How the sending ended, where the request is sent once more. `may_repeat`: two of it do no harm. `resent`: how many
    /// times this attempt's request was lost before.
    pub fn again(&self, may_repeat: bool, resent: u8) -> Option<Outcome> {
        if self.was_heard || resent >= MOST {
            return None;
        }
        match self.told {
            Told::NotProcessed | Told::WantsHttp1 => return Some(Outcome::NotProcessed),
            // Whatever the reason, nobody has had all of it.
            Told::Stopped if resent == 0 => return Some(Outcome::NotProcessed),
            Told::Stopped | Told::Nothing => {}
        }
        let in_time = self.after.is_none_or(|after| after <= STALE_WITHIN);
        let is_stale = self.reused && in_time && (may_repeat || self.unwritten);
        is_stale.then_some(Outcome::StaleConnection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Lost = Lost {
        reused: true,
        was_heard: false,
        unwritten: false,
        after: Some(Duration::from_millis(3)),
        told: Told::Nothing,
    };

    #[test]
    fn a_pooled_connection_is_stale_within_milliseconds_and_only_if_nothing_came() {
        assert_eq!(STALE.again(true, 0), Some(Outcome::StaleConnection));
        let long = Some(Duration::from_secs(3));
        for fault in [
            Lost {
                reused: false,
                ..STALE
            },
            Lost {
                was_heard: true,
                ..STALE
            },
            Lost {
                after: long,
                ..STALE
            },
            Lost {
                after: long,
                unwritten: true,
                ..STALE
            },
        ] {
            assert_eq!(fault.again(true, 0), None, "{fault:?}");
        }
        assert_eq!(STALE.again(true, 3), None);
    }

    #[test]
    fn what_must_not_be_done_twice_is_sent_again_only_if_it_was_not_sent_whole() {
        assert_eq!(STALE.again(false, 0), None);
        let unwritten = Lost {
            unwritten: true,
            ..STALE
        };
        assert_eq!(unwritten.again(false, 0), Some(Outcome::StaleConnection));
    }

    #[test]
    fn what_http2_says_was_not_processed_is_sent_again_whatever_it_does() {
        for told in [Told::NotProcessed, Told::WantsHttp1] {
            let lost = Lost {
                reused: false,
                after: Some(Duration::from_secs(9)),
                told,
                ..STALE
            };
            assert_eq!(lost.again(false, 2), Some(Outcome::NotProcessed));
            assert_eq!(lost.again(false, 3), None);
            let answered = Lost {
                was_heard: true,
                ..lost
            };
            assert_eq!(answered.again(true, 0), None);
        }
    }

    #[test]
    fn a_stream_that_ended_while_its_body_was_written_is_sent_again_once() {
        let lost = Lost {
            reused: false,
            told: Told::Stopped,
            unwritten: true,
            ..STALE
        };
        assert_eq!(lost.again(false, 0), Some(Outcome::NotProcessed));
        assert_eq!(lost.again(true, 1), None);
    }
}
