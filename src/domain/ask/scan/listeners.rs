//! Who else is told what comes in a request's body, beside the reader itself.

use super::{
    grants::{Forbidden, Grants},
    prompt_size::PromptSize,
    side_effects::SideEffects,
};
use crate::domain::refusal::Refusal;

/// Look for more in a body than what every request goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    /// Given where a request that needs a grant is refused.
    grants: Option<Grants>,
    /// Of a request for a response.
    pub(super) side_effects: Option<SideEffects>,
    /// Where somebody asks how long the prompt is.
    pub(super) prompt: Option<PromptSize>,
}

impl Listeners {
    pub(super) fn of_response() -> Self {
        Self {
            side_effects: Some(SideEffects::default()),
            ..Self::default()
        }
    }

    pub(super) fn forbidding(forbidden: Forbidden) -> Self {
        Self {
            grants: Some(Grants::new(forbidden)),
            side_effects: (!forbidden.is_chat).then(SideEffects::default),
            prompt: None,
        }
    }

    /// Whether the names of members matter at this depth.
    pub(super) fn want_key(&self, depth: usize) -> bool {
        let (grants, effects) = (self.grants.as_ref(), self.side_effects.as_ref());
        grants.is_some_and(|it| it.wants_key(depth))
            || effects.is_some_and(|it| it.wants_key(depth))
    }

    /// Whether the text that begins now matters.
    pub(super) fn want_text(&self) -> bool {
        self.grants.as_ref().is_some_and(Grants::wants_text) || self.wants_effect()
    }

    fn wants_effect(&self) -> bool {
        let effects = self.side_effects.as_ref();
        effects.is_some_and(SideEffects::wants_text)
    }

    /// A member of an object; an empty name for one that is too long to matter.
    pub(super) fn key(&mut self, depth: usize, name: &str) {
        if let Some(grants) = &mut self.grants {
            grants.key(depth, name);
        }
        if let Some(effects) = &mut self.side_effects {
            effects.key(depth, name);
        }
    }

    /// Any name as it is spelled, which begins at this place.
    pub(super) fn spelled_key(&mut self, depth: usize, at: usize, name: &[u8]) {
        if let Some(prompt) = &mut self.prompt {
            prompt.key(depth, at, name);
        }
    }

    /// Any text that is a value, as it is spelled; of one that comes in pieces the first.
    pub(super) fn spelled_text(&mut self, at: usize, text: &[u8]) {
        if let Some(prompt) = &mut self.prompt {
            prompt.text(at, text);
        }
    }

    /// A value begins with this byte, inside a container of this depth.
    pub(super) fn value(&mut self, depth: usize, byte: u8, in_object: bool) -> Result<(), Refusal> {
        if let (Some(prompt), false) = (&mut self.prompt, in_object) {
            prompt.element(byte);
        }
        let effects = self.side_effects.as_mut();
        let effect = effects.map_or(Ok(()), |it| it.value(byte, in_object));
        effect.and(self.granted(|grants| grants.value(depth, byte, in_object)))
    }

    /// A text that was wanted; `None` for one that is too long to matter.
    pub(super) fn text(&mut self, text: Option<&str>) -> Result<(), Refusal> {
        if self.wants_effect()
            && let Some(effects) = &mut self.side_effects
        {
            effects.text(text.unwrap_or_default());
        }
        self.granted(|grants| grants.wants_text() && text.is_some_and(|text| grants.text(text)))
    }

    /// A container of this depth begins.
    pub(super) fn enter(&mut self, depth: usize) {
        if let Some(grants) = &mut self.grants {
            grants.enter(depth);
        }
        if let Some(effects) = &mut self.side_effects {
            effects.step();
        }
    }

    /// It ends.
    pub(super) fn leave(&mut self, depth: usize) -> Result<(), Refusal> {
        if let Some(effects) = &mut self.side_effects {
            effects.step();
        }
        self.granted(|grants| grants.leave(depth))
    }

    fn granted(&mut self, is_forbidden: impl FnOnce(&mut Grants) -> bool) -> Result<(), Refusal> {
        let Some(grants) = &mut self.grants else {
            return Ok(());
        };
        match is_forbidden(grants) {
            true => Err(Refusal::OperationNotAllowed {
                needs: grants.needs(),
            }),
            false => Ok(()),
        }
    }
}
