//! Paths: what a client's path asks for, and the path that asks a deployment for the same.
//!
//! Nothing of a client's path goes out as it came: what goes out is built from the operation and the
//! deployment's own name, so no trick in a path reaches an instance.

use std::borrow::Cow;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{deployment::Kind, realtime, refusal::Refusal};

/// The shape of path a client speaks; it decides the shape that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/openai/deployments/{model}/…?api-version=…`, and `/openai/…` where the body names the model.
    Classic,
    /// `/openai/v1/…`
    V1,
    /// `/v1/…`, as clients of OpenAI itself send.
    Plain,
}

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
    /// A session over a WebSocket.
    Realtime,
}

impl Operation {
    /// Those that are asked for with POST.
    pub const ALL: [Self; 9] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::AudioSpeech,
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
            Self::Realtime => "realtime",
        }
    }

    /// Whether nothing but words goes in and comes out, as far as it is billed.
    pub fn is_of_words(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Embeddings | Self::Responses
        )
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
    let route = find(path).ok_or(Refusal::UnknownPath)?;
    let allowed = match route {
        Route::Health | Route::ModelHealth(_) => matches!(*method, Method::GET | Method::HEAD),
        Route::Models | Route::Model(_) | Route::Realtime(_) => *method == Method::GET,
        Route::Call(_) => *method == Method::POST,
    };
    if allowed {
        Ok(route)
    } else {
        Err(Refusal::MethodNotAllowed)
    }
}

fn find(path: &str) -> Option<Route<'_>> {
    if let Some(rest) = path.strip_prefix("/openai/deployments/") {
        let (model, operation) = rest.split_once('/')?;
        let operation =
            Operation::at(operation).filter(|operation| *operation != Operation::Responses)?;
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
    match path.strip_prefix("/openai/") {
        // What the official SDKs send without a deployment in the path (CLIENTS.md 2).
        Some("responses" | "images/edits" | "models" | "realtime") => {
            return named_by_body(Dialect::Classic, &path["/openai/".len()..]);
        }
        Some(rest) => {
            return rest
                .strip_prefix("models/")
                .and_then(decode)
                .map(Route::Model);
        }
        None => {}
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
    if rest == "models" {
        return Some(Route::Models);
    }
    if rest == "realtime" {
        return Some(Route::Realtime(dialect));
    }
    if let Some(model) = rest.strip_prefix("models/") {
        return decode(model).map(Route::Model);
    }
    let operation = Operation::at(rest)?;
    Some(Route::Call(Call {
        dialect,
        operation,
        model: None,
    }))
}

/// One path segment's text; `None` if it is empty, several segments, or no UTF-8.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}

/// What stays as it is in a path segment (RFC 3986's unreserved characters).
pub(super) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a call goes on an instance: path and query.
///
/// `query` is the client's own without its credential; `api-version` means nothing to a plain OpenAI server.
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
        (Kind::AzureOpenai, Dialect::Classic) if operation == Operation::Responses => {
            format!("{base_path}/openai/{path}")
        }
        (Kind::AzureOpenai, Dialect::Classic) => {
            let deployment = utf8_percent_encode(deployment, SEGMENT);
            format!("{base_path}/openai/deployments/{deployment}/{path}")
        }
        (Kind::AzureOpenai, Dialect::V1 | Dialect::Plain) => {
            format!("{base_path}/openai/v1/{path}")
        }
    };
    let drop_version = kind == Kind::Openai;
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

/// Whether a query parameter carries a client's key, however it is escaped or spelled: by Azure's name for it, by those of
/// API Management and OAuth, or as browsers name it that can set no headers.
pub(super) fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "api-key",
        "api_key",
        "apikey",
        "authorization",
        "subscription-key",
        "access_token",
        "ocp-apim-subscription-key",
    ];
    let name = percent_decode_str(name).decode_utf8_lossy();
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a stream may be asked for its usage where this goes: chats, and of Azure's dated APIs those since the one that
/// brought it (AZURE.md 10).
pub fn may_ask_for_usage(call: (Dialect, Operation), kind: Kind, query: &str) -> bool {
    const SINCE: &str = "2024-09-01";
    let (dialect, operation) = call;
    if operation != Operation::ChatCompletions {
        return false;
    }
    if kind == Kind::Openai || dialect != Dialect::Classic {
        return true;
    }
    let mut pairs = query.split('&');
    let version = pairs.find_map(|pair| pair.strip_prefix("api-version="));
    let date = version.and_then(|version| version.get(..SINCE.len()));
    date.is_some_and(|date| date.starts_with(|c: char| c.is_ascii_digit()) && date >= SINCE)
}

/// Whether the body must name the deployment on its way out; else the path does, and the body stays as it is.
pub fn body_names_deployment(call: (Dialect, Operation), kind: Kind) -> bool {
    let (dialect, operation) = call;
    if operation == Operation::Realtime {
        return false;
    }
    kind == Kind::Openai || dialect != Dialect::Classic || operation == Operation::Responses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(dialect: Dialect, operation: Operation, model: Option<&str>) -> Option<Route<'_>> {
        Some(Route::Call(Call {
            dialect,
            operation,
            model: model.map(Cow::Borrowed),
        }))
    }

    #[test]
    fn each_path_shape_is_known() {
        use Dialect::*;
        use Operation::*;
        for (path, found) in [
            (
                "/openai/deployments/gpt-4o/chat/completions",
                call(Classic, ChatCompletions, Some("gpt-4o")),
            ),
            (
                "/openai/deployments/my%20dep%2F%C3%A9/embeddings",
                call(Classic, Embeddings, Some("my dep/é")),
            ),
            ("/openai/responses", call(Classic, Responses, None)),
            ("/openai/images/edits", call(Classic, ImageEdits, None)),
            ("/openai/v1/responses", call(V1, Responses, None)),
            ("/v1/audio/speech", call(Plain, AudioSpeech, None)),
            ("/openai/models", Some(Route::Models)),
            ("/openai/v1/models", Some(Route::Models)),
            ("/v1/models/gpt-4o", Some(Route::Model("gpt-4o".into()))),
            ("/openai/models/gpt-4o", Some(Route::Model("gpt-4o".into()))),
            ("/openai/realtime", Some(Route::Realtime(Classic))),
            ("/openai/v1/realtime", Some(Route::Realtime(V1))),
            ("/v1/realtime", Some(Route::Realtime(Plain))),
            ("/health", Some(Route::Health)),
            (
                "/health/models/gpt-4o",
                Some(Route::ModelHealth("gpt-4o".into())),
            ),
        ] {
            assert_eq!(find(path), found, "{path}");
        }
    }

    #[test]
    fn no_other_path_is() {
        for path in [
            "/",
            "",
            "/openai",
            "/openai/chat/completions",
            "/openai/deployments/gpt-4o",
            "/openai/deployments//chat/completions",
            "/openai/deployments/gpt-4o/responses",
            "/openai/deployments/gpt-4o/realtime",
            "/openai/v1/realtime/client_secrets",
            "/openai/v1/realtime/",
            "/openai/deployments/a/b/chat/completions",
            "/openai/deployments/%FF/chat/completions",
            "/openai/v1/chat/completions/",
            "/openai/v1//chat/completions",
            "/openai/v1/../v1/chat/completions",
            "/healthy",
            "/health/models/",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_takes_its_method_only() {
        assert_eq!(
            route(&Method::GET, "/v1/embeddings"),
            Err(Refusal::MethodNotAllowed)
        );
        assert_eq!(
            route(&Method::POST, "/v1/models"),
            Err(Refusal::MethodNotAllowed)
        );
        assert_eq!(route(&Method::HEAD, "/health"), Ok(Route::Health));
        assert_eq!(route(&Method::POST, "/nowhere"), Err(Refusal::UnknownPath));
    }

    #[test]
    fn the_clients_shape_decides_what_goes_out() {
        use Dialect::*;
        use Operation::*;
        let v = "api-version=2024-10-21";
        for (call, kind, base, query, out) in [
            (
                (Classic, ChatCompletions),
                Kind::AzureOpenai,
                "",
                v,
                "/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21",
            ),
            (
                (Classic, Responses),
                Kind::AzureOpenai,
                "",
                v,
                "/openai/responses?api-version=2024-10-21",
            ),
            (
                (V1, ChatCompletions),
                Kind::AzureOpenai,
                "",
                "",
                "/openai/v1/chat/completions",
            ),
            (
                (Plain, Embeddings),
                Kind::AzureOpenai,
                "/x",
                "a=1&b=2",
                "/x/openai/v1/embeddings?a=1&b=2",
            ),
            (
                (Classic, ChatCompletions),
                Kind::Openai,
                "/v1",
                v,
                "/v1/chat/completions",
            ),
            (
                (V1, Responses),
                Kind::Openai,
                "/v1",
                "api-version=preview&x=1",
                "/v1/responses?x=1",
            ),
        ] {
            assert_eq!(outgoing(call, kind, base, "my dep", query), out);
        }
    }

    #[test]
    fn a_stream_is_asked_for_its_usage_where_that_is_known() {
        use Dialect::*;
        let chat = Operation::ChatCompletions;
        for (call, kind, query, may) in [
            ((V1, chat), Kind::AzureOpenai, "", true),
            (
                (Plain, chat),
                Kind::AzureOpenai,
                "api-version=preview",
                true,
            ),
            (
                (Classic, chat),
                Kind::AzureOpenai,
                "api-version=2024-09-01-preview",
                true,
            ),
            (
                (Classic, chat),
                Kind::AzureOpenai,
                "a=b&api-version=2025-01-01",
                true,
            ),
            (
                (Classic, chat),
                Kind::AzureOpenai,
                "api-version=2024-08-01-preview",
                false,
            ),
            (
                (Classic, chat),
                Kind::AzureOpenai,
                "api-version=2023-05-15",
                false,
            ),
            (
                (Classic, chat),
                Kind::AzureOpenai,
                "api-version=preview",
                false,
            ),
            ((Classic, chat), Kind::AzureOpenai, "", false),
            (
                (Classic, chat),
                Kind::Openai,
                "api-version=2023-05-15",
                true,
            ),
            ((V1, Operation::Completions), Kind::AzureOpenai, "", false),
            ((V1, Operation::Responses), Kind::Openai, "", false),
        ] {
            assert_eq!(
                may_ask_for_usage(call, kind, query),
                may,
                "{call:?} {query}"
            );
        }
    }

    #[test]
    fn a_key_in_the_query_never_goes_out() {
        for query in [
            "api-key=K",
            "API-KEY=K",
            "api%2Dkey=K",
            "x=1&api-key=K&y=2",
            "api-key",
            "&&api-key=K",
            "api_key=K",
        ] {
            let out = outgoing(
                (Dialect::V1, Operation::Responses),
                Kind::AzureOpenai,
                "",
                "d",
                query,
            );
            assert!(
                !out.contains("K") && !out.to_lowercase().contains("key"),
                "{out}"
            );
        }
    }
}
