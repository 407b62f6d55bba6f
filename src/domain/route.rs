//! Paths: what a client's path asks for, and the path that asks a deployment for the same.
//!
//! Nothing of a client's path goes out as it came: what goes out is built from the operation and the
//! deployment's own name, so no trick in a path reaches an instance.

use std::borrow::Cow;

use http::Method;
use percent_encoding::{percent_decode_str, utf8_percent_encode};

pub use super::dialect::Dialect;
use super::{
    deployment::Kind,
    dialect::{SEGMENT, is_credential},
    query::ApiVersion,
    realtime,
    refusal::Refusal,
};

/// What a model is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    ImageGenerations,
    ImageEdits,
    AudioTranscriptions,
    AudioTranslations,
    AudioSpeech,
    /// A conversation is made shorter.
    ResponsesCompact,
    /// What a response would be asked with is counted; no model runs.
    ResponsesInputTokens,
    /// A session over a WebSocket.
    Realtime,
}

impl Operation {
    /// Those that are asked for with POST.
    pub const ALL: [Self; 11] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::AudioSpeech,
        Self::ResponsesCompact,
        Self::ResponsesInputTokens,
    ];

    /// The end of its path in every dialect; also its label in metrics and logs.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::ImageGenerations => "images/generations",
            Self::ImageEdits => "images/edits",
            Self::AudioTranscriptions => "audio/transcriptions",
            Self::AudioTranslations => "audio/translations",
            Self::AudioSpeech => "audio/speech",
            Self::ResponsesCompact => "responses/compact",
            Self::ResponsesInputTokens => "responses/input_tokens",
            Self::Realtime => "realtime",
        }
    }

    /// Whether nothing but words goes in and comes out, as far as it is billed.
    pub fn is_of_words(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Embeddings
                | Self::Responses
                | Self::ResponsesCompact
                | Self::ResponsesInputTokens
        )
    }

    /// Whether it is of the Responses API, whose paths never name a deployment at Azure.
    pub fn is_of_responses(self) -> bool {
        matches!(
            self,
            Self::Responses | Self::ResponsesCompact | Self::ResponsesInputTokens
        )
    }

    /// Whether a model runs for it, so that it uses tokens.
    pub fn uses_tokens(self) -> bool {
        self != Self::ResponsesInputTokens
    }

    fn at(path: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.path() == path)
    }
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Health,
    ModelHealth(Cow<'a, str>),
    Models,
    Model(Cow<'a, str>),
    Call(Call<'a>),
    /// A WebSocket; its query names the model.
    Realtime(Dialect),
}

/// A request to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    pub dialect: Dialect,
    pub operation: Operation,
    /// The model, where the path names it; else the body must.
    pub model: Option<Cow<'a, str>>,
}

/// Reads a request's method and path.
pub fn route<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, Refusal> {
    let Some(route) = find(path) else {
        return Err(Refusal::UnknownPath);
    };
    let is_allowed = match route {
        Route::Health | Route::ModelHealth(_) => matches!(*method, Method::GET | Method::HEAD),
        Route::Models | Route::Model(_) | Route::Realtime(_) => *method == Method::GET,
        Route::Call(_) => *method == Method::POST,
    };
    if is_allowed {
        Ok(route)
    } else {
        Err(not_allowed(&route))
    }
}

#[cold]
fn not_allowed(route: &Route<'_>) -> Refusal {
    let allow = match route {
        Route::Health | Route::ModelHealth(_) => "GET, HEAD",
        Route::Models | Route::Model(_) | Route::Realtime(_) => "GET",
        Route::Call(_) => "POST",
    };
    Refusal::MethodNotAllowed { allow }
}

fn find(path: &str) -> Option<Route<'_>> {
    if let Some(rest) = path.strip_prefix("/openai/deployments/") {
        let (model, operation) = rest.split_once('/')?;
        let operation = Operation::at(operation)?;
        let model = Some(decode(model)?);
        return Some(Route::Call(Call {
            dialect: Dialect::Classic,
            operation,
            model,
        }));
    }
    if let Some(rest) = path.strip_prefix("/openai/v1/") {
        return named_by_body(Dialect::V1, rest);
    }
    if let Some(rest) = path.strip_prefix("/v1/") {
        return named_by_body(Dialect::Plain, rest);
    }
    if let Some(rest) = path.strip_prefix("/openai/") {
        return named_by_body(Dialect::Classic, rest);
    }
    if let Some(rest) = path.strip_prefix("/models/") {
        let known = matches!(rest, "chat/completions" | "embeddings");
        return named_by_body(Dialect::Inference, rest).filter(|_| known);
    }
    match path.strip_prefix("/health")? {
        "" => Some(Route::Health),
        rest => rest
            .strip_prefix("/models/")
            .and_then(decode)
            .map(Route::ModelHealth),
    }
}

fn named_by_body(dialect: Dialect, rest: &str) -> Option<Route<'_>> {
    if let Some(operation) = Operation::at(rest) {
        return Some(Route::Call(Call {
            dialect,
            operation,
            model: None,
        }));
    }
    match rest {
        "models" => Some(Route::Models),
        "realtime" => Some(Route::Realtime(dialect)),
        rest => decode(rest.strip_prefix("models/")?).map(Route::Model),
    }
}

/// One path segment's text; `None` if it is empty, several segments, or no UTF-8.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}

impl Call<'_> {
    /// The same call, once its API version is known. Azure has dated paths only below `/openai/` itself, and none for responses
    /// below a deployment. Who sends no date there, as clients do whose base URL ends in `/openai`, means v1.
    pub fn dated_by(mut self, version: &ApiVersion<'_>) -> Self {
        let names_in_body = self.model.is_none() || self.operation.is_of_responses();
        if self.dialect == Dialect::Classic && names_in_body && version.date().is_none() {
            self.dialect = Dialect::V1;
        }
        self
    }
}

/// Where a call goes on an instance: path and query.
///
/// `query` is the client's own without its credential; `api-version` means nothing to a plain OpenAI server, and Azure's v1
/// refuses the dates that clients of other paths send.
pub fn outgoing(
    call: (Dialect, Operation),
    kind: Kind,
    base_path: &str,
    deployment: &str,
    query: &str,
) -> String {
    let (dialect, operation) = call;
    if operation == Operation::Realtime {
        return realtime::outgoing(dialect, kind, base_path, deployment, query);
    }
    let path = operation.path();
    let mut out = match (kind, dialect) {
        (Kind::Openai, _) => format!("{base_path}/{path}"),
        (Kind::AzureOpenai, Dialect::Classic) if operation.is_of_responses() => {
            format!("{base_path}/openai/{path}")
        }
        (Kind::AzureOpenai, Dialect::Classic) => {
            let deployment = utf8_percent_encode(deployment, SEGMENT);
            format!("{base_path}/openai/deployments/{deployment}/{path}")
        }
        (Kind::AzureOpenai, Dialect::V1 | Dialect::Plain) => {
            format!("{base_path}/openai/v1/{path}")
        }
        (Kind::AzureOpenai, Dialect::Inference) => format!("{base_path}/models/{path}"),
    };
    let drop_version = kind == Kind::Openai || dialect == Dialect::Plain;
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !(pair.is_empty() || is_credential(name) || drop_version && name == "api-version")
    });
    for (i, pair) in kept.enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(pair);
    }
    out
}

/// Whether a stream may be asked for its usage where this goes: chats, and of Azure's dated APIs those since the one that
/// brought it (wire facts: Streams).
pub fn may_ask_for_usage(call: (Dialect, Operation), kind: Kind, version: &ApiVersion<'_>) -> bool {
    const SINCE: &str = "2024-09-01";
    let (dialect, operation) = call;
    if operation != Operation::ChatCompletions {
        return false;
    }
    match (kind, dialect) {
        (Kind::Openai, _) | (_, Dialect::V1 | Dialect::Plain) => true,
        (_, Dialect::Classic) => version.date().is_some_and(|date| date >= SINCE),
        // It tells its usage unasked, and refuses fields that it does not know.
        (_, Dialect::Inference) => false,
    }
}

/// Whether the body must name the deployment on its way out; else the path does, and the body stays as it is.
pub fn body_names_deployment(call: (Dialect, Operation), kind: Kind) -> bool {
    let (dialect, operation) = call;
    if operation == Operation::Realtime {
        return false;
    }
    kind == Kind::Openai || dialect != Dialect::Classic || operation.is_of_responses()
}

#[cfg(test)]
mod tests;
