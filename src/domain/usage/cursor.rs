//! Where in an answer's JSON something stands.

use super::schema::{Container, Member};

/// How deep the containers nest that matter.
const DEEPEST: usize = 8;

/// Where in a JSON value something stands. Between two tokens it is all that what follows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) token: Token,
    /// What the value being read, or due, is.
    pub(super) member: Member,
    known: u8,
    /// How many more are open inside the innermost of the containers, none of which matters.
    pub(super) skipped: usize,
    /// The containers around the one being read, outermost first; behind `known` of them comes the root again.
    containers: [Container; DEEPEST],
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Between two of them; a text is a key.
    Key,
    /// Between two of them; a text is a value.
    Value,
    InKey,
    InText,
    /// A number, `true`, `false` or `null`.
    InScalar,
}

impl Cursor {
    pub(super) fn beginning_of(root: Container) -> Self {
        Self {
            token: Token::Value,
            member: Member::Inside(root),
            known: 0,
            skipped: 0,
            containers: [root; DEEPEST],
        }
    }

    /// The innermost container.
    pub(super) fn container(&self) -> Option<Container> {
        let last = self.known.checked_sub(1)?;
        self.containers.get(usize::from(last)).copied()
    }

    pub(super) fn is_between(&self) -> bool {
        matches!(self.token, Token::Key | Token::Value) && self.skipped == 0
    }

    /// Whether output is due, if text comes.
    pub(super) fn is_before_output(&self) -> bool {
        self.is_between() && self.member == Member::Text
    }

    /// Behind a value that has ended: the next one is not due before a comma.
    pub(super) fn pass_value(&mut self) {
        (self.token, self.member) = (Token::Value, Member::Nothing);
    }

    /// One container further in, if there is room for it.
    pub(super) fn enter(&mut self, container: Container) -> bool {
        let room = self.containers.get_mut(usize::from(self.known));
        let has_room = room.map(|room| *room = container).is_some();
        self.known += u8::from(has_room);
        has_room
    }

    /// One container further out: gives the one that was left.
    pub(super) fn leave(&mut self) -> Option<Container> {
        let left = self.container()?;
        self.known -= 1;
        // The outermost is the root.
        self.containers[usize::from(self.known)] = self.containers[0];
        Some(left)
    }

    /// Whether it is inside of no container.
    pub(super) fn is_outside(&self) -> bool {
        self.known == 0 && self.skipped == 0
    }

    /// What comes next inside the innermost container.
    pub(super) fn expect(&mut self) {
        (self.token, self.member) = match self.container() {
            None => (Token::Value, Member::Nothing),
            Some(container) => match container.elements() {
                Some(element) => (Token::Value, element),
                None => (Token::Key, Member::Nothing),
            },
        };
    }
}
