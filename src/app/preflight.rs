//! What a start needs of the machine it is on, looked at before anything is opened, bound or written: by `check`, and by
//! `serve` before it begins.

use std::{fs, path::Path};

use rustix::fs::{Access, access};

use super::{open_files, parts::connectors};
use crate::{config::Plan, identity::Identities, oidc::Issuers};

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
    let few = open_files::warning(plan, open_files::allowed());
    examined.warnings.extend(few);
    examined
}

/// What the gateway writes, and which field says so.
fn files(plan: &Plan) -> Vec<(&'static str, &Path)> {
    let log = &plan.log;
    let mut files: Vec<(&'static str, &Path)> = Vec::new();
    files.extend(
        log.access
            .iter()
            .map(|it| ("log.access", it.path.as_path())),
    );
    files.extend(log.usage.iter().map(|it| ("log.usage", it.path.as_path())));
    let prompts = log.prompts.iter();
    files.extend(prompts.map(|it| ("log.prompts", it.file.path.as_path())));
    let counters = plan.counters.file.iter();
    files.extend(counters.map(|path| ("counters.file", path.as_path())));
    files
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
