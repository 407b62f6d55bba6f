//! What a client may have done, beside which models it may use: work that leaves nothing behind, unless more was granted.
//!
//! A grant is a matter of the client's alone. What is refused for want of one says so openly, unlike a model that is not
//! the client's, which looks like one that isn't there.

use crate::domain::{ask::Forbidden, refusal::Refusal, route::Operation};

/// The grants of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// An answer, and nothing else: what every unmodified SDK asks for.
    pub inference: bool,
    /// Inference that keeps or uses state at the instance that answers.
    pub stateful: bool,
    /// Sessions over WebSockets.
    pub realtime: bool,
    /// Chats over sources of data of the client's choice.
    pub data_sources: bool,
}

impl Operations {
    /// What a client has that was granted nothing in particular.
    pub const INFERENCE: Self = Self {
        inference: true,
        stateful: false,
        realtime: false,
        data_sources: false,
    };

    /// Whether this may be asked for at all, whatever the body says: to be decided before it is read.
    pub fn authorize(self, operation: Operation) -> Result<(), Refusal> {
        let (granted, needs) = match operation {
            Operation::Realtime => (self.realtime, "realtime"),
            _ => (self.inference, "inference"),
        };
        granted
            .then_some(())
            .ok_or(Refusal::OperationNotAllowed { needs })
    }

    /// What a body has to be looked at for, since it would be refused.
    pub fn forbidden(self, operation: Operation) -> Option<Forbidden> {
        let is_chat = operation == Operation::ChatCompletions;
        let forbidden = Forbidden {
            is_chat,
            state: !self.stateful,
            data: !self.data_sources,
        };
        let may_be = is_chat || operation.is_of_responses();
        (may_be && (forbidden.state || forbidden.data)).then_some(forbidden)
    }

    /// The words of the config for what was granted.
    pub fn words(self) -> Vec<&'static str> {
        let all = [
            (self.inference, "inference"),
            (self.stateful, "stateful"),
            (self.realtime, "realtime"),
            (self.data_sources, "data_sources"),
        ];
        let granted = all.into_iter().filter(|(is_granted, _)| *is_granted);
        granted.map(|(_, word)| word).collect()
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self::INFERENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REALTIME: Operations = Operations {
        inference: false,
        realtime: true,
        ..Operations::INFERENCE
    };

    #[test]
    fn nothing_but_inference_comes_without_a_grant() {
        let granted = Operations::default();
        for operation in Operation::ALL {
            assert_eq!(granted.authorize(operation), Ok(()));
        }
        let needs = |needs| Err(Refusal::OperationNotAllowed { needs });
        assert_eq!(granted.authorize(Operation::Realtime), needs("realtime"));
        for operation in Operation::ALL {
            let is_chat = operation == Operation::ChatCompletions;
            let is_looked_at = is_chat || operation.is_of_responses();
            let forbidden = granted.forbidden(operation);
            assert_eq!(forbidden.is_some(), is_looked_at);
            assert!(forbidden.is_none_or(|forbidden| forbidden.state && forbidden.data));
        }
        assert_eq!(granted.words(), ["inference"]);
    }

    #[test]
    fn a_grant_gives_what_it_names_and_no_more() {
        assert_eq!(REALTIME.authorize(Operation::Realtime), Ok(()));
        let refusal = Refusal::OperationNotAllowed { needs: "inference" };
        for operation in Operation::ALL {
            assert_eq!(REALTIME.authorize(operation), Err(refusal.clone()));
        }
        let stateful = Operations {
            stateful: true,
            ..Operations::INFERENCE
        };
        let forbidden = stateful.forbidden(Operation::Responses);
        assert!(forbidden.is_some_and(|forbidden| !forbidden.state && forbidden.data));
        let both = Operations {
            data_sources: true,
            ..stateful
        };
        assert_eq!(both.forbidden(Operation::ChatCompletions), None);
        assert!(stateful.authorize(Operation::Realtime).is_err());
    }
}
