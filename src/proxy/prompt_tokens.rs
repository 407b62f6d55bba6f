//! How many tokens a request's prompt is, by estimate: what is reserved for it, and what its answer is taken to have read
//! that did not say so itself.

use bytes::Bytes;

use super::body::SLACK;
use crate::domain::{ask::prompt_tokens, route::Operation};

/// Worked out where somebody asks, which for most requests nobody does.
pub(super) struct PromptTokens(TokenCount);

enum TokenCount {
    /// It is still to be worked out, from this body.
    Unread(Operation, Bytes),
    Tokens(u64),
}

impl PromptTokens {
    pub(super) fn new(operation: Operation, body: &Bytes) -> Self {
        Self(TokenCount::Unread(operation, body.clone()))
    }

    /// Already worked out: 0 of what brings none.
    pub(super) fn known(tokens: u64) -> Self {
        Self(TokenCount::Tokens(tokens))
    }

    /// Whether it holds a body of more than there is always room for.
    pub(super) fn is_long(&self) -> bool {
        matches!(&self.0, TokenCount::Unread(_, body) if body.len() > SLACK)
    }

    /// It lets go of the body.
    pub(super) fn tokens(&mut self) -> u64 {
        let tokens = match &self.0 {
            TokenCount::Unread(operation, body) => prompt_tokens(*operation, body),
            TokenCount::Tokens(tokens) => *tokens,
        };
        self.0 = TokenCount::Tokens(tokens);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_was_worked_out_holds_no_body() {
        let body = br#"{"messages":[{"role":"user","content":"Hi there"}]}"#;
        let body = Bytes::from(body.to_vec());
        let mut prompt = PromptTokens::new(Operation::ChatCompletions, &body);
        assert!(!body.is_unique());
        let tokens = prompt.tokens();
        assert!(body.is_unique());
        assert_eq!((tokens > 2, prompt.tokens()), (true, tokens));
    }
}
