//! How the gateway asks others than instances over HTTP (token authorities, issuers, collectors): whom it trusts, the TLS
//! provider, and what may be said of an error.

use std::{error::Error as StdError, fs, path::Path, sync::OnceLock, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, Response, redirect::Policy};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use url::{Host, Url};

/// For a connection, TLS counted in.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Why a client can't be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    #[error("the authorities in {path} can't be used: {reason}")]
    Authorities { path: String, reason: String },
    #[error("no HTTPS client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A client that trusts the system's authorities and those of the file `ca`, knows no proxy, not even the environment's,
/// and follows no redirect. `more`: what else is set.
pub(crate) fn client(
    ca: Option<&Path>,
    more: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, SetupError> {
    install_provider();
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIME);
    if let Some(path) = ca {
        let pem = fs::read(path).map_err(|error| unfit(path, error))?;
        let own = Certificate::from_pem_bundle(&pem).map_err(|error| unfit(path, error))?;
        builder = builder.tls_certs_merge(own);
    }
    Ok(more(builder).build()?)
}

/// The same authorities for who brings a client of his own.
pub(crate) fn roots(ca: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_authorities().iter().cloned());
    if let Some(path) = ca {
        for own in CertificateDer::pem_file_iter(path).map_err(|error| unfit(path, error))? {
            let own = own.map_err(|error| unfit(path, error))?;
            roots.add(own).map_err(|error| unfit(path, error))?;
        }
    }
    Ok(roots)
}

/// Read once.
pub(crate) fn system_authorities() -> &'static [CertificateDer<'static>] {
    static SYSTEMS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEMS.get_or_init(|| {
        rustls_native_certs::load_native_certs().unwrap_or_else(|error| {
            tracing::warn!(event = "system_ca_unreadable", %error, "could not read the system's certificate authorities; what has a ca: trusts that file only");
            Vec::new()
        })
    })
}

/// Two TLS providers could be compiled in; the process uses this one.
pub fn install_provider() {
    // An error says that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An answer's whole body; `None`: it is longer than this.
pub(crate) async fn body(answer: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// The operating system's or the TLS library's own words, which name no URL and no content.
pub(crate) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether this machine alone is asked. The domain, which has no URLs, says the same of its endpoints.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn unfit(path: &Path, reason: impl ToString) -> SetupError {
    SetupError::Authorities {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}
