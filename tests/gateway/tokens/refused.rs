//! Tokens that must not be believed: each refused alike to whoever sent it, with the reason in our log alone.

use std::{collections::BTreeSet, fs};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

use super::*;

/// A token, and why it lets nobody in.
struct Bad {
    name: &'static str,
    token: String,
    reason: &'static str,
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// What is wrong with what the token says.
#[rustfmt::skip] // One row, one token.
fn claims(issuer: &Issuer) -> Vec<Bad> {
    let entra = |name, changes, reason| Bad {
        name,
        token: issuer.token(&with(v2(issuer), changes)),
        reason,
    };
    let other = |name, changes, reason| Bad {
        name,
        token: issuer.token(&with(job(issuer), changes)),
        reason,
    };
    let another_tenant = "33333333-3333-3333-3333-333333333333";
    let v1_with_azp = with(v1(issuer), json!({"azp": APP, "appid": null}));
    vec![
        entra("expired", json!({"exp": now() - 61}), "expired"),
        entra("long expired", json!({"exp": 1}), "expired"),
        entra("no end", json!({"exp": null}), "no_expiry"),
        entra("its end is a text", json!({"exp": (now() + 60).to_string()}), "bad_claim"),
        entra("its end is before 1970", json!({"exp": -1}), "bad_claim"),
        entra("its end is after all time", json!({"exp": 1e300}), "bad_claim"),
        entra("its end is a list", json!({"exp": [now() + 60]}), "bad_claim"),
        entra("not yet valid", json!({"nbf": now() + 300}), "not_yet_valid"),
        entra("its start is a text", json!({"nbf": "0"}), "bad_claim"),
        entra("issued in future", json!({"iat": now() + 300}), "issued_in_future"),
        entra("for another audience", json!({"aud": "api://other"}), "wrong_audience"),
        entra("for Azure OpenAI itself", json!({"aud": "https://cognitiveservices.azure.com"}), "wrong_audience"),
        entra("for an audience that ours begins", json!({"aud": "api://forebay/x"}), "wrong_audience"),
        entra("for several other audiences", json!({"aud": ["a", "b"]}), "wrong_audience"),
        entra("for no audience", json!({"aud": null}), "wrong_audience"),
        entra("its audience is a number", json!({"aud": 1}), "bad_claim"),
        entra("for the other issuer's audience", json!({"aud": "forebay"}), "wrong_audience"),
        entra("of nobody", json!({"iss": null}), "unknown_issuer"),
        entra("of a stranger", json!({"iss": "https://evil.test"}), "unknown_issuer"),
        entra("of another tenant", json!({"iss": issuer.tenant(another_tenant)}), "unknown_issuer"),
        entra("of our tenant with a slash", json!({"iss": format!("{}/", issuer.tenant(TENANT))}), "unknown_issuer"),
        entra("its issuer is a list", json!({"iss": [issuer.tenant(TENANT)]}), "bad_claim"),
        entra("another tenant within", json!({"tid": another_tenant}), "wrong_tenant"),
        entra("no tenant within", json!({"tid": null}), "wrong_tenant"),
        entra("of another application", json!({"azp": another_tenant}), "scope_missing"),
        entra("of another application with a scope", json!({"azp": another_tenant, "scp": "models.use"}), "group_missing"),
        entra("of a person with too many groups", json!({"azp": another_tenant, "scp": "models.use", "_claim_names": {"groups": "src1"}}), "groups_left_out"),
        entra("an ID token", json!({"azp": null}), "no_access_token"),
        entra("v2.0 with v1.0's application", json!({"azp": null, "appid": APP}), "no_access_token"),
        Bad { name: "v1.0 with v2.0's application", token: issuer.token(&v1_with_azp), reason: "no_access_token" },
        entra("bound to a key", json!({"cnf": {"jkt": "x"}}), "bound_to_a_key"),
        entra("two clients at once", json!({"roles": [], "scp": "models.use", "groups": ["g-1"]}), "several_clients"),
        other("of another subject", json!({"sub": "job"}), "wrong_claim"),
        other("without a claim", json!({"deep": {"list": ["w"]}}), "wrong_claim"),
        other("without a scope", json!({"scope": "read"}), "scope_missing"),
        other("with half a scope", json!({"scope": "model"}), "scope_missing"),
    ]
}

/// What is wrong with the header.
#[rustfmt::skip] // One row, one token.
fn headers(issuer: &Issuer) -> Vec<Bad> {
    let entra = |name, changes, reason| {
        let header = with(
            json!({"typ": "JWT", "alg": "RS256", "kid": "rsa-1"}),
            changes,
        );
        let token = issuer.sign(&header, v2(issuer).to_string().as_bytes(), "rsa-1");
        Bad {
            name,
            token,
            reason,
        }
    };
    let other = |name, algorithm: &str, id: &str, signer: &str, reason| {
        let header = json!({"alg": algorithm, "kid": id});
        let token = issuer.sign(&header, job(issuer).to_string().as_bytes(), signer);
        Bad {
            name,
            token,
            reason,
        }
    };
    // Signed by a key of its sender's, which it offers to be checked with.
    let offered = |name, changes| {
        let header = with(json!({"alg": "RS256", "kid": "rsa-1"}), changes);
        let token = issuer.sign(&header, v2(issuer).to_string().as_bytes(), "rsa-2");
        Bad {
            name,
            token,
            reason: "bad_signature",
        }
    };
    let theirs = issuer.published("rsa-2").unwrap();
    vec![
        entra("alg none", json!({"alg": "none"}), "algorithm_not_allowed"),
        entra("alg nOnE", json!({"alg": "nOnE"}), "algorithm_not_allowed"),
        entra("no alg", json!({"alg": null}), "algorithm_not_allowed"),
        entra("alg as a list", json!({"alg": ["RS256"]}), "malformed"),
        entra("an algorithm that its issuer does not use", json!({"alg": "RS512"}), "algorithm_not_allowed"),
        entra("an elliptic one likewise", json!({"alg": "ES256"}), "algorithm_not_allowed"),
        other("an RSA key as an elliptic one", "ES256", "rsa-1", "rsa-1", "wrong_key"),
        other("an elliptic key as one of RSA", "RS256", "ec-256", "ec-256", "wrong_key"),
        other("one curve's key on another", "ES256", "ec-384", "ec-384", "wrong_key"),
        other("an Edwards key as an elliptic one", "ES256", "ed", "ed", "wrong_key"),
        other("padding of another kind", "PS384", "rsa-1", "rsa-1", "algorithm_not_allowed"),
        other("another elliptic key of the issuer's", "ES384", "ec-384", "ec-256", "bad_signature"),
        entra("no key id", json!({"kid": null}), "no_key_id"),
        entra("an empty key id", json!({"kid": ""}), "no_key_id"),
        entra("an endless key id", json!({"kid": "k".repeat(300)}), "no_key_id"),
        entra("a key id that is a number", json!({"kid": 1}), "malformed"),
        entra("an unknown key", json!({"kid": "rsa-9"}), "unknown_key_id"),
        entra("a key id that is a path", json!({"kid": "../../../dev/null"}), "unknown_key_id"),
        entra("a key that is not published", json!({"kid": "rsa-2"}), "unknown_key_id"),
        offered("signed by another key", json!({})),
        offered("with its own key (jwk)", json!({"jwk": theirs})),
        offered("with its own keys' address (jku)", json!({"jku": "https://evil.test/keys"})),
        offered("with its own certificate (x5u, x5c)", json!({"x5u": "https://evil.test/c", "x5c": ["AAAA"]})),
        entra("critical header", json!({"crit": ["exp"], "exp": 1}), "critical_header"),
        entra("an empty critical header", json!({"crit": []}), "critical_header"),
        entra("a body that is not encoded", json!({"b64": false}), "critical_header"),
        entra("a token within", json!({"cty": "JWT"}), "nested"),
        entra("encrypted, by its word", json!({"enc": "A256GCM"}), "encrypted"),
        entra("compressed", json!({"zip": "DEF"}), "encrypted"),
        entra("for a logout", json!({"typ": "logout+jwt"}), "wrong_type"),
        entra("bound to a request", json!({"typ": "dpop+jwt"}), "wrong_type"),
        entra("typ as a number", json!({"typ": 1}), "malformed"),
    ]
}

/// What is wrong with the token's form or signature.
#[rustfmt::skip] // One row, one token.
fn forms(issuer: &Issuer) -> Vec<Bad> {
    let bad = |name, token, reason| Bad {
        name,
        token,
        reason,
    };
    let good = issuer.token(&v2(issuer));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        unreachable!()
    };
    let said = v2(issuer).to_string();
    let head = json!({"typ": "JWT", "alg": "RS256", "kid": "rsa-1"});
    let signed = |claims: &[u8]| issuer.sign(&head, claims, "rsa-1");
    let richer = encoded(with(v2(issuer), json!({"roles": ["Model.Invoke"]})).to_string());
    let elliptic = |signature: &[u8]| {
        let header = encoded(json!({"alg": "ES256", "kid": "ec-256"}).to_string());
        format!(
            "{header}.{}.{}",
            encoded(job(issuer).to_string()),
            encoded(signature)
        )
    };
    let twice = said.replacen('{', &format!("{{\"aud\":\"x\",\"tid\":\"{TENANT}\","), 1);
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[100] ^= 1;
    vec![
        bad("claims changed", format!("{header}.{richer}.{signature}"), "bad_signature"),
        bad("one bit changed", format!("{header}.{body}.{}", encoded(flipped)), "bad_signature"),
        bad("half a signature", format!("{header}.{body}.{}", &signature[..signature.len() / 2 / 4 * 4] ), "bad_signature"),
        bad("no signature", format!("{header}.{body}."), "bad_signature"),
        bad("a signature of nothing", elliptic(&[0; 64]), "bad_signature"),
        bad("an elliptic signature in another form", elliptic(&[0x30, 6, 2, 1, 1, 2, 1, 1]), "bad_signature"),
        bad("unsigned", format!("{}.{body}.", encoded(json!({"alg": "none"}).to_string())), "algorithm_not_allowed"),
        bad("signed with the public key as a secret", by_public_key(issuer), "algorithm_not_allowed"),
        bad("two parts", format!("{header}.{body}"), "malformed"),
        bad("four parts", format!("{good}.AA"), "malformed"),
        bad("a point too many", format!("{good}."), "malformed"),
        bad("five parts", format!("{header}.AA.AA.AA.AA"), "encrypted"),
        bad("many parts", format!("{header}{}", ".".repeat(1000)), "malformed"),
        bad("nothing but points", "eyJ..".to_owned(), "malformed"),
        bad("cut in its header", format!("{}.{body}.{signature}", &header[..header.len() - 5]), "malformed"),
        bad("cut in its claims", good[..header.len() + body.len() / 2].to_owned(), "malformed"),
        bad("padded", format!("{header}.{body}=.{signature}"), "malformed"),
        bad("another alphabet", format!("{header}.{body}.{}+/", &signature[2..]), "malformed"),
        bad("a space within", format!("{header}. {body}.{signature}"), "malformed"),
        bad("a name twice", signed(twice.as_bytes()), "malformed"),
        bad("a list", signed(format!("[{said}]").as_bytes()), "malformed"),
        bad("no JSON", signed(b"{\"iss\":NaN}"), "malformed"),
        bad("not UTF-8", signed(b"{\"iss\":\"\xff\"}"), "malformed"),
        bad("nothing said", signed(b""), "malformed"),
        bad("a token within a token", signed(format!("\"{good}\"").as_bytes()), "malformed"),
        bad("nested without end", signed(format!("{{\"a\":{}", "[".repeat(5000)).as_bytes()), "malformed"),
        bad("too long", issuer.token(&with(v2(issuer), json!({"x": "x".repeat(16 << 10)}))), "too_long"),
    ]
}

/// The oldest trick: the key that everyone knows, as the secret that nobody should.
fn by_public_key(issuer: &Issuer) -> String {
    let public = issuer.published("rsa-1").unwrap();
    let secret = URL_SAFE_NO_PAD
        .decode(public["n"].as_str().unwrap())
        .unwrap();
    let header = encoded(json!({"alg": "HS256", "kid": "rsa-1"}).to_string());
    let signed = format!("{header}.{}", encoded(v2(issuer).to_string()));
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &secret),
        signed.as_bytes(),
    );
    format!("{signed}.{}", encoded(signature))
}

#[tokio::test]
async fn no_bad_token_lets_anyone_in_or_tells_its_sender_why() {
    let harness = TokenFixture::set().await.open().await;
    let issuer = harness.issuer();
    let good = issuer.token(&v2(issuer));
    assert_eq!(harness.chat_as(&good).await.status(), 200);
    let bad: Vec<Bad> = [claims(issuer), headers(issuer), forms(issuer)]
        .into_iter()
        .flatten()
        .collect();
    assert!(bad.len() >= 90, "{}", bad.len());

    let (mut answers, mut wrong) = (BTreeSet::new(), Vec::new());
    for Bad { name, token, .. } in &bad {
        let answer = harness.chat_as(token).await;
        let told = answer.headers().get("www-authenticate").cloned();
        let told = format!("{told:?}");
        let headers: BTreeSet<String> = answer
            .headers()
            .keys()
            .map(|name| name.to_string())
            .collect();
        let status = answer.status().as_u16();
        if status != 401 {
            wrong.push(format!("{name}: {status}"));
        }
        answers.insert((status, told, headers, answer.text().await.unwrap()));
    }
    let log = harness.log(bad.len() + 1).await;
    for (Bad { name, reason, .. }, line) in bad.iter().zip(&log[1..]) {
        let said = (
            &line["status"],
            &line["refusal"],
            &line["detail"],
            &line["client"],
        );
        if said
            != (
                &json!(401),
                &json!("invalid_token"),
                &json!(reason),
                &Value::Null,
            )
        {
            wrong.push(format!("{name}: wanted {reason}, got {line}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(answers.len(), 1, "they can be told apart: {answers:?}");
    assert_eq!(harness.asked("only"), 1, "one of them reached an instance");

    let (log, said) = (
        fs::read_to_string(harness.gateway.folder.join("access.jsonl")).unwrap(),
        harness.gateway.stderr(),
    );
    let told = format!(
        "{log}{said}{}{}",
        harness.metrics().await,
        harness.status().await
    );
    for Bad { name, token, .. } in &bad {
        for part in token.split('.').filter(|part| part.len() > 20) {
            assert!(!told.contains(&part[..20]), "{name}: a part of it is told");
        }
    }
    let counted = harness.counted("forebay_client_token_rejections_total{reason=\"expired\"}");
    assert_eq!(counted.await, 2);
    // A good one is still good.
    assert_eq!(harness.chat_as(&good).await.status(), 200);
}

#[tokio::test]
async fn empty_huge_and_strange_credentials_are_refused_like_any_other() {
    let harness = TokenFixture::set().await.open().await;
    let strange = [
        &[0xe4, 0xb8, 0xad][..],
        b"\x80\xff",
        b"eyJ\xff.\xff.\xff",
        b"a\tb",
    ];
    let huge = [
        vec![b'k'; 20_000],
        [b"eyJ.", &vec![b'.'; 20_000][..]].concat(),
    ];
    let all = strange
        .iter()
        .map(|bytes| bytes.to_vec())
        .chain(huge)
        .chain([Vec::new()]);
    for bytes in all {
        let bearer = [b"Bearer ", &bytes[..]].concat();
        for (name, value) in [("api-key", bytes.clone()), ("authorization", bearer)] {
            let value = reqwest::header::HeaderValue::from_bytes(&value).unwrap();
            let request = harness.http.post(harness.url(CHAT)).json(&chat());
            let answer = request.header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{name} {bytes:?}");
            assert!(answer.headers().contains_key("www-authenticate"));
        }
    }
    let (good, another) = (
        harness.issuer().token(&v2(harness.issuer())),
        harness.issuer().token(&job(harness.issuer())),
    );
    for (key, bearer) in [(KEY, good.as_str()), (&another, &good), ("", &good)] {
        let request = harness.http.post(harness.url(CHAT)).json(&chat());
        let answer = request
            .header("api-key", key)
            .bearer_auth(bearer)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(harness.asked("only"), 0);
}
