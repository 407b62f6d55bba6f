//! What a path asks for: the operation, the deployment where the path names it, the API version.
//!
//! Pure: method, path and query in; a [`Route`] out, or nothing where Azure answers "Resource not found".

use http::{Method, Uri};

use super::config::Kind;

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Chat,
    Completions,
    Embeddings,
    Responses,
    ImageGenerations,
    ImageEdits,
    Speech,
    Transcriptions,
    Translations,
    Compact,
    InputTokens,
    /// A session over a WebSocket.
    Realtime,
}

impl Operation {
    fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "chat/completions" => Self::Chat,
            "completions" => Self::Completions,
            "embeddings" => Self::Embeddings,
            "responses" => Self::Responses,
            "images/generations" => Self::ImageGenerations,
            "images/edits" => Self::ImageEdits,
            "audio/speech" => Self::Speech,
            "audio/transcriptions" => Self::Transcriptions,
            "audio/translations" => Self::Translations,
            "responses/compact" => Self::Compact,
            "responses/input_tokens" => Self::InputTokens,
            _ => return None,
        })
    }

    /// Azure's name for it, as its 429s say it.
    pub(crate) fn azure_name(self) -> &'static str {
        match self {
            Self::Chat => "ChatCompletions_Create",
            Self::Completions => "Completions_Create",
            Self::Embeddings => "Embeddings_Create",
            Self::Responses => "Responses_Create",
            Self::ImageGenerations => "ImageGenerations_Create",
            Self::ImageEdits => "ImageEdits_Create",
            Self::Speech => "Speech_Create",
            Self::Transcriptions => "Transcriptions_Create",
            Self::Translations => "Translations_Create",
            Self::Compact => "Responses_Compact",
            Self::InputTokens => "Responses_InputTokens",
            Self::Realtime => "Realtime_Connect",
        }
    }

    /// As Azure's roles name it.
    fn action(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI/deployments/chat/completions/action",
            Self::Completions => "OpenAI/deployments/completions/action",
            Self::Embeddings => "OpenAI/deployments/embeddings/action",
            Self::Responses | Self::Compact | Self::InputTokens => "OpenAI/responses/write",
            Self::ImageGenerations | Self::ImageEdits => {
                "OpenAI/deployments/images/generations/action"
            }
            Self::Speech | Self::Transcriptions | Self::Translations => {
                "OpenAI/deployments/audio/action"
            }
            Self::Realtime => "OpenAI/deployments/realtime/action",
        }
    }

    fn is_of_responses(self) -> bool {
        matches!(self, Self::Responses | Self::Compact | Self::InputTokens)
    }
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A model's work; without a deployment the body names it.
    Call {
        operation: Operation,
        deployment: Option<String>,
    },
    /// The list of models, or one of them; `classic` has Azure's older shape.
    Models { id: Option<String>, classic: bool },
}

/// A request's address, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) route: Route,
    /// As the 429s name it.
    pub(crate) api_version: String,
    /// Whether a key may come as a bearer token (wire facts: Authentication).
    pub(crate) key_as_bearer: bool,
    /// Of the API that has dates, v1, which has none, or another's that takes anything.
    family: Family,
}

/// Which versions of an API there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Dated,
    V1,
    Inference,
    Openai,
}

/// The dated versions that Azure OpenAI has or had.
const DATED: [&str; 20] = [
    "2022-12-01",
    "2023-05-15",
    "2023-12-01-preview",
    "2024-02-01",
    "2024-02-15-preview",
    "2024-03-01-preview",
    "2024-04-01-preview",
    "2024-05-01-preview",
    "2024-06-01",
    "2024-07-01-preview",
    "2024-08-01-preview",
    "2024-09-01-preview",
    "2024-10-01-preview",
    "2024-10-21",
    "2024-12-01-preview",
    "2025-01-01-preview",
    "2025-02-01-preview",
    "2025-03-01-preview",
    "2025-04-01-preview",
    "2025-08-28",
];

impl Address {
    pub(crate) fn parse(method: &Method, uri: &Uri, kind: Kind, base_path: &str) -> Option<Self> {
        let (path, version) = (uri.path(), api_version(uri.query()));
        let open = |route, version: Option<&str>, family| Self {
            route,
            api_version: version.unwrap_or("v1").to_owned(),
            key_as_bearer: true,
            family,
        };
        if kind == Kind::Openai {
            let rest = path
                .strip_prefix(base_path.trim_end_matches('/'))?
                .strip_prefix('/')?;
            let route = in_query(method, rest, uri.query(), "model")
                .or_else(|| in_body(method, rest, false))?;
            return Some(open(route, None, Family::Openai));
        }
        if let Some(rest) = path
            .strip_prefix("/models/")
            .filter(|_| kind == Kind::Foundry)
        {
            let known = matches!(rest, "chat/completions" | "embeddings");
            let route = in_body(method, rest, false).filter(|_| known)?;
            return Some(open(route, Some(version?), Family::Inference));
        }
        let path = path.strip_prefix("/openai/")?;
        if let Some(rest) = path.strip_prefix("v1/") {
            let route = in_query(method, rest, uri.query(), "model")
                .or_else(|| in_body(method, rest, false))?;
            return Some(open(route, version, Family::V1));
        }
        // Classic paths are dated; without a date Azure knows none of them.
        let api_version = version?.to_owned();
        let route = match path.strip_prefix("deployments/") {
            Some(rest) => in_path(method, rest)?,
            None => in_query(method, path, uri.query(), "deployment")
                .or_else(|| in_body(method, path, true))?,
        };
        Some(Self {
            route,
            api_version,
            key_as_bearer: false,
            family: Family::Dated,
        })
    }

    /// Whether there is such a version; `more`: what an instance knows beside Azure's own, `*` for whatever it may be.
    pub(crate) fn is_known(&self, more: &[String]) -> bool {
        let version = self.api_version.as_str();
        let is_more = || more.iter().any(|known| known == "*" || known == version);
        match self.family {
            Family::Dated | Family::Inference => DATED.contains(&version) || is_more(),
            Family::V1 | Family::Openai => true,
        }
    }

    /// Whether v1 is asked for by another version's name, which it says in other words.
    pub(crate) fn is_of_another_version(&self) -> bool {
        let known = ["v1", "preview", "latest"];
        self.family == Family::V1 && !known.contains(&self.api_version.as_str())
    }

    /// What its caller must be allowed, below `Microsoft.CognitiveServices/accounts/`.
    pub(crate) fn action(&self) -> &'static str {
        match (self.family, &self.route) {
            (Family::Inference, _) => "MaaS/chat/completions/action",
            (_, Route::Models { .. }) => "OpenAI/models/read",
            (_, Route::Call { operation, .. }) => operation.action(),
        }
    }
}

fn in_path(method: &Method, rest: &str) -> Option<Route> {
    let (name, operation) = rest.split_once('/')?;
    let deployment = percent_encoding::percent_decode_str(name)
        .decode_utf8()
        .ok()?
        .into_owned();
    let operation =
        Operation::from_path(operation).filter(|operation| !operation.is_of_responses())?;
    (method == Method::POST).then_some(Route::Call {
        operation,
        deployment: Some(deployment),
    })
}

/// A session names its deployment in the query (wire facts: Realtime).
fn in_query(method: &Method, rest: &str, query: Option<&str>, parameter: &str) -> Option<Route> {
    let is_session = method == Method::GET && rest == "realtime";
    let mut pairs = form_urlencoded::parse(query.filter(|_| is_session)?.as_bytes());
    let (_, deployment) = pairs.find(|(name, _)| name == parameter)?;
    Some(Route::Call {
        operation: Operation::Realtime,
        deployment: Some(deployment.into_owned()),
    })
}

fn in_body(method: &Method, rest: &str, classic: bool) -> Option<Route> {
    if method == Method::GET {
        let id = match rest.strip_prefix("models")? {
            "" => None,
            id => Some(id.strip_prefix('/')?.to_owned()),
        };
        return Some(Route::Models { id, classic });
    }
    let operation = Operation::from_path(rest)?;
    // Node's client sends image edits without a deployment (wire facts: What clients send); everything else dated names one in the path.
    let known = !classic || operation.is_of_responses() || operation == Operation::ImageEdits;
    (method == Method::POST && known).then_some(Route::Call {
        operation,
        deployment: None,
    })
}

fn api_version(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("api-version="))
        .filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn azure(method: Method, uri: &str) -> Option<Address> {
        Address::parse(&method, &uri.parse().unwrap(), Kind::AzureOpenai, "")
    }

    fn call(operation: Operation, deployment: Option<&str>) -> Route {
        Route::Call {
            operation,
            deployment: deployment.map(str::to_owned),
        }
    }

    #[test]
    fn a_classic_path_names_its_deployment() {
        let address = azure(
            Method::POST,
            "/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21",
        )
        .unwrap();
        assert_eq!(address.route, call(Operation::Chat, Some("my dep")));
        assert_eq!(address.api_version, "2024-10-21");
    }

    #[test]
    fn a_classic_path_without_a_version_is_unknown() {
        assert_eq!(
            azure(Method::POST, "/openai/deployments/d/chat/completions"),
            None
        );
        assert_eq!(azure(Method::POST, "/openai/responses?api-version="), None);
    }

    #[test]
    fn only_azures_own_versions_are_known_and_v1_has_none() {
        let chat = |path: &str, version: &str| {
            let uri = format!("/openai/{path}?api-version={version}");
            azure(Method::POST, &uri).unwrap()
        };
        let classic = |version: &str| chat("deployments/d/chat/completions", version);
        let more = |version: &str| [version.to_owned()];
        assert!(classic("2024-10-21").is_known(&[]));
        for version in ["2024-10-22", "1", "v1", "preview"] {
            assert!(!classic(version).is_known(&[]), "{version}");
            assert!(classic(version).is_known(&more("*")));
            assert!(classic(version).is_known(&more(version)));
        }
        let is_other = |version| chat("v1/chat/completions", version).is_of_another_version();
        assert_eq!(
            ["v1", "preview", "2024-10-21"].map(is_other),
            [false, false, true]
        );
        assert!(!classic("2024-10-21").is_of_another_version());
    }

    #[test]
    fn v1_paths_leave_the_deployment_to_the_body() {
        for (path, operation) in [
            ("chat/completions", Operation::Chat),
            ("responses", Operation::Responses),
            ("responses/compact", Operation::Compact),
            ("responses/input_tokens", Operation::InputTokens),
            ("audio/speech", Operation::Speech),
        ] {
            let address = azure(Method::POST, &format!("/openai/v1/{path}")).unwrap();
            assert_eq!(address.route, call(operation, None));
        }
    }

    #[test]
    fn a_session_names_its_deployment_in_the_query() {
        let at = |uri: &str| azure(Method::GET, uri).map(|address| address.route);
        let session = call(Operation::Realtime, Some("my dep"));
        for uri in [
            "/openai/realtime?api-version=x&deployment=my%20dep",
            "/openai/v1/realtime?a=b&model=my%20dep",
        ] {
            assert_eq!(at(uri).as_ref(), Some(&session), "{uri}");
        }
        for uri in [
            "/openai/v1/realtime",
            "/openai/v1/realtime?deployment=d",
            "/openai/realtime?deployment=d",
        ] {
            assert_eq!(at(uri), None, "{uri}");
        }
    }

    #[test]
    fn nothing_else_is_known() {
        for path in [
            "/",
            "/openai",
            "/openai/v1/nothing",
            "/v1/chat/completions",
            "/openai/chat/completions?api-version=x",
        ] {
            assert_eq!(azure(Method::POST, path), None, "{path}");
        }
        assert_eq!(azure(Method::GET, "/openai/v1/chat/completions"), None);
    }

    #[test]
    fn models_are_listed_in_two_shapes() {
        assert_eq!(
            azure(Method::GET, "/openai/v1/models").unwrap().route,
            Route::Models {
                id: None,
                classic: false
            }
        );
        let one = azure(Method::GET, "/openai/models/m?api-version=2024-10-21").unwrap();
        assert_eq!(
            one.route,
            Route::Models {
                id: Some("m".into()),
                classic: true
            }
        );
    }

    #[test]
    fn model_inference_is_foundrys_alone_and_dated() {
        let at = |uri: &str, kind| Address::parse(&Method::POST, &uri.parse().unwrap(), kind, "");
        let chat = "/models/chat/completions?api-version=2024-05-01-preview";
        let address = at(chat, Kind::Foundry).unwrap();
        assert_eq!(address.route, call(Operation::Chat, None));
        assert_eq!(at(chat, Kind::AzureOpenai), None);
        assert_eq!(at("/models/chat/completions", Kind::Foundry), None);
        assert_eq!(at("/models/responses?api-version=x", Kind::Foundry), None);
        assert!(at("/openai/v1/embeddings", Kind::Foundry).is_some());
    }

    #[test]
    fn a_plain_openai_server_lives_below_its_base_path() {
        let at =
            |uri: &str| Address::parse(&Method::POST, &uri.parse().unwrap(), Kind::Openai, "/v1");
        assert_eq!(
            at("/v1/embeddings").unwrap().route,
            call(Operation::Embeddings, None)
        );
        assert_eq!(at("/openai/v1/embeddings"), None);
    }
}
