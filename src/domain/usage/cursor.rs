//! Where in an answer's JSON something stands.

use super::schema::{Member, Place};

/// How deep the places nest that matter.
const DEEPEST: usize = 8;

/// Where in a JSON value something stands. Between two tokens it is all that what follows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) token: Token,
    /// What the value being read, or due, is.
    pub(super) member: Member,
    known: u8,
    /// How many more are open inside the innermost of the places, none of which matters.
    pub(super) skipped: usize,
    /// The places around the one being read, outermost first; behind `known` of them comes the root again.
    places: [Place; DEEPEST],
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
    pub(super) fn beginning_of(root: Place) -> Self {
        Self {
            token: Token::Value,
            member: Member::Inside(root),
            known: 0,
            skipped: 0,
            places: [root; DEEPEST],
        }
    }

    /// The innermost place.
    pub(super) fn place(&self) -> Option<Place> {
        let last = self.known.checked_sub(1)?;
        self.places.get(usize::from(last)).copied()
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

    /// One place further in, if there is room for it.
    pub(super) fn enter(&mut self, place: Place) -> bool {
        let room = self.places.get_mut(usize::from(self.known));
        let has_room = room.map(|room| *room = place).is_some();
        self.known += u8::from(has_room);
        has_room
    }

    /// One place further out: gives the one that was left.
    pub(super) fn leave(&mut self) -> Option<Place> {
        let left = self.place()?;
        self.known -= 1;
        // The outermost is the root.
        self.places[usize::from(self.known)] = self.places[0];
        Some(left)
    }

    /// Whether it is inside of no place.
    pub(super) fn is_outside(&self) -> bool {
        self.known == 0 && self.skipped == 0
    }

    /// What comes next inside the innermost place.
    pub(super) fn expect(&mut self) {
        (self.token, self.member) = match self.place() {
            None => (Token::Value, Member::Nothing),
            Some(place) => match place.elements() {
                Some(element) => (Token::Value, element),
                None => (Token::Key, Member::Nothing),
            },
        };
    }
}
