//! Where a port finds its certificate.

use std::path::PathBuf;

use serde::Deserialize;

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}
