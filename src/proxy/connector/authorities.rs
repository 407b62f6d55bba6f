//! Whom an instance's certificate may be signed by: the system's authorities, and those of a file beside them. The file
//! is read again when it changes.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::{
    protocols::tls::CaType,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::local_limits;
use crate::http_client::system_authorities;

/// Why a file of authorities can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {reason}")]
pub(crate) struct AuthoritiesError {
    path: String,
    reason: String,
}

/// One file's authorities and the system's, as Pingora takes them. Building them into a store costs each new
/// connection about 30 microseconds for Debian's 145, next to nothing beside its handshake.
pub(crate) struct Authorities {
    path: PathBuf,
    believed: ArcSwap<Arc<CaType>>,
    state: Mutex<AuthoritiesState>,
}

struct AuthoritiesState {
    text: Vec<u8>,
    error: Option<AuthoritiesError>,
}

impl Authorities {
    pub(crate) fn open(path: &Path) -> Result<Self, AuthoritiesError> {
        let text = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            believed: ArcSwap::from_pointee(with_the_systems(own(path, &text)?)),
            state: Mutex::new(AuthoritiesState { text, error: None }),
        })
    }

    pub(super) fn believed(&self) -> Arc<CaType> {
        Arc::clone(&self.believed.load())
    }

    /// Takes the file in if it has changed and is sound. Reads it, so it may block.
    pub(super) fn look(&self) {
        let mut state = self.state.lock();
        let text = match std::fs::read(&self.path) {
            // It says nothing of the file.
            Err(error) if local_limits::exhausted(&error).is_some() => return,
            text => text.map_err(|error| unfit(&self.path, &error)),
        };
        let taken = text.and_then(|text| {
            if text == state.text {
                Ok(None)
            } else {
                Ok(Some((own(&self.path, &text)?, text)))
            }
        });
        match taken {
            Ok(None) => state.error = None,
            Ok(Some((own, text))) => {
                self.believed.store(Arc::new(with_the_systems(own)));
                (state.text, state.error) = (text, None);
                tracing::info!(event = "ca_reloaded", file = %self.path.display(), "the changed CA file is now in use");
            }
            Err(error) if state.error.as_ref() != Some(&error) => {
                tracing::warn!(event = "ca_invalid", %error, "the CA file has changed but can't be used: the old certificate authorities stay in use; correct the file");
                state.error = Some(error);
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthoritiesError> {
    std::fs::read(path).map_err(|error| unfit(path, &error))
}

fn unfit(path: &Path, reason: &dyn std::fmt::Display) -> AuthoritiesError {
    AuthoritiesError {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

/// The file's own, at least one.
fn own(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = read.map_err(|error| unfit(path, &error))?;
    if all.is_empty() {
        return Err(unfit(path, &"it contains no certificate"));
    }
    match all.iter().find(|certificate| !is_fit(certificate)) {
        Some(_) => Err(unfit(
            path,
            &"it contains a certificate that can't be used as a certificate authority",
        )),
        None => Ok(all),
    }
}

/// Whether rustls can believe it, and Pingora can read it: it would panic over what it can't.
fn is_fit(certificate: &CertificateDer<'static>) -> bool {
    let is_readable = X509Certificate::from_der(certificate).is_ok();
    is_readable && RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn with_the_systems(own: Vec<CertificateDer<'static>>) -> Arc<CaType> {
    // Read once, as Pingora does for instances without a file of their own.
    static SYSTEMS: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
        system_authorities()
            .iter()
            .filter(|it| is_fit(it))
            .cloned()
            .collect()
    });
    let all = own.into_iter().chain(SYSTEMS.iter().cloned());
    all.map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
        .collect()
}
