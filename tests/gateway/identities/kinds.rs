//! Each kind of identity gets its tokens from endpoints that check it, and keeps what proves it to itself.

use forebay::simulator::TokenFault;
use tokio::{io::AsyncReadExt, net::TcpListener};

use super::{IdentityFixture, Setup, certificates};
use crate::harness::{eventually_async, served_by};

const HEADER: &str = "MARKED-identity-header-5d1e";
const SECRET: &str = "MARKED-app-secret-81ab";
/// Part of the committed test key.
const KEY_PART: &str = "PRIVATE KEY";

/// Two tenants of a simulated Entra, a machine with one user-assigned identity; all over TLS.
const OVER_TLS: &str = "tls: { certificate: \"{folder}/tokens.crt\", key: \"{folder}/tokens.key\" }, user_assigned: [user-1], applications: [\
    { tenant_id: contoso, client_id: by-secret, secret: MARKED-app-secret-81ab }, \
    { tenant_id: contoso, client_id: by-certificate, certificate: \"{folder}/app.pem\" }, \
    { tenant_id: fabrikam, client_id: by-federation, federated_token: \"{folder}/federated\" }, \
    { tenant_id: fabrikam, client_id: by-secret, secret: another }]";

const AT: &str = "authority: \"https://localhost:{port}\", ca: \"{folder}/ca.pem\"";

fn entra(kind: &str, fields: &str) -> String {
    format!("{kind}: {{ {fields}, {AT} }}")
}

async fn open(
    tokens: &str,
    proofs: &[(&str, String)],
    variables: &[(&str, &str)],
) -> IdentityFixture {
    let proofs: Vec<_> = proofs
        .iter()
        .map(|(name, proof)| (*name, proof.as_str(), ""))
        .collect();
    let setup = Setup {
        tokens,
        proofs: &proofs,
        variables,
        ..Setup::default()
    };
    setup.open().await
}

/// Each is asked for its own model, and answers.
async fn all_serve(fixture: &IdentityFixture, names: impl IntoIterator<Item = &str>) {
    for name in names {
        let answer = fixture.ask(name).await;
        assert_eq!(
            answer.status(),
            200,
            "{name}: {:#}",
            fixture.identity(name).await
        );
        assert_eq!(served_by(&answer), name);
    }
}

#[tokio::test]
async fn every_kind_gets_its_tokens_over_tls_from_an_authority_of_ones_own() {
    let imds = "endpoint: \"https://localhost:{port}\", ca: \"{folder}/ca.pem\"";
    let proofs = [
        ("system", format!("managed_identity: {{ {imds} }}")),
        ("user", format!("managed_identity: {{ client_id: user-1, {imds} }}")),
        ("federation", entra("workload_identity", "tenant_id: fabrikam, client_id: by-federation, token_file: \"{folder}/federated\"")),
        ("secret", entra("client_secret", "tenant_id: contoso, client_id: by-secret, secret: MARKED-app-secret-81ab")),
        ("elsewhere", entra("client_secret", "tenant_id: fabrikam, client_id: by-secret, secret: another")),
        ("certificate", entra("client_certificate", "tenant_id: contoso, client_id: by-certificate, certificate: \"{folder}/app.pem\"")),
        // Where a platform names another authority.
        ("platform", "client_secret: { tenant_id: contoso, client_id: by-secret, secret: MARKED-app-secret-81ab, ca: \"{folder}/ca.pem\" }".to_owned()),
        ("platform-pki", "client_certificate: { tenant_id: contoso, client_id: by-certificate, certificate: \"{folder}/app.pem\", ca: \"{folder}/ca.pem\" }".to_owned()),
    ];
    let variables = [
        ("AZURE_AUTHORITY_HOST", "https://localhost:{port}/"),
        ("FOREBAY_LOG", "trace"),
    ];
    let fixture = open(OVER_TLS, &proofs, &variables).await;
    all_serve(&fixture, proofs.iter().map(|(name, _)| *name)).await;
    let stats = fixture.simulator.stats().tokens;
    assert_eq!((stats.issued, stats.refused), (proofs.len() as u64, 0));
    let place = format!(
        "https://localhost:{}",
        fixture.simulator.tokens().unwrap().port()
    );
    for (name, kind, source) in [
        ("system", "managed_identity", "imds"),
        ("federation", "workload_identity", "entra"),
        ("secret", "client_secret", "entra"),
        ("certificate", "client_certificate", "entra"),
        ("platform", "client_secret", "entra"),
    ] {
        let it = fixture.identity(name).await;
        assert_eq!((&it["kind"], &it["source"]), (&kind.into(), &source.into()));
        assert_eq!(
            (&it["asked_at"], &it["ready"]),
            (&place.as_str().into(), &true.into())
        );
        assert_eq!(it["instances"], serde_json::json!([name]));
    }
    let assertion = "eyJ";
    fixture
        .keeps_to_itself(&[SECRET, "federated-1", KEY_PART, assertion, "Bearer "])
        .await;
}

/// What stands for `az`: it asks the simulated Entra, says what it was told to do, and prints what the CLI prints.
const AZ: &str = r#"#!/bin/bash
echo "$*" >> "$(dirname "$0")/asked"
body='grant_type=client_credentials&client_id=developer&client_secret=s&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default'
exec 3<>"/dev/tcp/127.0.0.1/$TOKENS_PORT" || exit 1
printf 'POST /contoso/oauth2/v2.0/token HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: %d\r\n\r\n%s' "${#body}" "$body" >&3
token=$(cat <&3 | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
echo "{\"accessToken\":\"$token\",\"expires_on\":$(($(date +%s) + 3600)),\"tokenType\":\"Bearer\"}"
"#;

#[tokio::test]
async fn on_a_developers_machine_the_azure_clis_token_is_used() {
    let folder = crate::harness::folder();
    let az = folder.join("az");
    std::fs::write(&az, AZ).unwrap();
    let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&az, may_run).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let proof = "azure_cli: { tenant_id: contoso.onmicrosoft.com }".to_owned();
    let variables = [("PATH", path.as_str()), ("TOKENS_PORT", "{port}")];
    let fixture = open("", &[("me", proof.clone())], &variables).await;
    all_serve(&fixture, ["me"]).await;
    let asked = std::fs::read_to_string(folder.join("asked")).unwrap();
    assert_eq!(
        asked.lines().next().unwrap(),
        "account get-access-token -o json --scope https://cognitiveservices.azure.com/.default --tenant contoso.onmicrosoft.com"
    );
    let it = fixture.identity("me").await;
    assert_eq!(
        (&it["kind"], &it["source"]),
        (&"azure_cli".into(), &"azure_cli".into())
    );
    assert_eq!(it["asked_at"], serde_json::Value::Null);
    drop(fixture);

    // Nobody is logged in: what the CLI says of it is nobody's business but its own.
    std::fs::write(&az, "#!/bin/sh\necho MARKED-words-of-the-cli >&2\nexit 1\n").unwrap();
    let fixture = open("", &[("me", proof)], &variables).await;
    assert_eq!(fixture.ask("me").await.status(), 503);
    let error = fixture.identity("me").await["last_error"].to_string();
    assert!(error.contains("az login"), "{error}");
    fixture.keeps_to_itself(&["MARKED-words"]).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn an_authority_that_nobody_vouches_for_is_not_told_the_secret() {
    let proof = "client_secret: { tenant_id: contoso, client_id: by-secret, secret: MARKED-app-secret-81ab, authority: \"https://localhost:{port}\" }";
    let fixture = open(OVER_TLS, &[("distrusting", proof.to_owned())], &[]).await;
    assert_eq!(fixture.ask("distrusting").await.status(), 503);
    let error = fixture.identity("distrusting").await["last_error"].to_string();
    assert!(
        error.contains("can't be reached: invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
    assert_eq!(fixture.simulator.stats().tokens.asked, 0);
}

#[tokio::test]
async fn what_proves_nothing_gets_no_token_and_is_told_by_its_code() {
    let certificate = |fields: &str| entra("client_certificate", fields);
    let secret = |fields: &str| entra("client_secret", fields);
    let proofs = [
        ("wrong-secret", secret("tenant_id: contoso, client_id: by-secret, secret: another"), "AADSTS7000215"),
        ("unknown-tenant", secret("tenant_id: elsewhere, client_id: by-secret, secret: another"), "AADSTS90002"),
        ("unknown-app", secret("tenant_id: contoso, client_id: nobody, secret: another"), "AADSTS700016"),
        ("other-certificate", certificate("tenant_id: contoso, client_id: by-certificate, certificate: \"{folder}/other.pem\""), "AADSTS700027"),
        ("not-by-certificate", certificate("tenant_id: contoso, client_id: by-secret, certificate: \"{folder}/app.pem\""), "AADSTS700213"),
        ("other-federation", entra("workload_identity", "tenant_id: fabrikam, client_id: by-federation, token_file: \"{folder}/ca.pem\""), "AADSTS700213"),
        ("unassigned", "managed_identity: { client_id: user-2, endpoint: \"https://localhost:{port}\", ca: \"{folder}/ca.pem\" }".to_owned(), "400"),
    ];
    let pairs: Vec<_> = proofs
        .iter()
        .map(|(name, proof, _)| (*name, proof.clone()))
        .collect();
    let fixture = open(OVER_TLS, &pairs, &[]).await;
    for (name, _, code) in &proofs {
        assert_eq!(fixture.ask(name).await.status(), 503, "{name}");
        let error = fixture.identity(name).await["last_error"].to_string();
        assert!(error.contains(code), "{name}: {error}");
    }
    let stats = fixture.simulator.stats().tokens;
    assert_eq!(
        (stats.issued, stats.refused),
        (0, proofs.len() as u64),
        "no hurry after a no"
    );
    fixture
        .keeps_to_itself(&["Invalid client secret", KEY_PART, "eyJ"])
        .await;
}

/// The endpoint knows only what the file holds, so each token after a renewal shows that it was read again.
#[tokio::test]
async fn renewed_files_are_in_use_with_the_next_token() {
    let tokens = format!("lifetime: 2s, {OVER_TLS}");
    let proofs = [
        (
            "certificate",
            entra(
                "client_certificate",
                "tenant_id: contoso, client_id: by-certificate, certificate: \"{folder}/app.pem\"",
            ),
        ),
        (
            "federation",
            entra(
                "workload_identity",
                "tenant_id: fabrikam, client_id: by-federation, token_file: \"{folder}/federated\"",
            ),
        ),
    ];
    let fixture = open(&tokens, &proofs, &[]).await;
    all_serve(&fixture, ["certificate", "federation"]).await;
    let issued = || {
        let issued = fixture.simulator.stats().tokens.issued_to;
        let of = |client: &str| {
            let found = issued.iter().find(|(to, _)| to.starts_with(client));
            *found.unwrap().1
        };
        (of("by-certificate"), of("by-federation"))
    };
    certificates::renew(
        &fixture.folder.join("app.pem"),
        &certificates::certified(1, "renewed"),
    );
    certificates::renew(&fixture.folder.join("federated"), "federated-2");
    let before = issued();
    eventually_async("tokens come for what was renewed", async || {
        let now = issued();
        now.0 >= before.0 + 3 && now.1 >= before.1 + 3
    })
    .await;
    all_serve(&fixture, ["certificate", "federation"]).await;
    fixture
        .keeps_to_itself(&["federated-", KEY_PART, "eyJ"])
        .await;
}

#[tokio::test]
async fn app_service_is_asked_where_it_says_so_and_its_header_is_kept_secret() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!(
        "managed_identity: {{ endpoint: \"http://{}\" }}",
        stranger.local_addr().unwrap()
    );
    let proofs = [
        ("system", "managed_identity: {}".to_owned()),
        ("user", "managed_identity: { client_id: user-1 }".to_owned()),
        (
            "unassigned",
            "managed_identity: { client_id: user-2 }".to_owned(),
        ),
        ("elsewhere", elsewhere),
    ];
    let tokens = format!("identity_header: {HEADER}, user_assigned: [user-1]");
    let variables = [
        ("IDENTITY_ENDPOINT", "http://{tokens}/msi/token"),
        ("IDENTITY_HEADER", HEADER),
        ("FOREBAY_LOG", "trace"),
    ];
    let fixture = open(&tokens, &proofs, &variables).await;
    all_serve(&fixture, ["system", "user"]).await;
    let stats = fixture.simulator.stats().tokens;
    let audience = "https://cognitiveservices.azure.com";
    let to = |client: &str| {
        stats
            .issued_to
            .get(&format!("{client} {audience}"))
            .copied()
    };
    assert_eq!((to("system"), to("user-1")), (Some(1), Some(1)));
    let it = fixture.identity("user").await;
    let place = format!("http://{}", fixture.simulator.tokens().unwrap());
    assert_eq!(
        (&it["source"], &it["asked_at"]),
        (&"app_service".into(), &place.as_str().into())
    );
    assert_eq!(fixture.ask("unassigned").await.status(), 503);
    let error = fixture.identity("unassigned").await["last_error"].to_string();
    assert!(error.contains("answered 400"), "{error}");

    // An endpoint in IMDS' place is asked as IMDS is, and not told App Service's secret.
    let (mut stream, _) = stranger.accept().await.unwrap();
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    assert!(
        head.starts_with("get /metadata/identity/oauth2/token?api-version="),
        "{head}"
    );
    assert!(
        head.contains("metadata: true") && !head.contains("identity-header"),
        "{head}"
    );
    fixture.keeps_to_itself(&[HEADER, "eyJ"]).await;
}

/// The metadata service takes five token requests at once, and refuses what is more.
#[tokio::test]
async fn a_machine_with_many_identities_asks_for_few_tokens_at_once() {
    let names: Vec<_> = (0..12).map(|nth| format!("user-{nth}")).collect();
    let proof = |name: &String| {
        format!("managed_identity: {{ client_id: {name}, endpoint: \"http://{{tokens}}\" }}")
    };
    let proofs: Vec<_> = names.iter().map(|it| (it.as_str(), proof(it))).collect();
    let proofs: Vec<_> = proofs
        .iter()
        .map(|(name, proof)| (*name, proof.as_str(), ""))
        .collect();
    let setup = Setup {
        proofs: &proofs,
        fault: Some(TokenFault::Slow { milliseconds: 50 }),
        ..Setup::default()
    };
    let fixture = setup.open().await;
    eventually_async("each has its token", async || {
        fixture.simulator.stats().tokens.issued == 12
    })
    .await;
    all_serve(&fixture, names.iter().map(String::as_str)).await;
    let stats = fixture.simulator.stats().tokens;
    assert_eq!((stats.asked, stats.refused), (12, 0));
}
