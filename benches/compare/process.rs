//! A child process, ended with the value that holds it, and what the kernel says of it.

use std::{
    fs, io,
    process::{Child, ChildStdout, Command},
    time::Duration,
};

/// The kernel counts CPU time in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// A running child. Dropping it ends it.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// The CPU time its threads have used, in the kernel and outside.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let stat = self.read("stat")?;
        // The name before it, in parentheses, may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        Ok(TICK * ticks)
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident(&self) -> io::Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0)
            .ok_or_else(|| io::Error::other("the process has ended"))
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
