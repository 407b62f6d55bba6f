//! What an error's body says, in Azure's shape or not.

use std::time::Duration;

use serde::Deserialize;

use super::words::{is_callers_tool, is_screened, says_set_up};
use crate::domain::wait;

#[derive(Default)]
pub(super) struct ErrorBody {
    /// A number as text.
    code: String,
    kind: String,
    message: String,
    /// What of the request it is about.
    param: String,
    /// The same, by the errors that it is made up of.
    places: String,
    /// All that these say.
    details: String,
}

/// How an error speaks of a value, in lower case, whose member is known well.
const OF_VALUES: [&str; 13] = [
    "too large",
    "too small",
    "too high",
    "too low",
    "at most",
    "at least",
    "less than",
    "greater than",
    "minimum",
    "maximum",
    "exceed",
    "less_than",
    "greater_than",
];

impl ErrorBody {
    pub(super) fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Error,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Error {
            code: serde_json::Value,
            r#type: serde_json::Value,
            message: serde_json::Value,
            param: serde_json::Value,
            details: serde_json::Value,
        }
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match serde_json::from_slice::<Body>(body) {
            Ok(Body { error }) => Self {
                code: text(error.code),
                kind: text(error.r#type),
                message: text(error.message),
                param: text(error.param),
                places: places(&error.details),
                details: match error.details {
                    serde_json::Value::Null => String::new(),
                    details => details.to_string(),
                },
            },
            // Plain text, as an edge in front of Azure writes it.
            Err(_) => Self {
                message: String::from_utf8_lossy(body).into_owned(),
                ..Self::default()
            },
        }
    }

    /// In Azure's word or OpenAI's.
    pub(super) fn is_missing_deployment(&self) -> bool {
        ["DeploymentNotFound", "model_not_found"].contains(&self.code.as_str())
    }

    /// As Azure answers a path or an API version that it doesn't know. An id that isn't there has other words.
    pub(super) fn is_missing_path(&self) -> bool {
        self.code == "404" && self.message == "Resource not found"
    }

    pub(super) fn names_permission(&self) -> bool {
        self.code == "PermissionDenied"
    }

    pub(super) fn says_set_up(&self) -> bool {
        says_set_up(&self.code, &self.message)
    }

    pub(super) fn is_screened(&self) -> bool {
        is_screened(&self.code)
    }

    pub(super) fn is_callers_tool(&self) -> bool {
        is_callers_tool(&self.kind) || is_callers_tool(&self.code)
    }

    /// Whether it blames a member of the body by one of these names; a message may quote anything, so it counts only where
    /// nothing else is named.
    pub(super) fn is_about(&self, names: &[&str]) -> bool {
        let text = match (self.param.is_empty(), self.places.is_empty()) {
            (false, _) => &self.param,
            (true, false) => &self.places,
            (true, true) => &self.message,
        };
        names.iter().any(|name| text.contains(name))
    }

    /// Whether it is the value that is wrong there, and not that the member is there at all.
    pub(super) fn is_of_value(&self) -> bool {
        let says = |text: &str| {
            let text = text.to_ascii_lowercase();
            OF_VALUES.iter().any(|of_value| text.contains(of_value))
        };
        self.code.ends_with("_value") || says(&self.message) || says(&self.details)
    }

    pub(super) fn wait(&self) -> Option<Duration> {
        wait::in_message(&self.message)
    }
}

/// What the errors inside an error are about.
fn places(details: &serde_json::Value) -> String {
    let each = details.as_array().into_iter().flatten();
    let named = each.flat_map(|detail| {
        ["loc", "target", "param"]
            .into_iter()
            .filter_map(|name| detail.get(name))
            .filter(|place| !place.is_null())
    });
    named.map(|place| format!("{place} ")).collect()
}
