//! An error inside a stream that began with 200, in the forms it has been seen in (wire facts: Streams).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where in a stream the error comes, what it says, and how the stream ends after it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamError {
    pub after_events: usize,
    /// Of the Responses API only: chats and completions have one form.
    pub form: ErrorForm,
    #[serde(rename = "type")]
    pub error: ErrorType,
    /// The type's usual one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Inside the error, where headers have been seen too.
    pub headers: BTreeMap<String, String>,
    /// Headers of the answer itself.
    pub head: BTreeMap<String, String>,
    /// Instead of all this: the event as it goes on the wire, without its closing blank line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    pub end: StreamEnd,
}

/// How the Responses API says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorForm {
    /// `response.failed` whose error is null, then `error` with the error in a field of its own.
    #[default]
    FailedThenError,
    /// `error` with the error in a field of its own.
    Nested,
    /// `error` with code and message beside its own type.
    Root,
    /// `error` whose own type is the error's.
    RootTyped,
    /// `response.failed` with the error's code.
    Failed,
    /// `response.failed` with nothing but a text.
    FailedText,
}

impl ErrorForm {
    pub const ALL: [Self; 6] = [
        Self::FailedThenError,
        Self::Nested,
        Self::Root,
        Self::RootTyped,
        Self::Failed,
        Self::FailedText,
    ];
}

/// What went wrong, and so the status that it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// 500
    ServerError,
    /// 429
    #[default]
    TooManyRequests,
    /// 403
    Forbidden,
    /// 400
    UserError,
}

/// How the transfer ends behind the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    #[default]
    Clean,
    Close,
    Reset,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::ServerError => "server_error",
            Self::TooManyRequests => "too_many_requests",
            Self::Forbidden => "forbidden",
            Self::UserError => "user_error",
        }
    }

    fn usual_code(self) -> &'static str {
        match self {
            Self::TooManyRequests => "rate_limit_exceeded",
            Self::ServerError | Self::Forbidden | Self::UserError => self.name(),
        }
    }
}

impl StreamError {
    /// The error of this type after so many events.
    pub fn new(error: ErrorType, after_events: usize) -> Self {
        Self {
            error,
            after_events,
            ..Self::default()
        }
    }

    pub fn in_form(self, form: ErrorForm) -> Self {
        Self { form, ..self }
    }

    pub fn with_code(self, code: &str) -> Self {
        Self {
            code: Some(code.to_owned()),
            ..self
        }
    }

    /// As chats and completions say it.
    pub(crate) fn in_chat(&self) -> String {
        let given = || self.event.clone();
        given().unwrap_or_else(|| format!("data: {}", json!({ "error": self.whole() })))
    }

    /// As the Responses API says it; `response` as it stands, unfinished.
    pub(crate) fn in_responses(&self, response: impl FnOnce() -> Value) -> String {
        if let Some(event) = &self.event {
            return event.clone();
        }
        let (code, message) = (self.code(), self.message());
        let failed = |error: Value| {
            let mut response = response();
            response["status"] = json!("failed");
            response["error"] = error;
            json!({ "type": "response.failed", "sequence_number": 0, "response": response })
        };
        let nested =
            |number| json!({ "type": "error", "sequence_number": number, "error": self.whole() });
        let root = |kind| json!({ "type": kind, "sequence_number": 0, "code": code, "message": message, "param": null });
        match self.form {
            ErrorForm::FailedThenError => {
                let first = named("response.failed", &failed(Value::Null));
                format!("{first}\n\n{}", named("error", &nested(1)))
            }
            ErrorForm::Nested => named("error", &nested(0)),
            ErrorForm::Root => named("error", &root("error")),
            ErrorForm::RootTyped => named("error", &root(self.error.name())),
            ErrorForm::Failed => {
                let error = json!({ "code": code, "message": message });
                named("response.failed", &failed(error))
            }
            ErrorForm::FailedText => {
                named("response.failed", &failed(json!({ "message": message })))
            }
        }
    }

    fn whole(&self) -> Value {
        let mut error = json!({ "type": self.error.name(), "code": self.code(), "message": self.message(), "param": null });
        if !self.headers.is_empty() {
            error["headers"] = json!(self.headers);
        }
        error
    }

    fn code(&self) -> &str {
        let given = self.code.as_deref();
        given.unwrap_or(self.error.usual_code())
    }

    fn message(&self) -> &'static str {
        match (self.error, self.code()) {
            (ErrorType::TooManyRequests, "no_capacity") => {
                "The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load."
            }
            (ErrorType::TooManyRequests, _) => "Rate limit is exceeded. Try again in 5 seconds.",
            (ErrorType::ServerError, _) => {
                "The server had an error while processing your request. Sorry about that!"
            }
            (ErrorType::Forbidden, _) => "Access to this resource is denied.",
            (ErrorType::UserError, _) => "The request is invalid.",
        }
    }
}

fn named(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datas(text: &str) -> Vec<Value> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    #[test]
    fn each_form_of_the_responses_api_says_it_in_its_own_place() {
        let error = StreamError::new(ErrorType::TooManyRequests, 0).with_code("no_capacity");
        let said = |form| {
            let text = error.clone().in_form(form).in_responses(|| json!({}));
            let names: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("event: "))
                .map(str::to_owned)
                .collect();
            (names.join(" "), datas(&text))
        };
        let (names, data) = said(ErrorForm::FailedThenError);
        assert_eq!(names, "response.failed error");
        assert_eq!(data[0]["response"]["error"], Value::Null);
        assert_eq!(data[1]["error"]["code"], "no_capacity");
        let (names, data) = said(ErrorForm::Nested);
        assert_eq!((names.as_str(), data.len()), ("error", 1));
        assert_eq!(data[0]["error"]["type"], "too_many_requests");
        let (_, data) = said(ErrorForm::Root);
        assert_eq!(
            (&data[0]["type"], &data[0]["code"]),
            (&json!("error"), &json!("no_capacity"))
        );
        assert_eq!(said(ErrorForm::RootTyped).1[0]["type"], "too_many_requests");
        let (names, data) = said(ErrorForm::Failed);
        assert_eq!(names, "response.failed");
        assert_eq!(data[0]["response"]["error"]["code"], "no_capacity");
        let (_, data) = said(ErrorForm::FailedText);
        assert_eq!(
            data[0]["response"]["error"].as_object().unwrap().len(),
            1,
            "a text and nothing else"
        );
    }

    #[test]
    fn headers_can_come_inside_the_error() {
        let error = StreamError {
            headers: [("retry-after".to_owned(), "7".to_owned())].into(),
            ..StreamError::default()
        };
        assert_eq!(
            datas(&error.in_chat())[0]["error"]["headers"]["retry-after"],
            "7"
        );
        assert_eq!(
            datas(&error.in_responses(|| json!({})))[1]["error"]["headers"]["retry-after"],
            "7"
        );
    }
}
