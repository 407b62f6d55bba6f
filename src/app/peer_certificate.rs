//! A client's certificate, from its bytes to plain values. Its signature was verified in the handshake.

use std::{path::PathBuf, time::SystemTime};

use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
    x509::X509Name,
};

use crate::domain::client::certificate::{Certificate, Name};

/// `signed_by`: the files that name an authority which has signed it. `None` where it can't be read: then it is nobody's.
pub(super) fn certificate(der: &[u8], signed_by: Vec<PathBuf>) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let until = SystemTime::from(certificate.validity().not_after.to_datetime());
    let subject = attributes(certificate.subject());
    let others = certificate
        .subject_alternative_name()
        .ok()?
        .map(|others| others.value.general_names.as_slice());
    let names = others.unwrap_or_default().iter().filter_map(name);
    let certificate = Certificate::new(subject.as_deref(), names, until);
    Some(certificate.signed_by(signed_by))
}

/// The subject's attributes by object identifier, in the certificate's order; `None` where one can't be read as text, or
/// where two are joined.
fn attributes(subject: &X509Name<'_>) -> Option<Vec<(String, String)>> {
    let attribute = |set: &x509_parser::x509::RelativeDistinguishedName<'_>| {
        let mut joined = set.iter();
        let (Some(attribute), None) = (joined.next(), joined.next()) else {
            return None;
        };
        let value = attribute.as_str().ok()?;
        let is_plain = !value.is_empty() && !value.chars().any(char::is_control);
        is_plain.then(|| (attribute.attr_type().to_id_string(), value.to_owned()))
    };
    subject.iter().map(attribute).collect()
}

/// A name of a kind that the config knows, where it is sound.
fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => Name::dns(name).ok(),
        GeneralName::URI(name) => Name::uri(name).ok(),
        GeneralName::RFC822Name(name) => Name::email(name).ok(),
        _ => None,
    }
}
