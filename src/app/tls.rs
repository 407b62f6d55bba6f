//! What a TLS listener shows, and whom it believes: read again when its files change, without touching a connection.
//!
//! A mounted secret is swapped in one step, but others replace the certificate first and its key a moment later. What
//! does not fit together, or can't be read, changes nothing: the last sound files stay in force, and are tried again.

use std::{
    any::Any,
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    listeners::{
        TlsAccept,
        tls::{Acceptor, TlsSettings},
    },
    protocols::tls::TlsRef,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{peer_certificate, start_error::StartError};
use crate::{
    config::{TlsFiles, pem},
    domain::{
        client::certificate::Entry,
        validity::{CertificateStanding, Validity},
    },
    proxy::connector::local_limits,
    telemetry::metrics::ListenerMetrics,
};

/// How often the files are looked at. They are small, and read whole: no clock and no file system is trusted to say
/// that they have changed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Tls {
    address: SocketAddr,
    files: TlsFiles,
    bound: Bound,
    metrics: Arc<ListenerMetrics>,
    acceptor: ArcSwap<Acceptor>,
    state: Mutex<CertificateState>,
}

/// To whom the names in clients' certificates are bound.
#[derive(Clone, Default)]
pub(super) struct Bound {
    /// The files of authorities that some of them name.
    cas: BTreeSet<PathBuf>,
    /// Some name none: then all that the listener believes must be one authority.
    has_unbound: bool,
}

impl Bound {
    pub(super) fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Self {
        let mut bound = Self::default();
        for entry in entries {
            match &entry.ca {
                Some(ca) => drop(bound.cas.insert(ca.clone())),
                None => bound.has_unbound = true,
            }
        }
        bound
    }
}

/// What is in force, and what was said of it.
struct CertificateState {
    contents: [u8; 32],
    validity: Option<Validity>,
    /// Why the files as they are now are not in force.
    error: Option<String>,
    told: CertificateStanding,
}

/// How the certificate stands, for operators.
pub(super) struct Report {
    pub(super) validity: Option<Validity>,
    pub(super) error: Option<String>,
}

/// What the files held when they were read, and what it makes.
struct Read {
    contents: [u8; 32],
    acceptor: Result<(Acceptor, Option<Validity>), String>,
    /// They could not be read for want of something here, which says nothing of them.
    is_own_limit: bool,
}

impl Tls {
    /// Fails where the files are not sound; the plan had found them so.
    pub(super) fn open(
        address: SocketAddr,
        files: TlsFiles,
        bound: Bound,
        metrics: Arc<ListenerMetrics>,
    ) -> Result<Arc<Self>, StartError> {
        let read = read(&files, &bound);
        let (acceptor, validity) = read.acceptor.map_err(|reason| StartError::Certificate {
            path: files.certificate.display().to_string(),
            reason,
        })?;
        let this = Self {
            address,
            files,
            bound,
            metrics,
            acceptor: ArcSwap::from_pointee(acceptor),
            state: Mutex::new(CertificateState {
                contents: read.contents,
                validity,
                error: None,
                told: CertificateStanding::Good,
            }),
        };
        this.tell_standing(SystemTime::now());
        Ok(Arc::new(this))
    }

    /// What the next handshake is made with.
    pub(super) fn acceptor(&self) -> Arc<Acceptor> {
        self.acceptor.load_full()
    }

    pub(super) fn report(&self) -> Report {
        let state = self.state.lock();
        Report {
            validity: state.validity,
            error: state.error.clone(),
        }
    }

    /// Takes the files in if they have changed and are sound. Reads files, so it may block.
    pub(super) fn look(&self, now: SystemTime) {
        let read = read(&self.files, &self.bound);
        if !read.is_own_limit {
            self.take_in(read, now);
        }
        self.tell_standing(now);
    }

    fn take_in(&self, read: Read, now: SystemTime) {
        let mut state = self.state.lock();
        let listener = self.address;
        if read.contents == state.contents {
            if state.error.take().is_some() {
                tracing::info!(event = "certificate_restored", %listener, "the certificate files match the certificate in use again");
            }
            return;
        }
        let taken = read.acceptor.and_then(|(acceptor, validity)| {
            match has_ended(validity, now) && !has_ended(state.validity, now) {
                true => Err("the new certificate has already expired".to_owned()),
                false => Ok((acceptor, validity)),
            }
        });
        match taken {
            Ok((acceptor, validity)) => {
                self.acceptor.store(Arc::new(acceptor));
                (state.contents, state.validity) = (read.contents, validity);
                (state.error, state.told) = (None, CertificateStanding::Good);
                self.metrics.count_reload(true);
                tracing::info!(event = "certificate_reloaded", %listener, ends = %ends(validity), "the renewed certificate is now in use");
            }
            Err(error) if state.error.as_ref() != Some(&error) => {
                self.metrics.count_reload(false);
                tracing::warn!(event = "certificate_invalid", %listener, %error, "the certificate files have changed but can't be used: the old certificate stays in use; correct the files, they are read again within seconds");
                state.error = Some(error);
            }
            Err(_) => {}
        }
    }

    /// Says once what has become of the certificate's time.
    fn tell_standing(&self, now: SystemTime) {
        let mut state = self.state.lock();
        let Some(validity) = state.validity else {
            return;
        };
        self.metrics.say_certificate_ends(validity.until);
        let standing = validity.standing(now);
        let is_news = std::mem::discriminant(&standing) != std::mem::discriminant(&state.told);
        if let (true, Some(warning)) = (is_news, pem::warning(standing)) {
            let (listener, file) = (self.address, self.files.certificate.display());
            tracing::warn!(event = "certificate_expiry", %listener, %file, "{warning}");
        }
        state.told = standing;
    }
}

fn has_ended(validity: Option<Validity>, now: SystemTime) -> bool {
    validity.is_some_and(|validity| validity.standing(now) == CertificateStanding::Ended)
}

fn ends(validity: Option<Validity>) -> String {
    validity.map_or_else(
        || "at an unknown time".to_owned(),
        |validity| httpdate::fmt_http_date(validity.until),
    )
}

/// Reads the files once: what is hashed is what is used.
fn read(files: &TlsFiles, bound: &Bound) -> Read {
    let mut hash = Sha256::new();
    let mut is_own_limit = false;
    let mut text = |path: &std::path::Path| {
        let text = std::fs::read(path).map(Zeroizing::new);
        let failed = text.as_ref().err();
        is_own_limit |= failed.is_some_and(|error| local_limits::exhausted(error).is_some());
        let text = text.map_err(|error| pem::unreadable(path, &error));
        let bytes = text.as_ref().map_or(&[][..], |text| text.as_slice());
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
        text
    };
    let (certificate, key) = (text(&files.certificate), text(&files.key));
    let authorities = files
        .of_clients
        .as_ref()
        .map(|asked| (asked, text(&asked.authorities)));
    let cas = match &files.of_clients {
        Some(_) => bound.cas.iter().map(|ca| (ca, text(ca))).collect(),
        None => Vec::new(),
    };
    let contents = hash.finalize().into();
    let acceptor = (|| {
        let chain = pem::certificates_of(&files.certificate, &certificate?)?;
        let validity = pem::term(&chain[0]);
        let pair = pem::pair(chain, pem::private_key_of(&files.key, &key?)?)?;
        let asked = match authorities {
            Some((asked, text)) => {
                let text = text?;
                if bound.has_unbound {
                    pem::are_one(&asked.authorities, &text)?;
                }
                let roots = pem::authorities_of(&asked.authorities, &text)?;
                Some((roots, asked.required))
            }
            None => None,
        };
        let mut signers = Vec::new();
        for (ca, text) in cas {
            let roots = pem::authorities_of(ca, &text?)?;
            signers.push((ca.clone(), verifier(roots, true)?));
        }
        Ok((acceptor(pair, asked, Introduction { signers })?, validity))
    })();
    Read {
        contents,
        acceptor,
        is_own_limit,
    }
}

/// TLS 1.2 and 1.3 by rustls' own choice of ciphers, HTTP/1.1 and HTTP/2. Clients keep their sessions themselves, as
/// tickets, so that any number of them can resume theirs; not where certificates are asked for, which are not looked at
/// again when a session is resumed: there few sessions are remembered, for as long as the acceptor stays, so that what a
/// replaced authority once vouched for is forgotten with it.
fn acceptor(
    pair: CertifiedKey,
    asked: Option<(rustls::RootCertStore, bool)>,
    introduction: Introduction,
) -> Result<Acceptor, String> {
    let unfit = |error: &dyn std::fmt::Display| error.to_string();
    let mut settings =
        TlsSettings::with_callbacks(Box::new(introduction)).map_err(|error| unfit(&error))?;
    settings.set_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    let is_anybodys = asked.is_none();
    if let Some((roots, required)) = asked {
        settings.set_client_cert_verifier(verifier(roots, required)?);
    }
    settings.enable_h2();
    let mut acceptor = settings.build();
    if is_anybodys {
        let mut config = ServerConfig::clone(acceptor.acceptor.config());
        config.ticketer = ring::Ticketer::new().map_err(|error| unfit(&error))?;
        acceptor.acceptor = Arc::new(config).into();
    }
    Ok(acceptor)
}

fn verifier(
    roots: rustls::RootCertStore,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if required {
        verifier
    } else {
        verifier.allow_unauthenticated()
    };
    verifier.build().map_err(|error| error.to_string())
}

/// Reads a client's certificate when its handshake is done; requests find it with their connection.
struct Introduction {
    /// By file, what finds out whether one of its authorities has signed a certificate.
    signers: Vec<(PathBuf, Arc<dyn ClientCertVerifier>)>,
}

impl Introduction {
    /// The files that name an authority which has signed this certificate, once more than the handshake asked.
    fn signed_by(&self, chain: &[CertificateDer<'_>]) -> Vec<PathBuf> {
        let Some((leaf, others)) = chain.split_first() else {
            return Vec::new();
        };
        let now = UnixTime::now();
        let vouches = |signer: &Arc<dyn ClientCertVerifier>| {
            signer.verify_client_cert(leaf, others, now).is_ok()
        };
        let all = self.signers.iter().filter(|(_, signer)| vouches(signer));
        all.map(|(ca, _)| ca.clone()).collect()
    }
}

#[async_trait]
impl TlsAccept for Introduction {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let chain = tls.peer_cert_chain_der()?;
        let certificate = peer_certificate::certificate(chain.first()?, self.signed_by(chain))?;
        Some(Arc::new(certificate))
    }
}
