//! Where Entra tokens may go, and what they may be for.

use super::*;

const SWC: &str = "{ endpoint: \"https://contoso-swc.openai.azure.com\", identity: vm }";

/// What a config says in which the instance with the managed identity is this.
fn said(instance: &str) -> String {
    said_of(&with(SWC, instance))
}

fn said_of(text: &str) -> String {
    match read(text) {
        Ok(loaded) => {
            let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
            if warnings.is_empty() {
                loaded.plan.instances[0].scope.clone()
            } else {
                warnings.join("\n")
            }
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn tokens_go_to_azures_own_names_and_elsewhere_by_a_word_of_the_operators_only() {
    for endpoint in [
        "endpoint: \"https://contoso.openai.azure.com.evil.example\"",
        "endpoint: \"https://api.openai.com/v1\", kind: openai",
        "endpoint: \"https://contoso.azure-api.net\"",
        "endpoint: \"http://contoso.openai.azure.com\", insecure_http: true",
        "endpoint: \"http://127.0.0.1:9000\", connect_to: 10.0.0.4, insecure_http: true",
    ] {
        let answer = said(&format!("{{ {endpoint}, identity: vm }}"));
        assert!(
            answer.starts_with("f.yaml:7:20: Entra tokens are sent only to Azure's own hosts")
                && answer.contains("allow_host: true")
                && answer.lines().count() == 1,
            "{answer}"
        );
        let allowed = said(&format!("{{ {endpoint}, identity: vm, allow_host: true }}"));
        assert_eq!(allowed, "https://cognitiveservices.azure.com/.default");
    }
    // A name that stands for this machine, and leads elsewhere.
    let answer =
        said("{ endpoint: \"http://localhost:9000\", connect_to: 10.0.0.4, identity: vm }");
    assert!(answer.contains("insecure_http: true"), "{answer}");
    // A key opens nothing but its own instance.
    let text = with(
        SWC,
        "{ endpoint: \"https://own.example/v1\", kind: openai, identity: legacy }",
    )
    .replace("  vm: { managed_identity: {} }\n", "");
    assert_eq!(
        said_of(&text),
        "https://cognitiveservices.azure.com/.default"
    );
}

#[test]
fn a_scope_is_one_of_azure_openais_or_of_an_application_of_ones_own() {
    let scope = |more: &str, scope: &str| {
        said(&format!(
            "{{ {more}, identity: vm, scope: \"{scope}/.default\" }}"
        ))
    };
    let azure = "endpoint: \"https://contoso.openai.azure.com\"";
    let own = "endpoint: \"https://own.example/v1\", kind: openai, allow_host: true";
    for (instance, audience) in [
        (azure, "https://ai.azure.com"),
        (azure, "https://cognitiveservices.azure.com"),
        (own, "https://cognitiveservices.azure.com"),
        (own, "api://models.contoso.example"),
        (own, "11111111-2222-3333-4444-555555555555"),
        ("endpoint: \"http://127.0.0.1:9000\"", "api://models"),
    ] {
        assert_eq!(scope(instance, audience), format!("{audience}/.default"));
    }
    for (instance, audience) in [
        (azure, "https://management.azure.com"),
        (azure, "https://graph.microsoft.com"),
        (azure, "https://vault.azure.net"),
        (azure, "https://cognitiveservices.azure.us"),
        (azure, "api://models.contoso.example"),
        (own, "https://management.azure.com"),
        (own, "https://management.core.windows.net/"),
        (own, "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        (
            "endpoint: \"http://127.0.0.1:9000\"",
            "https://management.azure.com",
        ),
    ] {
        let answer = scope(instance, audience);
        assert!(
            answer.contains("would give the receiver access to another service"),
            "{audience}: {answer}"
        );
    }
}

#[test]
fn a_sovereign_clouds_scope_and_authority_follow_from_its_endpoint() {
    for (end, scope) in [
        ("azure.us", "https://cognitiveservices.azure.us/.default"),
        ("azure.cn", "https://cognitiveservices.azure.cn/.default"),
    ] {
        let instance = format!("{{ endpoint: \"https://contoso.openai.{end}\", identity: vm }}");
        assert_eq!(said(&instance), scope);
    }
    let gov = |authority: &str| {
        let secret = format!("tenant_id: t, client_id: c, secret: s, authority: \"{authority}\"");
        let text = with(
            "{ managed_identity: {} }",
            &format!("{{ client_secret: {{ {secret} }} }}"),
        );
        said_of(&text.replace("contoso-swc.openai.azure.com", "contoso-va.openai.azure.us"))
    };
    let scope = "https://cognitiveservices.azure.us/.default";
    assert_eq!(gov("https://login.microsoftonline.us"), scope);
    let answer = gov("https://login.microsoftonline.com");
    assert!(
        answer.contains(
            "this endpoint is in Azure Government, which needs tokens from https://login.microsoftonline.us"
        ),
        "{answer}"
    );
    let answer = gov("https://login.microsoftonline.us.evil.example");
    assert!(
        answer.contains("not one of Azure's authorities"),
        "{answer}"
    );
}

#[test]
fn who_we_are_to_azure_is_named_in_one_way() {
    let identity =
        |proof: &str| said_of(&with("{ managed_identity: {} }", &format!("{{ {proof} }}")));
    let sound = "https://cognitiveservices.azure.com/.default";
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n";
    let federated = |by: &str| {
        format!(
            "federated_identity: {{ tenant_id: fabrikam, client_id: c, managed_identity: {{ {by} }} }}"
        )
    };
    for proof in [
        "managed_identity: { client_id: a }",
        "managed_identity: { object_id: a }",
        &format!("managed_identity: {{ msi_res_id: {resource} }}"),
        &federated("client_id: a"),
        "azure_cli: {}",
        "azure_cli: { tenant_id: contoso.onmicrosoft.com }",
    ] {
        assert_eq!(identity(proof), sound, "{proof}");
    }
    for (proof, words) in [
        (
            "managed_identity: { client_id: a, object_id: b }",
            "set only one of",
        ),
        (
            "managed_identity: { msi_res_id: n }",
            "like /subscriptions/",
        ),
        (
            "federated_identity: { tenant_id: t, client_id: c }",
            "`managed_identity` is missing",
        ),
        (&federated(""), "only a user-assigned identity works here"),
        ("azure_cli: { tenant_id: \"a; rm -rf /\" }", "by its domain"),
    ] {
        let answer = identity(proof);
        assert!(answer.contains(words), "{proof}: {answer}");
    }
    // What is for a developer's own machine is warned of where others reach it.
    let text = with("{ managed_identity: {} }", "{ azure_cli: {} }")
        .replace("127.0.0.1:8080", "0.0.0.0:8080");
    let answer = said_of(&text);
    assert!(
        answer.starts_with("f.yaml:4:3: azure_cli is for a developer's own machine"),
        "{answer}"
    );
}

#[test]
fn an_application_that_is_named_is_meant_itself_unless_something_of_a_person_is() {
    let demands = |more: &str| {
        let entra = format!(
            "entra: {{ tenant_id: 11111111-2222-3333-4444-555555555555, audiences: [\"api://gw\"], {more} }}"
        );
        let text = with(
            "models: [gpt-4o] }",
            &format!("models: [gpt-4o], {entra} }}"),
        );
        match read(text) {
            Ok(loaded) => format!("{:?}", loaded.plan.clients.all()[0].tokens[0].demands),
            Err(problems) => problems.to_string(),
        }
    };
    let app = "application_id: 11111111-2222-3333-4444-666666666666";
    for (more, word) in [
        (app.to_owned(), "AppOnly"),
        (format!("{app}, roles: [r]"), "AppOnly"),
        (format!("{app}, scopes: [s]"), ""),
        (format!("{app}, groups: [g]"), ""),
        (format!("{app}, access: any"), ""),
        (format!("{app}, access: delegated"), "Delegated"),
        ("roles: [r]".to_owned(), ""),
        ("roles: [r], access: app_only".to_owned(), "AppOnly"),
        (
            format!("{app}, scopes: [s], access: app_only"),
            "only users' tokens have scopes",
        ),
    ] {
        let found = demands(&more);
        let others = ["AppOnly", "Delegated"]
            .into_iter()
            .filter(|it| *it != word);
        assert!(found.contains(word), "{more}: {found}");
        assert!(
            others.into_iter().all(|it| !found.contains(it)),
            "{more}: {found}"
        );
    }
}

#[test]
fn pages_that_may_ask_are_named_by_their_origins() {
    let cors = |origins: &str| said_of(&format!("{SOUND}cors: {{ origins: [{origins}] }}\n"));
    let sound = "https://cognitiveservices.azure.com/.default";
    assert_eq!(cors("\"https://app.contoso.example\""), sound);
    for (origins, words) in [
        ("\"*\"", "list each origin"),
        ("\"https://app.contoso.example/\"", "and port only"),
        ("", "or remove cors:"),
    ] {
        let answer = cors(origins);
        assert!(answer.contains(words), "{answer}");
    }
}
