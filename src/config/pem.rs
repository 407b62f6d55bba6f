//! PEM files that the config names: opened while it is checked, so that a start does not fail over them later, and
//! again when they change.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore, SignatureAlgorithm,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use zeroize::Zeroizing;

use crate::domain::validity::{CertificateStanding, Validity};

/// A file's bytes, wiped when let go of: there may be a key in them.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| unreadable(path, &error))
}

pub fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} can't be read: {error}", path.display())
}

/// The certificates in a file, at least one. `path` is for messages.
pub fn certificates_of(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!(
            "{shown} contains no certificate (-----BEGIN CERTIFICATE-----)"
        )),
        Err(_) => Err(format!("{shown} is not a valid PEM file of certificates")),
    }
}

pub fn private_key_of(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let no_key = |_| {
        format!(
            "{} contains no private key (-----BEGIN PRIVATE KEY-----)",
            path.display()
        )
    };
    PrivateKeyDer::from_pem_slice(pem).map_err(no_key)
}

/// The certificates in a file that is read for it, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates_of(path, &read(path)?)
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    private_key_of(path, &read(path)?)
}

/// Whether each certificate of a file can be trusted as an authority.
pub(super) fn authorities(path: &Path) -> Result<(), String> {
    authorities_of(path, &read(path)?).map(drop)
}

/// What a server shows, and proves with its key, if they belong together.
pub fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| format!("this key does not match the certificate: {error}"))
}

/// The authorities in a file.
pub fn authorities_of(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let unfit = |error| {
        format!(
            "{} contains a certificate that can't be used as a certificate authority: {error}",
            path.display()
        )
    };
    certificates_of(path, pem)?
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(unfit)?;
    Ok(roots)
}

/// How many authorities these files name that have nothing to do with each other. One that another of them has signed is
/// that one's, and one may be there several times.
pub(super) fn families(files: &BTreeSet<&Path>) -> usize {
    let all: Vec<_> = files
        .iter()
        .flat_map(|path| certificates(path))
        .flatten()
        .collect();
    count_families(&all)
}

fn count_families(all: &[CertificateDer<'_>]) -> usize {
    let all: Vec<_> = all
        .iter()
        .flat_map(|der| X509Certificate::from_der(der))
        .map(|(_, certificate)| certificate)
        .collect();
    let is_signed_by = |one: &X509Certificate<'_>, other: &X509Certificate<'_>| {
        let ids = (authority_key(one), own_key(other));
        one.issuer().as_raw() == other.subject().as_raw()
            // Two roots may have one name.
            && one.issuer().as_raw() != one.subject().as_raw()
            && !matches!(ids, (Some(wanted), Some(id)) if wanted != id)
    };
    let first = all
        .iter()
        .filter(|one| !all.iter().any(|other| is_signed_by(one, other)));
    let keys: BTreeSet<_> = first.map(|one| one.public_key().raw).collect();
    keys.len()
}

/// The id of the key that has signed a certificate, and that of its own.
fn authority_key<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    let found = certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        id.key_identifier.as_ref()
    });
    found.map(|id| id.0)
}

fn own_key<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c [u8]> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        Some(id.0)
    })
}

/// Whether all of these authorities are one's: its root, perhaps those that it has signed.
pub fn are_one(path: &Path, pem: &[u8]) -> Result<(), String> {
    match count_families(&certificates_of(path, pem)?) {
        0 | 1 => Ok(()),
        _ => Err("client_ca: now contains several certificate authorities; name the one that signs each client's certificates with ca:".into()),
    }
}

/// The time a certificate is for; `None` where it can't be read.
pub fn term(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let time = |time: x509_parser::time::ASN1Time| SystemTime::from(time.to_datetime());
    let validity = certificate.validity();
    Some(Validity {
        from: time(validity.not_before),
        until: time(validity.not_after),
    })
}

/// What an operator should hear of how a certificate stands.
pub fn warning(standing: CertificateStanding) -> Option<String> {
    match standing {
        CertificateStanding::Good => None,
        CertificateStanding::NotYet => Some(
            "this certificate is not valid yet; check its start date and this machine's clock"
                .into(),
        ),
        CertificateStanding::EndsSoon { left } if left.as_secs() >= 2 * 24 * 3600 => Some(format!(
            "this certificate expires in {} days; renew it",
            left.as_secs() / (24 * 3600)
        )),
        CertificateStanding::EndsSoon { left } => Some(format!(
            "this certificate expires in {} hours; renew it",
            left.as_secs() / 3600
        )),
        CertificateStanding::Ended => {
            Some("this certificate has expired, so nobody will accept it; renew it".into())
        }
    }
}

/// Whether the key is RSA, the one kind that Entra takes.
pub(super) fn is_rsa(key: &PrivateKeyDer<'static>) -> Result<(), String> {
    let loaded = ring::default_provider()
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| format!("this key can't be used: {error}"))?;
    match loaded.algorithm() {
        SignatureAlgorithm::RSA => Ok(()),
        _ => {
            Err("Entra accepts certificates with RSA keys only; this key is of another type".into())
        }
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
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    Ok(if now > validity.not_after.timestamp() {
        let ended = validity.not_after;
        Some(format!(
            "this certificate expired on {ended}: Entra will issue no token until it is renewed"
        ))
    } else if now < validity.not_before.timestamp() {
        let begins = validity.not_before;
        Some(format!(
            "this certificate is valid from {begins} on: Entra will issue no token before that"
        ))
    } else {
        None
    })
}
