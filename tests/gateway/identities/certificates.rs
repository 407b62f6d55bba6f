//! The certificates of a stage: an authority, what it signed for the token endpoints, and those of an app registration.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// RSA keys that everybody knows: rcgen makes none with ring.
const KEYS: [&str; 2] = [include_str!("app.key"), include_str!("other.key")];

/// Into the folder: `ca.pem`; `tokens.crt` and `tokens.key`, for localhost; `app.pem` and `other.pem`, each a certificate and
/// its key; `federated`, another issuer's token.
pub(super) fn lay_out(folder: &Path) {
    let (mut params, key) = (
        CertificateParams::new([]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let authority_pem = authority.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    for (name, text) in [
        ("ca.pem", authority_pem),
        ("tokens.crt", certificate.pem()),
        ("tokens.key", key.serialize_pem()),
        ("app.pem", certified(0, "app")),
        ("other.pem", certified(1, "other")),
        ("federated", "federated-1".into()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// A certificate of one of the keys, and the key.
pub(super) fn certified(key: usize, name: &str) -> String {
    let pair = KeyPair::from_pem(KEYS[key]).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&pair).unwrap();
    format!("{}{}", certificate.pem(), KEYS[key])
}

/// Puts a new text in a file's place in one step, as renewals do.
pub(super) fn renew(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}
