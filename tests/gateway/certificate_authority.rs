//! Certificates of a test's own, and connections by hand that show them.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// For an answer to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authority: its certificate lies in `FOLDER/NAME.ca`.
pub(crate) struct CertificateAuthority(Issuer<'static, KeyPair>);

/// What a certificate says.
#[derive(Default)]
pub(crate) struct CertificateFields<'a> {
    pub(crate) subject: &'a [(DnType, &'a str)],
    pub(crate) others: Vec<SanType>,
    pub(crate) has_ended: bool,
}

impl CertificateAuthority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let (mut params, key) = (
            CertificateParams::new([]).unwrap(),
            KeyPair::generate().unwrap(),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join(format!("{name}.ca")), certificate.pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes a certificate for a host, by name or number, and its key into `FOLDER/NAME.crt` and `.key`.
    pub(crate) fn certify(&self, folder: &Path, name: &str, host: &str) {
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        write(folder, name, self.sign(params));
    }

    /// One that says something else.
    pub(crate) fn certify_as(&self, folder: &Path, name: &str, says: &CertificateFields<'_>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in says.subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names.clone_from(&says.others);
        if says.has_ended {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        write(folder, name, self.sign(params));
    }

    /// A certificate and its key, as text.
    pub(crate) fn sign(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

pub(crate) fn write(folder: &Path, name: &str, (certificate, key): (String, String)) {
    fs::write(folder.join(format!("{name}.crt")), certificate).unwrap();
    fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

pub(crate) fn email(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

/// What a TLS client goes by: it believes `FOLDER/ours.ca`, and shows `FOLDER/NAME.crt` where it has one.
pub(crate) fn client_config(
    folder: &Path,
    shows: Option<&str>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("ours.ca")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let file = |kind: &str| folder.join(format!("{name}.{kind}"));
            let chain = CertificateDer::pem_file_iter(file("crt")).unwrap();
            let chain = chain.map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

/// A TLS connection over which HTTP/1.1 is spoken by hand.
pub(crate) struct TlsConnection(pub(crate) TlsStream<TcpStream>);

impl TlsConnection {
    pub(crate) async fn open(address: SocketAddr, folder: &Path) -> Self {
        let config = client_config(folder, None, &[&version::TLS13, &version::TLS12]);
        Self::open_with(address, config).await.unwrap()
    }

    /// `Err`: the handshake failed. Over TLS 1.3 a client learns later that its certificate was not taken.
    pub(crate) async fn open_with(
        address: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = timeout(PATIENCE, handshake)
            .await
            .expect("a handshake ends in time")?;
        Ok(Self(stream))
    }

    /// The certificate that the gateway showed.
    pub(crate) fn shown(&self) -> Vec<u8> {
        let certificates = self.0.get_ref().1.peer_certificates().unwrap();
        certificates[0].to_vec()
    }

    /// The status and body of the answer to this request, after which the connection goes on; `None`: it has ended.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Option<(u16, String)> {
        timeout(PATIENCE, self.asked(request.as_ref()))
            .await
            .expect("an answer or an end comes in time")
            .ok()
    }

    async fn asked(&mut self, request: &[u8]) -> std::io::Result<(u16, String)> {
        self.0.write_all(request).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .split("content-length: ")
            .nth(1)
            .expect("a known length");
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, String::from_utf8(body).unwrap()))
    }
}
