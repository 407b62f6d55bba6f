//! Why an instance can't be reached, in words that say what to fix.

use pingora::{Error, ErrorType};

use crate::domain::deployment::Instance;

/// How long a text of others' may be, in characters.
const LONGEST: usize = 300;

/// What rustls says of a certificate, and what that means to who runs the gateway.
const CERTIFICATE: [(&str, &str); 6] = [
    (
        "UnknownIssuer",
        "its certificate is signed by a CA that is not trusted; to trust it, set ca: to a PEM file of that CA",
    ),
    (
        "certificate expired",
        "its certificate has expired and must be renewed there",
    ),
    (
        "not valid yet",
        "its certificate is not valid yet; check this machine's clock",
    ),
    (
        "not valid for name",
        "its certificate is for a different host name; check the endpoint, connect_to: and the certificate",
    ),
    ("Revoked", "its certificate was revoked"),
    (
        "invalid peer certificate",
        "its certificate can't be verified",
    ),
];

pub(super) fn why(error: &Error, instance: &Instance) -> String {
    let text = error.to_string();
    let known = CERTIFICATE.iter().find(|(sign, _)| text.contains(sign));
    let reason = match (known, error.etype()) {
        (Some((_, reason)), _) => (*reason).to_owned(),
        (None, ErrorType::TLSHandshakeFailure) => {
            format!("the TLS handshake failed ({})", cut(&text))
        }
        (None, ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout) => {
            "connect timeout; check routes, firewalls and connect_timeout".to_owned()
        }
        (None, ErrorType::ConnectRefused) => "connection refused".to_owned(),
        (None, ErrorType::ConnectNoRoute) => "no route to its address".to_owned(),
        (None, _) => cut(&text),
    };
    format!("{reason} ({})", instance.endpoint.authority())
}

fn cut(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(LONGEST).collect()
}
