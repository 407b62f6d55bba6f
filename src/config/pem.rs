//! PEM files that the config names, opened while it is checked, so that a start does not fail over them later.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore, SignatureAlgorithm,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroizing;

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let (shown, pem) = (path.display(), read(path)?);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!(
            "{shown} holds no certificate (-----BEGIN CERTIFICATE-----)"
        )),
        Err(_) => Err(format!("{shown} is no sound PEM file of certificates")),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let no_key = |_| {
        format!(
            "{} holds no private key (-----BEGIN PRIVATE KEY-----)",
            path.display()
        )
    };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(no_key)
}

/// Whether a server can show this chain and prove it with this key.
pub(super) fn belong_together(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), String> {
    let misfit = |error| format!("this key does not go with the certificate: {error}");
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(drop)
        .map_err(misfit)
}

/// Whether the key is RSA, the one kind that Entra takes.
pub(super) fn is_rsa(key: &PrivateKeyDer<'static>) -> Result<(), String> {
    let loaded = ring::default_provider()
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| format!("this key can't be used: {error}"))?;
    match loaded.algorithm() {
        SignatureAlgorithm::RSA => Ok(()),
        _ => Err("Entra takes certificates with RSA keys only; this key is of another kind".into()),
    }
}

/// What is to be said of the time that the first certificate is good for; mostly nothing.
pub(super) fn validity(
    chain: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<Option<String>, String> {
    let unsound = || "this certificate can't be read".to_owned();
    let first = chain.first().ok_or_else(unsound)?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|_| unsound())?;
    let validity = certificate.validity();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    Ok(if now > validity.not_after.timestamp() {
        let ended = validity.not_after;
        Some(format!(
            "this certificate ended on {ended}: no token will come until it is renewed"
        ))
    } else if now < validity.not_before.timestamp() {
        let begins = validity.not_before;
        Some(format!(
            "this certificate is good from {begins} on: no token will come before"
        ))
    } else {
        None
    })
}

/// Whether each certificate of the file can be trusted as an authority.
pub(super) fn authorities(path: &Path) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    certificates(path)?
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(|error| {
            format!(
                "{} holds a certificate that can't be an authority: {error}",
                path.display()
            )
        })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = fs::read(path).map(Zeroizing::new);
    bytes.map_err(|error| format!("{} can't be read: {error}", path.display()))
}
