//! Who is measured, and the simulator behind all of them.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{Result, chat, load, machine::Cores, pass_through, process::Process};

const FOREBAY: &str = env!("CARGO_BIN_EXE_forebay");
const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare");
const INSTANCES: [&str; 3] = ["east", "north", "west"];

/// A proxy that runs, and where it listens.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// The running simulator, and a folder for what the contenders write.
pub(crate) struct Field<'a> {
    cores: &'a Cores,
    _simulator: Process,
    /// Where its instances and its token endpoint listen, by name.
    addresses: BTreeMap<String, SocketAddr>,
    folder: Folder,
}

impl<'a> Field<'a> {
    pub(crate) fn open(cores: &'a Cores) -> Result<Self> {
        let mut command = Command::new(FOREBAY);
        command.args(["simulate", "--config", &format!("{CONFIGS}/simulator.yaml")]);
        let mut simulator = Process::start(command.stdout(Stdio::piped()))?;
        let said = simulator.stdout().ok_or("the simulator says nothing")?;
        let mut addresses = BTreeMap::new();
        // It says where each of its doors is, the token endpoint's last.
        for line in BufReader::new(said).lines() {
            let line = line?;
            let (name, url) = line
                .split_once(" http://")
                .ok_or("not a simulator's line")?;
            addresses.insert(name.to_owned(), url.parse()?);
            if name == "tokens" {
                break;
            }
        }
        Ok(Self {
            cores,
            _simulator: simulator,
            addresses,
            folder: Folder::new()?,
        })
    }

    /// All of them, each having answered once.
    pub(crate) async fn contenders(&self) -> Result<Vec<Contender>> {
        let mut contenders = vec![self.forebay()?, self.pingora()?];
        match self.nginx() {
            Ok(nginx) => contenders.push(nginx),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("nginx is not installed: left out");
            }
            Err(error) => return Err(error.into()),
        }
        let chat = chat::plain(1 << 10);
        for contender in &contenders {
            let answered = load::first_answer(contender.address, &chat).await;
            answered.map_err(|error| format!("{} does not answer: {error}", contender.name))?;
        }
        Ok(contenders)
    }

    pub(crate) fn forebay(&self) -> Result<Contender> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = self.cores.contender(FOREBAY);
        command
            .args(["serve", "--config", &format!("{CONFIGS}/forebay.yaml")])
            .env("PORT", address.port().to_string())
            .env("ADMIN_PORT", admin.port().to_string())
            .env("ACCESS_LOG", self.folder.0.join("access.jsonl"))
            .env("FOREBAY_LOG", "error");
        for name in INSTANCES.iter().chain(&["tokens"]) {
            command.env(name.to_uppercase(), self.address(name)?.to_string());
        }
        let process = Process::start(&mut command)?;
        Ok(Contender {
            name: "forebay",
            address,
            process,
        })
    }

    fn pingora(&self) -> Result<Contender> {
        let address = free_address()?;
        let own = env::current_exe()?;
        let mut command = self.cores.contender(&own.to_string_lossy());
        command.args([pass_through::COMMAND, &address.to_string()]);
        for name in INSTANCES {
            command.arg(self.address(name)?.to_string());
        }
        let process = Process::start(&mut command)?;
        Ok(Contender {
            name: "pingora",
            address,
            process,
        })
    }

    fn nginx(&self) -> io::Result<Contender> {
        let program = program("nginx").ok_or(io::ErrorKind::NotFound)?;
        let address = free_address()?;
        let upstreams = INSTANCES
            .iter()
            .filter_map(|name| self.addresses.get(*name));
        let upstreams: Vec<String> = upstreams
            .map(|address| format!("    server {address};"))
            .collect();
        let folder = self.folder.0.display().to_string();
        let conf = fs::read_to_string(format!("{CONFIGS}/nginx.conf"))?
            .replace("FOLDER", &folder)
            .replace("PORT", &address.port().to_string())
            .replace("UPSTREAMS", &upstreams.join("\n"));
        let file = self.folder.0.join("nginx.conf");
        fs::write(&file, conf)?;
        let mut command = self.cores.contender(&program.to_string_lossy());
        // Before it has read the file it would say that it can't write to its usual log.
        command.arg("-c").arg(file).stderr(Stdio::null());
        let process = Process::start(&mut command)?;
        Ok(Contender {
            name: "nginx",
            address,
            process,
        })
    }

    fn address(&self, name: &str) -> Result<SocketAddr> {
        let address = self.addresses.get(name).copied();
        address.ok_or_else(|| format!("the simulator has no {name}").into())
    }
}

/// Where a program is; Debian keeps servers out of a user's path.
fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A loopback address that nobody listens on.
fn free_address() -> io::Result<SocketAddr> {
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
