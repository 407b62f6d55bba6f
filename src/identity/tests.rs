//! Credentials against a token server on a real socket.

mod azure;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use tokio::sync::watch;

use super::{
    authority::{Says, TokenServer},
    *,
};
use crate::domain::{
    deployment::Endpoint,
    identity::{AssignedId, Managed},
    secret::Secret,
};

const DEFAULT_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

const HOUR: Duration = Duration::from_secs(3600);
const DENIED: &str = r#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong 'swordfish'",
    "error_codes":[7000215],"trace_id":"aa-1","correlation_id":"bb-2"}"#;

fn instance(name: &str, kind: Kind, scope: &str) -> Arc<Instance> {
    Arc::new(Instance {
        name: name.into(),
        endpoint: Endpoint::parse("https://contoso.openai.azure.com").unwrap(),
        kind,
        identity: "us".into(),
        scope: scope.into(),
        geography: None,
        ca: None,
        stream_usage: true,
        connect_to: None,
    })
}

fn identity(proof: Proof) -> Arc<Identity> {
    let name = "us".into();
    Arc::new(Identity { name, proof })
}

fn imds(server: &TokenServer) -> Proof {
    managed(server, AssignedId::Client("11-22".into()))
}

fn managed(server: &TokenServer, id: AssignedId) -> Proof {
    Proof::ManagedIdentity(Managed {
        id: Some(id),
        endpoint: Some(server.url.clone()),
        ca: None,
    })
}

fn client_secret(server: &TokenServer) -> Proof {
    Proof::ClientSecret {
        tenant_id: "tenant".into(),
        client_id: "client".into(),
        secret: Secret::new("swordfish".into()),
        authority: Some(server.url.clone()),
        ca: None,
    }
}

fn credential(proof: Proof) -> Arc<Credential> {
    let instance = instance("east", Kind::AzureOpenai, DEFAULT_SCOPE);
    let identities = Identities::new(&[identity(proof)], &[Arc::clone(&instance)]).unwrap();
    identities.credential(&instance).unwrap()
}

/// The credential with its task under way. It ends when the sender is dropped.
fn running(proof: Proof) -> (Arc<Credential>, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let credential = credential(proof);
    tokio::spawn(Arc::clone(&credential).run(stopped));
    (credential, stop)
}

/// Long enough for a slow machine, and short enough for a test that fails.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn header(credential: &Credential) -> Option<HeaderValue> {
    Some(credential.header(SystemTime::now())?.1)
}

#[tokio::test]
async fn a_managed_identity_asks_imds_as_it_wants_to_be_asked() {
    let server = TokenServer::start(Says::Imds(HOUR)).await;
    let (credential, _stop) = running(imds(&server));
    assert!(credential.ready(soon()).await);
    let (name, value) = credential.header(SystemTime::now()).unwrap();
    assert_eq!(
        (name.as_str(), value.as_bytes()),
        ("authorization", &b"Bearer token-1"[..])
    );
    assert!(value.is_sensitive());
    let request = server.seen(1).await.remove(0);
    assert!(
        request.starts_with("GET /metadata/identity/oauth2/token?api-version="),
        "{request}"
    );
    assert!(request.contains("resource=https%3A%2F%2Fcognitiveservices.azure.com&client_id=11-22"));
    assert!(request.contains("metadata: true\r\n") && !request.contains("x-forwarded-for"));
}

#[tokio::test]
async fn a_client_secret_asks_its_tenants_endpoint_for_the_scope() {
    let server = TokenServer::start(Says::Entra(HOUR)).await;
    let (credential, _stop) = running(client_secret(&server));
    assert!(credential.ready(soon()).await);
    assert_eq!(header(&credential).unwrap(), "Bearer token-1");
    let request = server.seen(1).await.remove(0);
    assert!(
        request.starts_with("POST /tenant/oauth2/v2.0/token HTTP/1.1\r\n"),
        "{request}"
    );
    for pair in [
        "client_id=client",
        "client_secret=swordfish",
        "grant_type=client_credentials",
        "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default",
    ] {
        assert!(request.contains(pair), "{pair} in {request}");
    }
    let state = credential.state();
    assert_eq!(
        (state.kind, state.failures, state.last_error),
        ("client_secret", 0, None)
    );
    assert!(state.expires_on.unwrap() > SystemTime::now() + HOUR / 2);
}

#[tokio::test]
async fn a_workload_identity_sends_what_its_token_file_holds_now() {
    let file = temporary("federated", "assertion-1");
    let server = TokenServer::start(Says::Entra(Duration::from_secs(2))).await;
    let (credential, _stop) = running(Proof::WorkloadIdentity {
        tenant_id: Some("tenant".into()),
        client_id: Some("client".into()),
        token_file: Some(file.clone()),
        authority: Some(server.url.clone()),
        ca: None,
    });
    assert!(credential.ready(soon()).await);
    std::fs::write(&file, "assertion-2").unwrap();
    let requests = server.seen(2).await;
    std::fs::remove_file(&file).unwrap();
    assert!(
        requests[0].contains("client_assertion=assertion-1"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("client_assertion=assertion-2"),
        "{}",
        requests[1]
    );
}

fn temporary(name: &str, text: &str) -> PathBuf {
    let name = format!("forebay-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_short_token_is_renewed_before_its_end_and_never_missing() {
    let server = TokenServer::start(Says::Entra(Duration::from_secs(3))).await;
    let (credential, _stop) = running(client_secret(&server));
    assert!(credential.ready(soon()).await);
    while server.count() < 3 {
        assert!(header(&credential).is_some());
        tokio::task::yield_now().await;
    }
    assert_eq!(credential.state().failures, 0);
}

#[tokio::test]
async fn the_old_token_is_used_until_its_true_end_while_the_authority_fails() {
    let server = TokenServer::start(Says::Entra(Duration::from_secs(2))).await;
    let (credential, _stop) = running(client_secret(&server));
    assert!(credential.ready(soon()).await);
    let end = credential.state().expires_on.unwrap();
    server.say(Says::Status(503, "", "down"));
    server.seen(2).await;
    while let Some(header) = header(&credential) {
        assert_eq!(header, "Bearer token-1");
        tokio::task::yield_now().await;
    }
    assert!(SystemTime::now() >= end && credential.state().failures > 0);
    server.say(Says::Entra(HOUR));
    let mut progress = credential.progress.subscribe();
    progress.wait_for(|p| p.in_a_row == 0).await.unwrap();
    assert!(header(&credential).is_some() && credential.state().last_error.is_none());
}

#[tokio::test]
async fn a_wrong_secret_is_told_by_its_codes_and_never_by_itself() {
    let server = TokenServer::start(Says::Status(401, "", DENIED)).await;
    let (credential, _stop) = running(client_secret(&server));
    let mut progress = credential.progress.subscribe();
    progress.wait_for(|p| p.failures == 1).await.unwrap();
    let error = credential.state().last_error.unwrap();
    assert!(
        error.contains("401: invalid_client AADSTS7000215 trace aa-1"),
        "{error}"
    );
    assert!(!format!("{error} {credential:?}").contains("swordfish"));
    assert!(header(&credential).is_none());
    assert_eq!(server.count(), 1, "a refusal is not tried again at once");
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_a_failure_that_quotes_nothing() {
    for says in [
        Says::Status(200, "", "<html>swordfish</html>"),
        Says::Status(200, "", r#"{"access_token":["swordfish"]}"#),
        Says::Status(200, "", r#"{"access_token":"sword\nfish","expires_in":60}"#),
        Says::Status(200, "", r#"{"access_token":"","expires_in":60}"#),
        Says::Status(200, "", r#"{"access_token":"swordfish","expires_in":-60}"#),
        Says::Status(
            200,
            "",
            r#"{"access_token":"swordfish","expires_in":9000000000000000000}"#,
        ),
        Says::Status(302, "location: http://127.0.0.1:1/\r\n", "swordfish"),
        Says::Status(500, "", "swordfish"),
    ] {
        let server = TokenServer::start(says.clone()).await;
        let (credential, _stop) = running(client_secret(&server));
        assert!(!credential.ready(soon()).await, "{says:?}");
        let state = credential.state();
        let error = state.last_error.unwrap();
        assert!(
            !error.contains("fish") && state.failures >= 2,
            "{says:?}: {error}"
        );
    }
}

#[tokio::test]
async fn an_authority_that_nobody_answers_at_is_named_in_the_failure() {
    let server = TokenServer::start(Says::Nothing).await;
    let mut proof = client_secret(&server);
    if let Proof::ClientSecret { authority, .. } = &mut proof {
        *authority = Some("http://127.0.0.1:1".into());
    }
    let (credential, _stop) = running(proof);
    assert!(!credential.ready(soon()).await);
    let error = credential.state().last_error.unwrap();
    assert!(
        error.contains("127.0.0.1:1 can't be reached: Connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn the_first_request_waits_no_longer_than_its_deadline() {
    let server = TokenServer::start(Says::Nothing).await;
    let (credential, _stop) = running(imds(&server));
    assert!(
        !credential
            .ready(Instant::now() + Duration::from_millis(50))
            .await
    );
}

#[tokio::test]
async fn a_hundred_refused_requests_make_one_token_request() {
    let server = TokenServer::start(Says::Entra(HOUR)).await;
    let (credential, _stop) = running(client_secret(&server));
    assert!(credential.ready(soon()).await);
    let refused = header(&credential).unwrap();
    let renewals = (0..100).map(|_| credential.renew(&refused, soon()));
    assert!(
        futures_util::future::join_all(renewals)
            .await
            .into_iter()
            .all(|fresh| fresh)
    );
    assert_eq!(
        (header(&credential).unwrap(), server.count()),
        (HeaderValue::from_static("Bearer token-2"), 2)
    );
    assert!(
        credential.renew(&refused, soon()).await,
        "the fresh one is there already"
    );
    let again = header(&credential).unwrap();
    assert!(
        !credential.renew(&again, soon()).await,
        "not twice within seconds"
    );
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn who_listens_hears_when_the_token_ends_before_anybody_finds_it_there() {
    let server = TokenServer::start(Says::Entra(HOUR)).await;
    let credential = credential(client_secret(&server));
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    credential
        .listen(move |instances, validity, _| hears.lock().push((instances.to_vec(), validity)));
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(Arc::clone(&credential).run(stopped));
    assert!(credential.ready(soon()).await);
    let (instances, validity) = heard.lock().pop().unwrap();
    assert_eq!(instances, ["east".into()]);
    let (now, wall) = (Instant::now(), SystemTime::now());
    let end = credential.state().expires_on.unwrap();
    let left = end.duration_since(wall).unwrap();
    let told = validity.ends.unwrap().duration_since(now);
    assert!(
        told.abs_diff(left) < Duration::from_secs(1),
        "{told:?} {left:?}"
    );
    let renewal = validity.renewal.unwrap().duration_since(now);
    assert!(renewal < left && renewal > left / 3, "{renewal:?}");
}

#[tokio::test]
async fn an_api_key_is_ready_at_once_and_has_no_end() {
    let key = || Proof::ApiKey(Secret::new("swordfish".into()));
    let (credential, _stop) = running(key());
    assert!(credential.ready(Instant::now()).await);
    let (name, value) = credential
        .header(SystemTime::now() + HOUR * 1_000_000)
        .unwrap();
    assert_eq!(
        (name.as_str(), value.as_bytes()),
        ("api-key", &b"swordfish"[..])
    );
    assert!(value.is_sensitive() && !format!("{credential:?}").contains("swordfish"));
    assert!(!credential.renew(&value, soon()).await);
    let state = credential.state();
    assert_eq!(
        (state.kind, state.scope, state.expires_on),
        ("api_key", None, None)
    );
}

#[test]
fn an_openai_server_gets_the_key_as_a_bearer_token() {
    let key = identity(Proof::ApiKey(Secret::new("k".into())));
    let azure = instance("azure", Kind::AzureOpenai, DEFAULT_SCOPE);
    let openai = instance("openai", Kind::Openai, DEFAULT_SCOPE);
    let instances = [Arc::clone(&azure), Arc::clone(&openai)];
    let identities = Identities::new(&[key], &instances).unwrap();
    let sent = |i| {
        identities
            .credential(i)
            .unwrap()
            .header(SystemTime::now())
            .unwrap()
    };
    assert_eq!(
        (sent(&azure).0.as_str(), sent(&azure).1),
        ("api-key", HeaderValue::from_static("k"))
    );
    let bearer = HeaderValue::from_static("Bearer k");
    assert_eq!(
        (sent(&openai).0.as_str(), sent(&openai).1),
        ("authorization", bearer)
    );
}

#[tokio::test]
async fn instances_share_a_credential_unless_their_scopes_differ() {
    let server = TokenServer::start(Says::Entra(HOUR)).await;
    let instances = [
        ("a", "x/.default"),
        ("b", "x/.default"),
        ("c", "y/.default"),
    ]
    .map(|(name, scope)| instance(name, Kind::AzureOpenai, scope));
    let identities = Identities::new(&[identity(client_secret(&server))], &instances).unwrap();
    assert_eq!(identities.credentials().len(), 2);
    let [a, b, c] = instances
        .each_ref()
        .map(|i| identities.credential(i).unwrap());
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(Arc::clone(&a).run(stopped));
    assert!(a.ready(soon()).await);
    let only = identities.summaries();
    assert_eq!(only.len(), 1);
    assert_eq!(
        only[0].expires_on, None,
        "the other scope's token is missing"
    );
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_task_ends_when_it_is_told_to() {
    let server = TokenServer::start(Says::Entra(HOUR)).await;
    let (stop, stopped) = watch::channel(false);
    let credential = credential(client_secret(&server));
    let task = tokio::spawn(Arc::clone(&credential).run(stopped));
    assert!(credential.ready(soon()).await);
    stop.send(true).unwrap();
    task.await.unwrap();
    assert!(header(&credential).is_some(), "its token stays in use");
}

#[test]
fn what_can_never_work_is_an_error_at_the_start() {
    let secret = |tenant: &str, authority: &str| Proof::ClientSecret {
        tenant_id: tenant.into(),
        client_id: "client".into(),
        secret: Secret::new("swordfish".into()),
        authority: Some(authority.into()),
        ca: None,
    };
    for proof in [
        Proof::ApiKey(Secret::new("sword\nfish".into())),
        secret("../other", "https://login.test"),
        secret("tenant", "http://login.test"),
        secret("tenant", "login.test"),
        secret("tenant", "https://swordfish/path"),
        // A token that stands where its file's path belongs.
        Proof::WorkloadIdentity {
            tenant_id: Some("tenant".into()),
            client_id: Some("client".into()),
            token_file: Some("/nowhere/swordfish".into()),
            authority: None,
            ca: None,
        },
        Proof::ManagedIdentity(Managed {
            ca: Some("/nowhere/swordfish".into()),
            ..Managed::default()
        }),
    ] {
        let east = [instance("east", Kind::AzureOpenai, DEFAULT_SCOPE)];
        let error = Identities::new(&[identity(proof)], &east)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("identity us can't be set up: ") && !error.contains("fish"),
            "{error}"
        );
    }
    let error = Identities::new(&[], &[instance("east", Kind::Openai, "")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "instance east names an identity that does not exist: us"
    );
}
