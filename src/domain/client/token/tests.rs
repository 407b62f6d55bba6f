//! What a token must say to be somebody's.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{claims::Claims, jwt::Jwt, *};
use crate::domain::client::{
    Client,
    issuer::{AUTHORITY, Issuer},
};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn entra() -> Issuer {
    Issuer::entra("contoso", AUTHORITY, TENANT, None)
}

/// A v2.0 token for `api://gateway`, asked for by `app`; then what a test makes of it.
fn v2(change: impl FnOnce(&mut Value)) -> Claims {
    let mut claims = json!({
        "iss": format!("{AUTHORITY}/{TENANT}/v2.0"), "aud": "api://gateway", "tid": TENANT, "azp": "app",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "roles": ["Model.Invoke"], "groups": ["g"], "scp": "use read",
    });
    change(&mut claims);
    Claims::parse(claims.to_string().as_bytes()).unwrap()
}

fn ruled(name: &str, demands: impl IntoIterator<Item = Demand>) -> Ruled {
    let rule = Rule {
        issuer: "contoso".into(),
        audiences: ["api://gateway".to_owned()].into(),
        demands: demands.into_iter().collect(),
    };
    (rule, Arc::new(Client::named(name)))
}

fn app() -> Demand {
    Demand::Application("app".into())
}

fn role(role: &str) -> Demand {
    Demand::Role(role.into())
}

/// The client's name, or why there is none.
fn judged(rules: &[Ruled], claims: &Claims, now: u64) -> Result<String, Rejection> {
    judge(&entra(), rules, claims, at(now)).map(|granted| granted.client.name.to_string())
}

#[test]
fn the_client_is_the_one_whose_every_demand_is_met() {
    let claim = |name: &str, value: &str| Demand::Claim {
        name: name.into(),
        value: value.into(),
    };
    let met = [
        app(),
        role("Model.Invoke"),
        Demand::Group("g".into()),
        Demand::Scope("read".into()),
        claim("tid", TENANT),
        claim("/deep/a~1b", "x"),
    ];
    let claims = v2(|c| c["deep"] = json!({"a/b": ["w", "x"]}));
    assert_eq!(
        judged(&[ruled("a", met.clone())], &claims, NOW),
        Ok("a".into())
    );
    for (wrong, rejection) in [
        (
            Demand::Application("App".into()),
            Rejection::WrongApplication,
        ),
        (role("Model"), Rejection::RoleMissing),
        (Demand::Group("G".into()), Rejection::GroupMissing),
        (Demand::Scope("rea".into()), Rejection::ScopeMissing),
        (claim("/deep/a", "x"), Rejection::WrongClaim),
        (claim("exp", "1"), Rejection::WrongClaim),
    ] {
        let rule = ruled("a", met.clone().into_iter().chain([wrong]));
        assert_eq!(judged(&[rule], &claims, NOW), Err(rejection));
    }
}

#[test]
fn an_applications_own_token_is_told_from_a_persons_who_uses_it() {
    let own = ruled("own", [app(), Demand::AppOnly]);
    let persons = ruled("persons", [app(), Demand::Delegated]);
    let app_only = |c: &mut Value| {
        c.as_object_mut().unwrap().remove("scp");
        (c["sub"], c["oid"]) = (json!("s"), json!("s"));
    };
    let person = |c: &mut Value| (c["sub"], c["oid"]) = (json!("s"), json!("o"));
    type Change<'c> = &'c dyn Fn(&mut Value);
    for (change, whose) in [
        (&app_only as Change<'_>, Some("own")),
        (&person, Some("persons")),
        (&|c| (app_only(c), c["idtyp"] = json!("app")).1, Some("own")),
        (
            &|c| (person(c), c["idtyp"] = json!("user")).1,
            Some("persons"),
        ),
        // What says both, or neither, is neither's.
        (&|c| (person(c), c["idtyp"] = json!("app")).1, None),
        (&|c| (app_only(c), c["idtyp"] = json!("user")).1, None),
        (&|c| (app_only(c), c["idtyp"] = json!(["app"])).1, None),
        (&|c| (app_only(c), c["oid"] = json!("o")).1, None),
        (
            &|c| (app_only(c), drop(c.as_object_mut().unwrap().remove("oid"))).1,
            None,
        ),
        // A person whose ids are one is a person all the same.
        (&|c| c["oid"] = c["sub"].clone(), Some("persons")),
    ] {
        let claims = v2(change);
        let rules = [own.clone(), persons.clone()];
        let found = judged(&rules, &claims, NOW);
        assert_eq!(found.ok().as_deref(), whose, "{claims:?}");
    }
    let person = v2(person);
    assert_eq!(judged(&[own], &person, NOW), Err(Rejection::NotAppOnly));
    let own = v2(app_only);
    assert_eq!(judged(&[persons], &own, NOW), Err(Rejection::NotDelegated));
}

#[test]
fn each_version_names_its_application_in_its_own_claim_and_no_other_counts() {
    let rules = [ruled("a", [app()])];
    let v1 = |c: &mut Value| {
        c["iss"] = format!("https://sts.windows.net/{TENANT}/").into();
        c["appid"] = c["azp"].take();
    };
    assert_eq!(judged(&rules, &v2(v1), NOW), Ok("a".into()));
    let swapped = v2(|c| c["appid"] = c["azp"].take());
    assert_eq!(judged(&rules, &swapped, NOW), Err(Rejection::BadClaim));
    let neither = v2(|c| drop(c.as_object_mut().unwrap().remove("azp")));
    assert_eq!(judged(&rules, &neither, NOW), Err(Rejection::NoAccessToken));
    let another = v2(|c| c["tid"] = "22222222-2222-2222-2222-222222222222".into());
    assert_eq!(judged(&rules, &another, NOW), Err(Rejection::WrongTenant));
}

#[test]
fn a_token_holds_from_its_start_to_its_end_and_a_leeway_beyond_both() {
    let rules = [ruled("a", [app()])];
    let claims = v2(|_| ());
    for (now, verdict) in [
        (NOW - 61, Err(Rejection::NotYetValid)),
        (NOW - 60, Ok("a".into())),
        (NOW + 3659, Ok("a".into())),
        (NOW + 3660, Err(Rejection::Expired)),
    ] {
        assert_eq!(judged(&rules, &claims, now), verdict, "{now}");
    }
    let granted = judge(&entra(), &rules, &claims, at(NOW)).unwrap();
    assert_eq!(granted.until, at(NOW + 3660));
    let issued_later = v2(|c| (c["iat"], c["nbf"]) = (json!(NOW + 61), json!(NOW)));
    assert_eq!(
        judged(&rules, &issued_later, NOW),
        Err(Rejection::IssuedInFuture)
    );
    let endless = v2(|c| drop(c.as_object_mut().unwrap().remove("exp")));
    assert_eq!(judged(&rules, &endless, NOW), Err(Rejection::NoExpiry));
    for time in [
        json!("1800003600"),
        json!(-1),
        json!(1e300),
        json!(null),
        json!([1]),
    ] {
        let claims = v2(|c| c["exp"] = time.clone());
        assert_eq!(
            judged(&rules, &claims, NOW),
            Err(Rejection::BadClaim),
            "{time}"
        );
    }
    let fraction = v2(|c| c["exp"] = json!(NOW as f64 + 0.5));
    assert_eq!(judged(&rules, &fraction, NOW), Ok("a".into()));
}

#[test]
fn the_client_that_demands_more_is_meant_and_between_equals_nobody() {
    let (wide, narrow) = (
        ruled("wide", [app()]),
        ruled("narrow", [app(), role("Model.Invoke")]),
    );
    let by_role = ruled("by-role", [role("Model.Invoke")]);
    let (with, without) = (v2(|_| ()), v2(|c| c["roles"] = json!([])));
    for rules in [
        [wide.clone(), narrow.clone()],
        [narrow.clone(), wide.clone()],
    ] {
        assert_eq!(judged(&rules, &with, NOW), Ok("narrow".into()));
        assert_eq!(judged(&rules, &without, NOW), Ok("wide".into()));
    }
    let rules = [wide.clone(), by_role.clone()];
    assert_eq!(judged(&rules, &with, NOW), Err(Rejection::SeveralClients));
    assert_eq!(judged(&rules, &without, NOW), Ok("wide".into()));
    let all = [wide, by_role, narrow];
    assert_eq!(judged(&all, &with, NOW), Ok("narrow".into()));
}

#[test]
fn an_audience_is_one_or_a_list_of_texts() {
    let rules = [ruled("a", [app()])];
    for (audience, verdict) in [
        (json!(["other", "api://gateway"]), Ok("a".into())),
        (json!("api://gateway/"), Err(Rejection::WrongAudience)),
        (json!([]), Err(Rejection::WrongAudience)),
        (json!(["api://gateway", 1]), Err(Rejection::BadClaim)),
        (json!({"api://gateway": 1}), Err(Rejection::BadClaim)),
    ] {
        let claims = v2(|c| c["aud"] = audience.clone());
        assert_eq!(judged(&rules, &claims, NOW), verdict, "{audience}");
    }
}

#[test]
fn tokens_that_are_bound_to_a_key_and_groups_that_were_left_out_are_told_apart() {
    let rules = [ruled("a", [Demand::Group("x".into())])];
    let bound = v2(|c| c["cnf"] = json!({"jkt": "k"}));
    assert_eq!(judged(&rules, &bound, NOW), Err(Rejection::Bound));
    let left_out = v2(|c| c["_claim_names"] = json!({"groups": "src1"}));
    assert_eq!(
        judged(&rules, &left_out, NOW),
        Err(Rejection::GroupsLeftOut)
    );
}

#[test]
fn what_says_a_name_twice_says_nothing() {
    for json in [
        r#"{"aud":"a","aud":"b"}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"a":[{"b":1,"\u0062":2}]}"#,
        r#"{"a":1} "#,
        r#"{"a":1}x"#,
        r#"{"a":NaN}"#,
        r#"{"a":1e999}"#,
        r#"["a"]"#,
        "",
    ] {
        let is_sound = json == r#"{"a":1} "#;
        assert_eq!(Claims::parse(json.as_bytes()).is_ok(), is_sound, "{json}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    assert!(Claims::parse(deep.as_bytes()).is_err());
}

#[test]
fn every_rejection_has_a_word_of_its_own() {
    let mut words: Vec<_> = Rejection::ALL.iter().map(|r| r.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Rejection::ALL.len());
}

proptest! {
    #[test]
    fn whatever_is_sent_is_read_without_a_panic(token in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Jwt::read(&token);
        let _ = Claims::parse(&token);
    }

    #[test]
    fn a_token_with_any_one_byte_changed_is_another_or_none(at in 0usize..60, byte in any::<u8>()) {
        let token = b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJpIn0.c2lnbmF0dXJl".to_vec();
        let mut changed = token.clone();
        changed[at] = byte;
        if let (true, Ok(jwt)) = (changed != token, Jwt::read(&changed)) {
            let original = Jwt::read(&token).unwrap();
            prop_assert!(jwt.signed != original.signed || jwt.signature != original.signature);
        }
    }
}
