//! What a start needs of the machine it is on, looked at before anything is opened, bound or written: by `check`, and by
//! `serve` before it begins.

use std::{fs, path::Path};

use rustix::{
    fs::{Access, access},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{listener::ADMIN_CONNECTIONS, parts::connectors};
use crate::{config::Plan, identity::Identities, oidc::Issuers};

/// Files, sockets of its own, idle connections: beside those to clients, and one to a deployment for each of them.
const BESIDE: u64 = 256;
/// Where the hard limit is none: what Linux allows a process unless `fs.nr_open` says more.
const MOST: u64 = 1 << 20;

/// What was found, each in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The gateway would not start, or not do what its config says.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// Looks whether the gateway could start here.
pub fn examine(plan: &Plan) -> Examined {
    let mut examined = Examined::default();
    for (field, file) in files(plan) {
        examined.problems.extend(unfit(field, file));
    }
    match Identities::new(&plan.identities, &plan.instances) {
        Ok(identities) => {
            let reached = connectors(plan, &identities).err();
            let problems = reached.map(|error| error.to_string());
            examined.problems.extend(problems);
        }
        Err(error) => examined.problems.push(error.to_string()),
    }
    let issuers = Issuers::new(&plan.issuers, &plan.clients).err();
    let problems = issuers.map(|error| error.to_string());
    examined.problems.extend(problems);
    let few = too_few_open_files(plan, allowed_open_files());
    examined.warnings.extend(few);
    examined
}

/// What the gateway writes, and which field says so.
fn files(plan: &Plan) -> impl Iterator<Item = (&'static str, &Path)> {
    let log = &plan.log;
    let access = log.access.iter().map(|it| ("log.access", &it.path));
    let usage = log.usage.iter().map(|it| ("log.usage", &it.path));
    let prompts = log.prompts.iter().map(|it| ("log.prompts", &it.file.path));
    let counters = plan.counters.file.iter().map(|it| ("counters.file", it));
    let all = access.chain(usage).chain(prompts).chain(counters);
    all.map(|(field, path)| (field, path.as_path()))
}

/// Why a file can't be written where it should be.
fn unfit(field: &str, file: &Path) -> Option<String> {
    let shown = file.display();
    if file.is_dir() {
        return Some(format!(
            "{field}: {shown} is a folder; write the path of a file"
        ));
    }
    if fs::symlink_metadata(file).is_ok() {
        let error = access(file, Access::WRITE_OK).err()?;
        return Some(format!("{field}: {shown} can't be written: {error}"));
    }
    let folder = file
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let shown = folder.display();
    match fs::metadata(folder) {
        Err(error) => Some(format!(
            "{field}: the folder {shown} can't be used: {error}; create it, or set systemd's LogsDirectory= or StateDirectory="
        )),
        Ok(found) if !found.is_dir() => Some(format!("{field}: {shown} is not a folder")),
        Ok(_) => {
            let error = access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
            Some(format!(
                "{field}: the folder {shown} is not writable: {error}"
            ))
        }
    }
}

/// Raises the soft limit of open files to the hard one, and says where that leaves it. The soft one is there for programs
/// that can't count further than 1024; the gateway takes all that it may.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(MOST), limit.maximum.unwrap_or(MOST));
    let raised = Rlimit {
        current: Some(hard),
        ..limit
    };
    if soft < hard && setrlimit(Resource::Nofile, raised).is_ok() {
        hard
    } else {
        soft
    }
}

/// How many files the process may have open once it has raised its limit.
fn allowed_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    limit.maximum.unwrap_or(MOST)
}

/// What to warn of where the limit is less than what the listeners may need.
pub(super) fn too_few_open_files(plan: &Plan, allowed: u64) -> Option<String> {
    let connections: u64 = plan
        .listeners
        .iter()
        .map(|it| it.max_connections as u64)
        .sum();
    let needed = 2 * connections + ADMIN_CONNECTIONS as u64 + BESIDE;
    (needed > allowed).then(|| format!(
        "the limit of open files is {allowed}, but the listeners allow {connections} connections, each with another one to a deployment: \
         raise the limit to {needed} (ulimit -Hn; systemd: LimitNOFILE=), or lower listeners[].max_connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_can_not_be_written_is_found_before_it_is_opened() {
        let folder = std::env::temp_dir();
        let unfit = |file: &Path| unfit("log.access", file).unwrap_or_default();
        assert_eq!(unfit(&folder.join("forebay-none.jsonl")), "");
        assert_eq!(unfit(Path::new("/dev/null")), "");
        assert!(unfit(&folder).contains("is a folder"));
        assert!(
            unfit(Path::new("/nowhere/at/all.jsonl"))
                .contains("the folder /nowhere/at can't be used")
        );
        assert!(unfit(Path::new("/dev/null/x.jsonl")).contains("is not a folder"));
    }
}
