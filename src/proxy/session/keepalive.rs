//! What is written into a stream while its deployment is silent, so that nobody between us and the client takes it for
//! dead (wire facts: Front Door).

use std::time::Duration;

use bytes::Bytes;

use crate::domain::route::Operation;

/// Every client reads it but one.
const COMMENT: &[u8] = b": keepalive\n\n";
/// An event with nothing in it, as Azure itself sends one first: for clients that read no comments.
const EMPTY_CHOICES: &[u8] =
    b"data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\"}\n\n";
/// How the user agent of such a client names it (wire facts: How clients read streams).
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
    pub(crate) fn for_stream(
        every: Duration,
        operation: Operation,
        user_agent: &[u8],
    ) -> Option<Self> {
        let form = match memchr::memmem::find(user_agent, READS_NO_COMMENTS) {
            None => COMMENT,
            Some(_) if operation == Operation::ChatCompletions => EMPTY_CHOICES,
            Some(_) => return None,
        };
        let form = Bytes::from_static(form);
        Some(Self { every, form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_one_that_the_client_can_read() {
        let of = |operation, agent: &str| {
            Keepalive::for_stream(Duration::from_secs(20), operation, agent.as_bytes())
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
}
