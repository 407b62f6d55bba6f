//! The machine: which cores work for whom, and the words that belong beside every figure.

use std::{
    ffi::OsStr,
    fs, io,
    process::{Command, Stdio},
    thread,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Which core is whose.
pub(crate) struct Cores {
    count: usize,
    is_pinned: bool,
}

impl Cores {
    /// The contenders' core is the first, the bench and the simulator work on the second (and the fourth). Where there is
    /// only one, or no `taskset`, the scheduler decides.
    pub(crate) fn shared_out() -> Self {
        // Counted first: once pinned, the bench itself sees one.
        let count = thread::available_parallelism().map_or(1, usize::from);
        let own = std::process::id().to_string();
        let cores = if count >= 4 { "1,3" } else { "1" };
        let is_pinned = count > 1 && is_done(Command::new("taskset").args(["-pc", cores, &own]));
        Self { count, is_pinned }
    }

    /// A command that runs `program` on the contenders' core; with two threads where it may, on two that are free.
    pub(crate) fn contender(&self, program: &OsStr, threads: usize) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let cores = match threads {
            1 => "0",
            _ if self.has_two_for_contenders() => "0,2",
            _ => "0,1",
        };
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(program);
        command
    }

    /// Two for a contender, and two for the load and the simulator.
    pub(crate) fn has_two_for_contenders(&self) -> bool {
        self.count >= 4
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn describe(&self) -> &'static str {
        if self.is_pinned {
            "pinned: contenders on core 0 by turns, load and simulator on core 1"
        } else {
            "not pinned: one core, or no taskset"
        }
    }
}

/// Thousands of connections are open at once: as many as this process and its children may have. Those who may, allow
/// themselves more.
pub(crate) fn allow_connections() -> io::Result<u64> {
    const WANTED: u64 = 65_536;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = hard.max(WANTED);
    if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

fn is_done(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Processor, kernel and compiler.
pub(crate) fn words(cores: &Cores) -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |model| {
        model.trim_start_matches([':', '\t', ' '])
    });
    let kernel = file("/proc/sys/kernel/osrelease");
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| "rustc unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    format!(
        "{} cores ({model}), Linux {}, {rustc}",
        cores.count(),
        kernel.trim()
    )
}
