//! The machine: which cores work for whom, and the words that belong beside every figure.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

/// Which core is whose.
pub(crate) struct Cores {
    count: usize,
    is_pinned: bool,
}

impl Cores {
    /// The contenders' core is the first, the bench and the simulator work on the second. Where there is only
    /// one, or no `taskset`, the scheduler decides.
    pub(crate) fn shared_out() -> Self {
        // Counted first: once pinned, the bench itself sees one.
        let count = thread::available_parallelism().map_or(1, usize::from);
        let own = std::process::id().to_string();
        let is_pinned = count > 1 && is_done(Command::new("taskset").args(["-pc", "1", &own]));
        Self { count, is_pinned }
    }

    /// A command that runs `program` on the contenders' core.
    pub(crate) fn contender(&self, program: &str) -> Command {
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["-c", "0", program]);
        command
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
