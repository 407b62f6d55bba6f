//! What a body says, as far as it is read here, and how it could be told another model's name.

use std::ops::Range;

use bytes::Bytes;

use super::wants::Wants;
use crate::domain::{refusal::Refusal, route::Operation};

/// What a body says of the model, and how it could be told another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The model the body names, if it names one.
    pub model: Option<String>,
    /// Whether a stream of events is asked for.
    pub stream: bool,
    /// Whether it adds to something that would be there twice if it were done twice: a conversation.
    pub acts: bool,
    /// Whether a response is to be made in the background.
    pub in_background: bool,
    /// Whether it brings tools; what they do, a [`Scan`](super::Scan) for a response tells.
    pub has_tools: bool,
    /// What it says of how much it wants; of a JSON body that was read whole.
    pub wants: Wants,
    /// Whether something in it, or that it can't be read, is reason to look whether it keeps or uses state. False only
    /// where that is out of the question for a chat.
    pub may_use_state: bool,
    /// Whether it leaves to a stored prompt what it asks for.
    pub(super) has_prompt: bool,
    pub(super) place: ModelPlace,
}

/// Where a body names its model, or where it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ModelPlace {
    /// A body of neither form, or none.
    Nowhere,
    /// The value's bytes, quotes included; or just behind the opening brace if the object has no such member.
    Json {
        value: Option<Range<usize>>,
        start: usize,
        empty: bool,
    },
    /// The part's content; or in front of the first part.
    Multipart {
        value: Option<Range<usize>>,
        boundary: String,
    },
}

/// A piece of a body and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub at: Range<usize>,
    pub with: Bytes,
}

impl Ask {
    /// Whether it is a form of parts.
    pub fn is_form(&self) -> bool {
        matches!(self.place, ModelPlace::Multipart { .. })
    }

    /// A body that is passed on unread.
    pub fn unread() -> Self {
        Self {
            model: None,
            stream: false,
            acts: false,
            in_background: false,
            has_tools: false,
            wants: Wants::default(),
            may_use_state: true,
            has_prompt: false,
            place: ModelPlace::Nowhere,
        }
    }

    /// The change that gives the outermost object a member it does not have yet, like `"n":1`; `None` where there is no
    /// such object, or it was not read whole.
    pub fn adding(&self, member: &str) -> Option<Splice> {
        let ModelPlace::Json { start, empty, .. } = &self.place else {
            return None;
        };
        let comma = if *empty { "" } else { "," };
        Some(Splice {
            at: *start..*start,
            with: format!("{member}{comma}").into(),
        })
    }

    /// Changes of which several may add a member. In an object without members only the first stands alone.
    pub fn joined(&self, changes: &mut [Splice]) {
        let ModelPlace::Json {
            start, empty: true, ..
        } = &self.place
        else {
            return;
        };
        let added = changes.iter_mut().filter(|it| it.at == (*start..*start));
        for change in added.skip(1) {
            change.with = [&b","[..], &change.with].concat().into();
        }
    }

    /// The change that makes the body name `deployment`; `None` if it can't, or names it already.
    pub fn naming(&self, deployment: &str) -> Option<Splice> {
        if self.model.as_deref() == Some(deployment) {
            return None;
        }
        let json = || serde_json::Value::from(deployment).to_string();
        let (at, with) = match &self.place {
            ModelPlace::Nowhere => return None,
            ModelPlace::Json {
                value: Some(value), ..
            } => (value.clone(), json()),
            ModelPlace::Json { value: None, .. } => {
                return self.adding(&format!("\"model\":{}", json()));
            }
            ModelPlace::Multipart {
                value: Some(value), ..
            } => (value.clone(), deployment.to_owned()),
            ModelPlace::Multipart {
                value: None,
                boundary,
            } => (
                0..0,
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{deployment}\r\n"
                ),
            ),
        };
        Some(Splice {
            at,
            with: with.into(),
        })
    }

    /// Why a request without a model is refused. A response may leave it to a stored prompt, which only the instance can
    /// read.
    pub fn model_missing(&self, operation: Operation) -> Refusal {
        match operation.is_of_responses() && self.has_prompt {
            true => Refusal::ModelInPrompt,
            false => Refusal::ModelMissing,
        }
    }
}
