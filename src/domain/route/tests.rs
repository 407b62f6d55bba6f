use super::*;
use crate::domain::query::Query;

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
        (
            "/openai/images/generations",
            call(Classic, ImageGenerations, None),
        ),
        (
            "/openai/chat/completions",
            call(Classic, ChatCompletions, None),
        ),
        (
            "/openai/deployments/gpt-5/responses",
            call(Classic, Responses, Some("gpt-5")),
        ),
        (
            "/openai/v1/responses/compact",
            call(V1, ResponsesCompact, None),
        ),
        (
            "/v1/responses/input_tokens",
            call(Plain, ResponsesInputTokens, None),
        ),
        (
            "/models/chat/completions",
            call(Inference, ChatCompletions, None),
        ),
        ("/models/embeddings", call(Inference, Embeddings, None)),
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
        "/openai/deployments/gpt-4o",
        "/openai/deployments//chat/completions",
        "/openai/deployments/gpt-4o/realtime",
        "/models",
        "/models/",
        "/models/gpt-4o",
        "/models/models",
        "/models/realtime",
        "/models/responses",
        "/openai/v1/responses/resp_1",
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
    for (method, path, allow) in [
        (Method::GET, "/v1/embeddings", "POST"),
        (Method::OPTIONS, "/models/chat/completions", "POST"),
        (Method::POST, "/v1/models", "GET"),
        (Method::HEAD, "/openai/realtime", "GET"),
        (Method::POST, "/health/models/m", "GET, HEAD"),
    ] {
        let refused = Err(Refusal::MethodNotAllowed { allow });
        assert_eq!(route(&method, path), refused, "{method} {path}");
    }
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
        (
            (Classic, ResponsesCompact),
            Kind::AzureOpenai,
            "",
            "api-version=2025-04-01-preview",
            "/openai/responses/compact?api-version=2025-04-01-preview",
        ),
        (
            (Inference, ChatCompletions),
            Kind::AzureOpenai,
            "",
            "api-version=2024-05-01-preview",
            "/models/chat/completions?api-version=2024-05-01-preview",
        ),
        (
            (Inference, Embeddings),
            Kind::Openai,
            "/v1",
            "api-version=2024-05-01-preview",
            "/v1/embeddings",
        ),
        (
            (Plain, ChatCompletions),
            Kind::AzureOpenai,
            "",
            "api-version=2024-05-01-preview&x=1",
            "/openai/v1/chat/completions?x=1",
        ),
    ] {
        assert_eq!(outgoing(call, kind, base, "my dep", query), out);
    }
}

#[test]
fn a_body_that_names_the_model_without_a_date_is_meant_for_v1() {
    use Dialect::*;
    use Operation::*;
    for (path, query, dialect) in [
        ("/openai/chat/completions", "", V1),
        ("/openai/responses", "api-version=v1", V1),
        ("/openai/images/edits", "api-version=preview", V1),
        ("/openai/deployments/d/responses", "api-version=v1", V1),
        (
            "/openai/deployments/d/responses",
            "api-version=2025-04-01-preview",
            Classic,
        ),
        ("/openai/embeddings", "a=b&api-version=2024-10-21", Classic),
        ("/openai/deployments/d/chat/completions", "", Classic),
        ("/models/embeddings", "", Inference),
        ("/v1/embeddings", "", Plain),
    ] {
        let Some(Route::Call(call)) = find(path) else {
            panic!("{path}");
        };
        let version = Query::of(query.to_owned());
        let call = call.dated_by(&version.api_version());
        assert_eq!(call.dialect, dialect, "{path}?{query}");
    }
    assert!(ResponsesCompact.is_of_responses() && !ImageEdits.is_of_responses());
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
        ((Inference, chat), Kind::AzureOpenai, "", false),
        ((Inference, chat), Kind::Openai, "", true),
        ((V1, Operation::Responses), Kind::Openai, "", false),
    ] {
        assert_eq!(
            may_ask_for_usage(call, kind, &Query::of(query.to_owned()).api_version()),
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
