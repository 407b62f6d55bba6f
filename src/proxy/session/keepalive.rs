//! What is written into a stream while its deployment is silent, so that nobody between us and the client takes it for
//! dead (AZURE.md fact 5).

use std::time::Duration;

use bytes::Bytes;

use crate::domain::route::Operation;

/// Every client reads it but one.
const COMMENT: &[u8] = b": keepalive\n\n";
/// An event with nothing in it, as Azure itself sends one first: for clients that read no comments.
const EMPTY_CHOICES: &[u8] =
    b"data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\"}\n\n";
/// How the user agent of such a client names it (CLIENTS.md 4).
const READS_NO_COMMENTS: &[u8] = b"azsdk-python-ai-inference";

/// How a quiet stream is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) every: Duration,
    pub(crate) form: Bytes,
}

impl Keepalive {
    /// What means nothing to a client with this user agent, whatever its stream is of; `None` where there is nothing.
    pub(super) fn blank(user_agent: &[u8]) -> Option<Bytes> {
        let reads_comments = memchr::memmem::find(user_agent, READS_NO_COMMENTS).is_none();
        reads_comments.then_some(Bytes::from_static(COMMENT))
    }

    /// In a form that the client can read; `None` where there is none.
    pub(crate) fn of(every: Duration, operation: Operation, user_agent: &[u8]) -> Option<Self> {
        let form = match memchr::memmem::find(user_agent, READS_NO_COMMENTS) {
            None => COMMENT,
            Some(_) if operation == Operation::ChatCompletions => EMPTY_CHOICES,
            Some(_) => return None,
        };
        let form = Bytes::from_static(form);
        Some(Self { every, form })
    }
}

/// The last bytes of a stream as they went out: whether an event is under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail {
    last: [u8; 3],
    is_begun: bool,
}

impl Tail {
    pub(super) fn push(&mut self, piece: &[u8]) {
        let Some(kept) = piece.len().checked_sub(1).map(|last| last.min(2)) else {
            return;
        };
        let count = kept + 1;
        self.last.rotate_left(count);
        let room = self.last.len() - count;
        self.last[room..].copy_from_slice(&piece[piece.len() - count..]);
        self.is_begun = true;
    }

    /// Whether nothing has gone out yet, or the last event is whole.
    pub(super) fn is_between_events(&self) -> bool {
        let last = &self.last;
        !self.is_begun
            || last.ends_with(b"\n\n")
            || last.ends_with(b"\r\r")
            || last.ends_with(b"\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_one_that_the_client_can_read() {
        let of = |operation, agent: &str| {
            Keepalive::of(Duration::from_secs(20), operation, agent.as_bytes())
                .map(|keepalive| keepalive.form)
        };
        let python = "my-app azsdk-python-ai-inference/1.0.0b9 Python/3.11";
        let comment = Some(Bytes::from_static(COMMENT));
        assert_eq!(
            of(Operation::ChatCompletions, "OpenAI/Python 3.54.0"),
            comment
        );
        assert_eq!(
            of(Operation::Responses, "azsdk-js-ai-inference-rest/1"),
            comment
        );
        let event = Some(Bytes::from_static(EMPTY_CHOICES));
        assert_eq!(of(Operation::ChatCompletions, python), event);
        assert_eq!(of(Operation::Responses, python), None);
    }

    #[test]
    fn an_events_end_is_seen_however_it_was_cut() {
        for (text, is_between) in [
            ("", true),
            ("data: x\n\n", true),
            ("data: x\r\n\r\n", true),
            ("data: x\r\r", true),
            ("data: x\n", false),
            ("data: x\r\n", false),
            ("data: x\r\n\r", false),
            ("\n", false),
            ("data: x\n\nd", false),
        ] {
            for size in 1..=text.len().max(1) {
                let mut tail = Tail::default();
                for piece in text.as_bytes().chunks(size) {
                    tail.push(piece);
                    tail.push(b"");
                }
                assert_eq!(tail.is_between_events(), is_between, "{text:?} by {size}");
            }
        }
    }
}
