//! PEM files that the config names, opened while it is checked, so that a start does not fail over them later.

use std::{fs, path::Path};

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

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

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}
