//! A client certificate is looked at before a start: what is wrong with it an operator hears from `check`.

use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{examples::Folder, *};
use crate::domain::identity::Proof;

const APP: &str = include_str!("../../../tests/gateway/identities/app.key");
const OTHER: &str = include_str!("../../../tests/gateway/identities/other.key");

/// A certificate of the app's key, good in these years.
fn certificate(from: i32, to: i32) -> String {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::from_pem(APP).unwrap();
    params.self_signed(&key).unwrap().pem()
}

/// What a config with these files says; the folder's `tls.crt` and `tls.key` are of another kind than RSA.
fn read_with(files: &[(&str, &str)], fields: &str) -> Result<Loaded, String> {
    let folder = Folder::new(&format!("identities-{}", fastrand::u64(..)));
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let proof = format!("{{ client_certificate: {{ tenant_id: t, client_id: c, {fields} }} }}");
    folder.read(&with("{ managed_identity: {} }", &proof))
}

#[test]
fn certificate_and_key_may_be_in_one_file_or_in_two() {
    let pem = certificate(2020, 2099);
    let together = format!("{APP}{pem}");
    let files = [
        ("all.pem", together.as_str()),
        ("app.crt", &pem),
        ("app.key", APP),
    ];
    for (fields, keys) in [
        ("certificate: all.pem", ["all.pem", "all.pem"]),
        ("certificate: app.crt, key: app.key", ["app.crt", "app.key"]),
    ] {
        let loaded = read_with(&files, fields).unwrap();
        assert_eq!(loaded.warnings, []);
        let Proof::ClientCertificate {
            certificate, key, ..
        } = &loaded.plan.identities[0].proof
        else {
            panic!("a certificate")
        };
        assert!(certificate.ends_with(keys[0]) && key.ends_with(keys[1]));
    }
}

#[test]
fn what_can_prove_nothing_is_a_mistake() {
    let pem = certificate(2020, 2099);
    let files = [
        ("app.crt", pem.as_str()),
        ("app.key", APP),
        ("other.key", OTHER),
    ];
    for (fields, place, words) in [
        ("certificate: none.pem", "4:72", "none.pem can't be read"),
        (
            "certificate: app.key",
            "4:72",
            "app.key contains no certificate",
        ),
        (
            "certificate: app.crt",
            "4:72",
            "app.crt contains no private key",
        ),
        (
            "certificate: app.crt, key: none.key",
            "4:86",
            "none.key can't be read",
        ),
        (
            "certificate: app.crt, key: other.key",
            "4:86",
            "this key does not match the certificate",
        ),
        (
            "certificate: tls.crt, key: tls.key",
            "4:86",
            "RSA keys only",
        ),
    ] {
        let answer = read_with(&files, fields).unwrap_err();
        let lines: Vec<_> = answer.lines().collect();
        assert!(
            lines[0].contains(&format!(":{place}: ")) && lines[0].contains(words),
            "{answer}"
        );
        assert_eq!(lines.len(), 1, "{answer}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning_since_it_may_be_renewed() {
    for (from, to, words) in [
        (
            2019,
            2020,
            "this certificate expired on Jan  1 00:00:00 2020",
        ),
        (
            2098,
            2099,
            "this certificate is valid from Jan  1 00:00:00 2098",
        ),
    ] {
        let pem = format!("{}{APP}", certificate(from, to));
        let loaded = read_with(&[("app.pem", &pem)], "certificate: app.pem").unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings.len() == 1 && warnings[0].contains(words),
            "{warnings:?}"
        );
    }
}
