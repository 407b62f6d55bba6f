//! Who the gateway is to Azure beyond one tenant and one cloud: named by any id, trusted elsewhere, in sovereign clouds.

use super::*;

#[tokio::test]
async fn a_user_assigned_identity_is_asked_for_by_whichever_id_names_it() {
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n";
    for (id, query) in [
        (
            AssignedId::Client("11-22".into()),
            "client_id=11-22".to_owned(),
        ),
        (
            AssignedId::Object("33-44".into()),
            "object_id=33-44".to_owned(),
        ),
        (
            AssignedId::Resource(resource.into()),
            format!("msi_res_id={}", resource.replace('/', "%2F")),
        ),
    ] {
        let server = TokenServer::start(Says::Imds(HOUR)).await;
        let (credential, _stop) = running(managed(&server, id));
        assert!(credential.ready(soon()).await);
        let seen = server.seen(1).await;
        let line = seen[0].lines().next().unwrap();
        assert!(line.contains(&query), "{line}");
        assert_eq!(line.matches("_id=").count(), 1, "{line}");
    }
}

#[tokio::test]
async fn a_managed_identitys_token_stands_in_for_the_secret_of_an_application_elsewhere() {
    let machine = TokenServer::start(Says::Imds(HOUR)).await;
    let entra = TokenServer::start(Says::Entra(HOUR)).await;
    let federated = || Proof::FederatedIdentity {
        tenant_id: "fabrikam".into(),
        client_id: "their-app".into(),
        by: Managed {
            id: Some(AssignedId::Client("11-22".into())),
            endpoint: Some(machine.url.clone()),
            ca: None,
        },
        authority: Some(entra.url.clone()),
        ca: None,
    };
    let (credential, _stop) = running(federated());
    assert!(credential.ready(soon()).await);
    let first = machine.seen(1).await.remove(0);
    assert!(
        first.contains("resource=api%3A%2F%2FAzureADTokenExchange&")
            && first.contains("client_id=11-22"),
        "{first}"
    );
    let second = entra.seen(1).await.remove(0);
    assert!(
        second.starts_with("POST /fabrikam/oauth2/v2.0/token "),
        "{second}"
    );
    for field in [
        "client_assertion=token-1",
        "client_id=their-app",
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
    ] {
        assert!(second.contains(field), "{second}");
    }
    assert!(!second.contains("client_secret"), "{second}");
    let state = credential.state();
    assert_eq!(
        (state.kind, state.source),
        ("federated_identity", Some("entra"))
    );
    // A fresh one is proved afresh.
    let refused = header(&credential).unwrap();
    assert!(credential.renew(&refused, soon()).await);
    assert_eq!((machine.count(), entra.count()), (2, 2));

    machine.say(Says::Status(400, "", r#"{"error":"invalid_request"}"#));
    let (credential, _stop) = running(federated());
    assert!(!credential.ready(soon()).await);
    let error = credential.state().last_error.unwrap();
    assert!(error.contains("answered 400: invalid_request"), "{error}");
    assert_eq!(
        entra.count(),
        2,
        "without the first token nobody is asked for the second"
    );
}

#[test]
fn a_sovereign_clouds_instances_ask_their_own_authority() {
    let sovereign = |host: &str, scope: &str| {
        let mut instance = Instance::clone(&instance("east", Kind::AzureOpenai, scope));
        instance.endpoint = Endpoint::parse(host).unwrap();
        Arc::new(instance)
    };
    let proof = |authority: Option<&str>| Proof::ClientSecret {
        tenant_id: "tenant".into(),
        client_id: "client".into(),
        secret: Secret::new("swordfish".into()),
        authority: authority.map(str::to_owned),
        ca: None,
    };
    for (host, authority, asked_at) in [
        (
            "https://a.openai.azure.com",
            None,
            "https://login.microsoftonline.com",
        ),
        (
            "https://a.openai.azure.us",
            None,
            "https://login.microsoftonline.us",
        ),
        (
            "https://a.openai.azure.cn",
            None,
            "https://login.partner.microsoftonline.cn",
        ),
        (
            "https://a.openai.azure.us",
            Some("https://login.test"),
            "https://login.test",
        ),
    ] {
        let instances = [sovereign(host, "x/.default")];
        let identities = Identities::new(&[identity(proof(authority))], &instances).unwrap();
        let states = identities.states();
        assert_eq!(states[0].asked_at.as_deref(), Some(asked_at), "{host}");
    }
    // One identity in two clouds: each has its own token, even for one scope.
    let instances = [sovereign("https://a.openai.azure.com", "x/.default"), {
        let mut other = Instance::clone(&sovereign("https://a.openai.azure.us", "x/.default"));
        other.name = "virginia".into();
        Arc::new(other)
    }];
    let identities = Identities::new(&[identity(proof(None))], &instances).unwrap();
    assert_eq!(identities.credentials().len(), 2);
}
