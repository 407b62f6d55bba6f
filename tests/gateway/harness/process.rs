//! Processes of a test's own, each ended with its test; and the addresses and folders that they are given.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// A process; ended when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it says on stdout, where that is piped.
    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.0.stdout.take().unwrap()
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end: its exit code, stdout and stderr.
pub(crate) fn output_of(command: &mut Command) -> (Option<i32>, String, String) {
    exit_and_output(&command.output().unwrap())
}

/// The same of a command that has ended.
pub(crate) fn exit_and_output(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out, err)
}

/// The binary under test; another build of it where `FOREBAY_RELEASE` names one.
pub(crate) fn forebay() -> Command {
    let another = std::env::var_os("FOREBAY_RELEASE");
    Command::new(another.unwrap_or_else(|| env!("CARGO_BIN_EXE_forebay").into()))
}

/// The gateway of this config.
pub(super) fn serve(config: &Path) -> Command {
    let mut serve = forebay();
    serve.args(["serve", "--config"]).arg(config);
    serve.stdout(Stdio::null());
    serve
}

/// An address that nothing listens on, and that is given to nobody else here. It lies below the ports that systems give
/// to outgoing connections, so that none of those takes it before the gateway does.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const PORTS: Range<usize> = 10_000..32_000;
    loop {
        let start = std::process::id() as usize * 97;
        let number = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + number % PORTS.len();
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A new folder of this test's own.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "forebay-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}
