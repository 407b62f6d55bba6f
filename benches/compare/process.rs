//! A child process, ended with the value that holds it, and what the kernel says of it and of its own children.

use std::{
    collections::BTreeSet,
    fs, io,
    process::{Child, ChildStdout, Command},
    time::Duration,
};

use nix::{time::clock_getcpuclockid, unistd::Pid};

/// A running child. Dropping it ends it, and what it started.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// The CPU time that all threads of the tree have used, in the kernel and outside. To the nanosecond: the ticks of
    /// `/proc/PID/stat` are as long as a whole short run. What a child used that has ended since is lost.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.tree()?.into_iter().map(cpu_of).sum()
    }

    /// Resident memory of the tree, in MiB.
    pub(crate) fn resident(&self) -> io::Result<f64> {
        self.tree()?.into_iter().map(resident_of).sum()
    }

    /// Itself and its descendants, parents first.
    fn tree(&self) -> io::Result<Vec<u32>> {
        let mut tree = vec![self.0.id()];
        let mut parents = BTreeSet::from([self.0.id()]);
        let mut others = processes()?;
        loop {
            let (found, rest): (Vec<_>, Vec<_>) = others
                .into_iter()
                .partition(|(_, parent)| parents.contains(parent));
            if found.is_empty() {
                return Ok(tree);
            }
            parents = found.iter().map(|(id, _)| *id).collect();
            tree.extend(&parents);
            others = rest;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // They may have ended by themselves. Children first: without their parent nobody would know them.
        for id in self.tree().unwrap_or_default().into_iter().skip(1) {
            let id = Pid::from_raw(id.cast_signed());
            let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every process there is, with its parent.
fn processes() -> io::Result<Vec<(u32, u32)>> {
    let ids =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let with_parent = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name before them, in parentheses, may hold anything.
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        Some((id, parent.parse().ok()?))
    };
    Ok(ids.filter_map(with_parent).collect())
}

fn cpu_of(id: u32) -> io::Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(id.cast_signed()))?;
    Ok(clock.now()?.into())
}

fn resident_of(id: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| io::Error::other("the process has ended"))
}
