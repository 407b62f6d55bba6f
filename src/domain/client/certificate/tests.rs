use std::{sync::Arc, time::Duration};

use super::*;
use crate::domain::client::{Client, by_certificate::Bearers};

fn subject(text: &str) -> Name {
    Name::subject(text).unwrap()
}

/// A subject in a certificate's order.
fn attributes(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(kind, value): &(&str, &str)| (identifier(kind).unwrap(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn certificate(subject: &[(&str, &str)], others: &[Name]) -> Certificate {
    Certificate::new(Some(&attributes(subject)), others.to_vec(), later())
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn later() -> SystemTime {
    now() + Duration::from_secs(60)
}

fn bearers() -> Bearers {
    let client = |name: &str, certificates: [Name; 2]| {
        Arc::new(Client {
            certificates: certificates.map(|name| Entry { name, ca: None }).into(),
            ..Client::named(name)
        })
    };
    let app = [
        Name::uri("spiffe://contoso/app").unwrap(),
        subject("CN=app\\, the first,OU=AI,O=Contoso"),
    ];
    let batch = [
        Name::dns("batch.contoso.internal").unwrap(),
        Name::common_name("batch").unwrap(),
    ];
    Bearers::new(&[client("app", app), client("batch", batch)])
}

#[test]
fn a_certificate_is_known_by_any_of_its_clients_names() {
    for (certificate, whose) in [
        (
            certificate(&[], &[Name::uri("spiffe://contoso/app").unwrap()]),
            Some("app"),
        ),
        (
            certificate(
                &[("O", "Contoso"), ("OU", "AI"), ("CN", "app, the first")],
                &[],
            ),
            Some("app"),
        ),
        (certificate(&[("CN", "batch")], &[]), Some("batch")),
        (
            certificate(&[("O", "Contoso"), ("CN", "batch")], &[]),
            Some("batch"),
        ),
        (
            certificate(&[], &[Name::dns("Batch.Contoso.INTERNAL").unwrap()]),
            Some("batch"),
        ),
        (
            certificate(
                &[("CN", "batch")],
                &[Name::dns("batch.contoso.internal").unwrap()],
            ),
            Some("batch"),
        ),
        // Alike is not the same.
        (
            certificate(&[], &[Name::uri("spiffe://contoso/App").unwrap()]),
            None,
        ),
        (
            certificate(&[], &[Name::uri("spiffe://contoso/app/").unwrap()]),
            None,
        ),
        (
            certificate(&[], &[Name::dns("a.batch.contoso.internal").unwrap()]),
            None,
        ),
        (
            certificate(&[], &[Name::email("batch@contoso.internal").unwrap()]),
            None,
        ),
        (certificate(&[("CN", "Batch")], &[]), None),
        (certificate(&[("CN", "batch.contoso.internal")], &[]), None),
        (certificate(&[("OU", "batch")], &[]), None),
        // Two common names are none: which of them meant it?
        (certificate(&[("CN", "batch"), ("CN", "other")], &[]), None),
        (certificate(&[("CN", "batch"), ("CN", "batch")], &[]), None),
        // Another order or one attribute more is another subject.
        (
            certificate(
                &[("CN", "app, the first"), ("OU", "AI"), ("O", "Contoso")],
                &[],
            ),
            None,
        ),
        (
            certificate(
                &[
                    ("C", "SE"),
                    ("O", "Contoso"),
                    ("OU", "AI"),
                    ("CN", "app, the first"),
                ],
                &[],
            ),
            None,
        ),
        (certificate(&[], &[]), None),
    ] {
        let found = bearers()
            .bearer(&certificate, now())
            .unwrap()
            .map(|it| it.name.to_string());
        assert_eq!(found.as_deref(), whose, "{certificate:?}");
    }
}

#[test]
fn one_with_the_names_of_two_clients_is_neithers() {
    let both = certificate(
        &[("CN", "batch")],
        &[Name::uri("spiffe://contoso/app").unwrap()],
    );
    assert_eq!(
        bearers().bearer(&both, now()).err(),
        Some(Rejected::Ambiguous)
    );
}

#[test]
fn one_that_ends_while_its_connection_is_open_is_refused_from_then_on() {
    let batch = certificate(&[("CN", "batch")], &[]);
    assert!(bearers().bearer(&batch, later()).unwrap().is_some());
    let after = later() + Duration::from_secs(1);
    assert_eq!(bearers().bearer(&batch, after).err(), Some(Rejected::Ended));
}

#[test]
fn one_with_very_many_names_is_nobodys() {
    let names = (0..100_000).map(|i| Name::Dns(format!("n{i}")));
    let subject = attributes(&[("CN", "batch")]);
    let certificate = Certificate::new(Some(&subject), names, later());
    assert_eq!(
        bearers()
            .bearer(&certificate, now())
            .unwrap()
            .map(|it| &it.name),
        None
    );
}

#[test]
fn names_are_read_as_they_are_written_or_not_at_all() {
    for (name, error) in [
        (Name::dns("*.contoso.internal"), NameError::Wildcard),
        (Name::dns("batch\0.contoso.internal"), NameError::Text),
        (Name::dns("bätch.contoso.internal"), NameError::Dns),
        (Name::dns(""), NameError::Text),
        (Name::common_name("batch\0evil"), NameError::Text),
        (Name::common_name(""), NameError::Text),
        (Name::uri("contoso/app"), NameError::Uri),
        (Name::uri("spiffe:"), NameError::Uri),
        (Name::uri("spiffe://a b"), NameError::Uri),
        (Name::uri("1://a"), NameError::Uri),
        (Name::email("batch"), NameError::Email),
        (Name::email("a@b@c"), NameError::Email),
        (Name::email("@contoso"), NameError::Email),
        (Name::subject("batch"), NameError::Subject),
        (Name::subject("CN="), NameError::Subject),
        (Name::subject("CN=a,"), NameError::Subject),
        (Name::subject("XX=a"), NameError::Subject),
        (Name::subject("CN=a;O=b"), NameError::Subject),
        (Name::subject("CN=#0403"), NameError::Subject),
        (Name::subject("CN=a\\"), NameError::Subject),
        (Name::subject("CN=a\\0"), NameError::Subject),
        (Name::subject("CN=a\\00b"), NameError::Subject),
        (Name::subject("CN=a\\ffb"), NameError::Subject),
        (Name::subject("CN=a\\xb"), NameError::Subject),
        (Name::subject("CN=a+OU=b"), NameError::Joined),
    ] {
        assert_eq!(name, Err(error));
    }
}

#[test]
fn a_subject_has_many_spellings() {
    let one = subject("CN=J\\C3\\B6rg\\, Bo\\+t,OU=AI");
    for other in ["cn=Jörg\\, Bo\\+t,ou=AI", "2.5.4.3=Jörg\\2C Bo\\2bt, OU=AI"] {
        assert_eq!(subject(other), one, "{other}");
    }
    assert_ne!(subject("OU=AI,CN=Jörg\\, Bo\\+t"), one);
}

#[test]
fn a_common_name_and_a_subject_that_has_it_may_be_one() {
    let name = Name::common_name("batch").unwrap();
    assert!(name.may_be_one_with(&subject("CN=batch,O=Contoso")));
    assert!(subject("CN=batch").may_be_one_with(&name));
    assert!(!name.may_be_one_with(&subject("CN=app,O=Contoso")));
    assert!(!name.may_be_one_with(&subject("CN=batch,CN=batch")));
    assert!(!subject("CN=batch").may_be_one_with(&subject("CN=batch,O=Contoso")));
}

#[test]
fn a_name_that_another_authority_signed_is_another_bearers() {
    let mesh = |client: &str, ca: &str| {
        let name = Name::common_name("mesh").unwrap();
        let ca = Some(PathBuf::from(ca));
        Arc::new(Client {
            certificates: vec![Entry { name, ca }],
            ..Client::named(client)
        })
    };
    let bearers = Bearers::new(&[mesh("ours", "ours.ca"), mesh("partner", "partner.ca")]);
    let known_as = |signed_by: &[&str]| {
        let signed_by = signed_by.iter().map(PathBuf::from).collect();
        let shown = certificate(&[("CN", "mesh")], &[]).signed_by(signed_by);
        let bearer = bearers.bearer(&shown, now());
        bearer.map(|bearer| bearer.map(|client| client.name.to_string()))
    };
    assert_eq!(known_as(&["ours.ca"]), Ok(Some("ours".to_owned())));
    assert_eq!(known_as(&["partner.ca"]), Ok(Some("partner".to_owned())));
    assert_eq!(known_as(&[]), Ok(None));
    // By an authority that both of them name.
    assert_eq!(
        known_as(&["ours.ca", "partner.ca"]),
        Err(Rejected::Ambiguous)
    );
}

#[test]
fn of_an_authoritys_certificates_only_those_named_are_any_of_them() {
    let entry = |name, ca: Option<&str>| Entry {
        name: Name::common_name(name).unwrap(),
        ca: ca.map(PathBuf::from),
    };
    let shown = certificate(&[("CN", "prometheus")], &[]).signed_by(vec!["ops.ca".into()]);
    assert!(shown.is_any_of(&[entry("oncall", None), entry("prometheus", None)], now()));
    assert!(shown.is_any_of(&[entry("prometheus", Some("ops.ca"))], now()));
    assert!(!shown.is_any_of(&[entry("prometheus", Some("other.ca"))], now()));
    assert!(!shown.is_any_of(&[entry("oncall", None)], now()));
    let after = later() + Duration::from_secs(1);
    assert!(!shown.is_any_of(&[entry("prometheus", None)], after));
}
