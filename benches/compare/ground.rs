//! What all contenders stand on: the simulator, certificates, and a folder for what they write.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};

use crate::{Result, machine::Cores, process::Process};

pub(crate) const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare");

/// The instances behind a contender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstreams {
    Plain,
    Tls,
    /// The third of them throttles every request.
    Throttled,
}

impl Upstreams {
    pub(crate) fn names(self) -> [&'static str; 3] {
        match self {
            Self::Plain => ["east", "north", "west"],
            Self::Tls => ["east-tls", "north-tls", "west-tls"],
            Self::Throttled => ["east", "north", "throttled"],
        }
    }

    pub(crate) fn scheme(self) -> &'static str {
        if self == Self::Tls { "https" } else { "http" }
    }
}

/// The running simulator, and a folder for what the contenders write.
pub(crate) struct Ground<'a> {
    pub(crate) cores: &'a Cores,
    _simulator: Process,
    /// Where its instances, its control and its token endpoint listen, by name.
    addresses: BTreeMap<String, SocketAddr>,
    /// For clients that trust the contenders' certificate and speak one protocol.
    authority: Arc<RootCertStore>,
    folder: Folder,
}

impl<'a> Ground<'a> {
    pub(crate) fn open(cores: &'a Cores) -> Result<Self> {
        let folder = Folder::new()?;
        let authority = certify(&folder)?;
        let config = fs::read_to_string(format!("{CONFIGS}/simulator.yaml"))?;
        let file = folder.0.join("simulator.yaml");
        fs::write(
            &file,
            config.replace("@FOLDER@", &folder.0.display().to_string()),
        )?;
        let mut command = Command::new(FOREBAY);
        command.args(["simulate", "--config"]).arg(file);
        let mut simulator = Process::start(command.stdout(Stdio::piped()))?;
        let said = simulator.stdout().ok_or("the simulator says nothing")?;
        let mut addresses = BTreeMap::new();
        // It says where each of its doors is, the token endpoint's last.
        for line in BufReader::new(said).lines() {
            let line = line?;
            let (name, url) = line.split_once(' ').ok_or("not a simulator's line")?;
            let (_, address) = url.split_once("://").ok_or("not a simulator's line")?;
            addresses.insert(name.to_owned(), address.parse()?);
            if name == "tokens" {
                break;
            }
        }
        Ok(Self {
            cores,
            _simulator: simulator,
            addresses,
            authority,
            folder,
        })
    }

    pub(crate) fn address(&self, name: &str) -> Result<SocketAddr> {
        let address = self.addresses.get(name).copied();
        address.ok_or_else(|| format!("the simulator has no {name}").into())
    }

    pub(crate) fn upstreams(
        &self,
        upstreams: Upstreams,
    ) -> Result<Vec<(&'static str, SocketAddr)>> {
        let with_address = |name: &'static str| Ok((name, self.address(name)?));
        upstreams.names().into_iter().map(with_address).collect()
    }

    /// Writes one of the files beside this one into the folder, with what stands in it as `@NAME@` filled in.
    pub(crate) fn config(&self, file: &str, values: &[(&str, String)]) -> Result<PathBuf> {
        let text = fs::read_to_string(format!("{CONFIGS}/{file}"))?;
        let folder = [("FOLDER", self.folder.0.display().to_string())];
        let all = values.iter().chain(&folder);
        let text = all.fold(text, |text, (name, value)| {
            text.replace(&format!("@{name}@"), value)
        });
        let path = self.folder.0.join(file);
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.0.join(name).display().to_string()
    }

    pub(crate) fn client_tls(&self, protocol: &str) -> Arc<ClientConfig> {
        let roots = Arc::clone(&self.authority);
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        Arc::new(config)
    }

    /// How many requests have reached instances since the start.
    pub(crate) fn arrived(&self) -> Result<u64> {
        let mut control = TcpStream::connect(self.address("control")?)?;
        control.write_all(b"GET /books HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        control.read_to_string(&mut answer)?;
        let body = answer.find('{').map_or("", |start| &answer[start..]);
        let stats: serde_json::Value = serde_json::Deserializer::from_str(body)
            .into_iter()
            .next()
            .ok_or("the books are empty")??;
        let instances = stats["instances"]
            .as_object()
            .ok_or("no instances in the books")?;
        let pages = instances
            .values()
            .filter_map(|stats| stats["deployments"].as_object());
        let pages = pages.flat_map(serde_json::Map::values);
        Ok(pages.filter_map(|page| page["requests"].as_u64()).sum())
    }
}

/// An authority, and a certificate for the simulator and the contenders.
fn certify(folder: &Folder) -> Result<Arc<RootCertStore>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Else both would have the same, and OpenSSL would take the second for its own issuer.
    params
        .distinguished_name
        .push(DnType::CommonName, "the bench's authority");
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let (issuer, key) = (Issuer::new(params, key), KeyPair::generate()?);
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let write = |name: &str, text: String| fs::write(folder.0.join(name), text);
    write("ca.pem", authority.pem())?;
    write("tls.crt", certificate.pem())?;
    write("tls.key", key.serialize_pem())?;
    // HAProxy wants both in one file.
    write("tls.pem", certificate.pem() + &key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    Ok(Arc::new(roots))
}

/// Where a program is: what the variable of its name in capitals says, or in the path. Debian keeps servers out of a
/// user's path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if let Some(path) = env::var_os(name.to_uppercase()) {
        return Some(path.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A folder of the bench's own, gone with the value that holds it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("forebay-compare-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
