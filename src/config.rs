//! The configuration: YAML in; a [`Plan`] of domain values out, or every problem found, each with its place.
//!
//! Text becomes a tree that knows its places (`node`), the tree becomes sections as written (`raw`, through `read` and
//! `value`), and those become domain values (`build`). One run reports every mistake; no message repeats a value.

mod build;
mod hash_key;
mod node;
pub mod pem;
mod plan;
mod problem;
mod raw;
mod read;
mod schema;
mod section;
mod substituted;
mod substitution;
#[cfg(test)]
mod tests;
mod value;

use std::{env, fs::File, io::Read as _, path::Path, str};

use sha2::{Digest, Sha256};

pub use hash_key::{GeneratedKey, HashedKey, NoRandomness, UnusableKey, generate_key, hash_key};
pub use plan::{
    Admin, AskedOfClients, Counters, Drain, Listener, Log, LogFile, Plan, Prompts, RetryBudget,
    Server, TlsFiles,
};
pub use problem::{Problem, Problems};
pub use schema::schema;

use node::{Content, Node};
use problem::{Findings, Place, Placed};
use read::{Read, Reader, Values};

/// The largest config, in bytes.
const SIZE_LIMIT: u64 = 4 << 20;

/// A sound config.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// What is allowed but deserves a look.
    pub warnings: Vec<Problem>,
}

/// Reads a config file, with this process's environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    parse(&text_of(path)?, path, &|name| env::var(name).ok())
}

/// Checks a config file where the values that it refers to need not be, and gives what is allowed but deserves a look.
/// What could not be read for want of a value is left out; everything else is checked as ever.
pub fn check_names(path: &Path) -> Result<Vec<Problem>, Problems> {
    let text = text_of(path)?;
    let environment = |name: &str| env::var(name).ok();
    let (_, problems, warnings) = found(&text, path, &environment, Values::MayBeMissing)?;
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(Problems(problems))
    }
}

fn text_of(path: &Path) -> Result<Vec<u8>, Problems> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(alone(
            path,
            Place::START,
            format!("the file can't be read: {error}"),
        )),
    }
}

/// Reads a config from its text. `origin` is its file's path: problems name it, and relative paths start at its folder.
pub fn parse(
    text: &[u8],
    origin: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let (plan, problems, warnings) = found(text, origin, environment, Values::Needed)?;
    match plan {
        Some(plan) if problems.is_empty() => Ok(Loaded { plan, warnings }),
        _ => Err(Problems(problems)),
    }
}

/// The plan, the mistakes, and what deserves a look.
type Found = (Option<Plan>, Vec<Problem>, Vec<Problem>);

fn found(
    text: &[u8],
    origin: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    values: Values,
) -> Result<Found, Problems> {
    let text = utf8(text).map_err(|(place, message)| alone(origin, place, message))?;
    let mut reader = Reader {
        problems: Findings::default(),
        warnings: Findings::default(),
        environment,
        folder: origin.parent().unwrap_or(Path::new("")).to_owned(),
        filled: substituted::Filled::default(),
        is_filled_in: false,
        values,
        is_any_missing: false,
    };
    let plan = plan(text, &mut reader);
    let file = origin.display().to_string();
    let hide = |findings: Findings| findings.map(|message| reader.filled.hide(message));
    let problems = hide(reader.problems).sorted(&file);
    Ok((plan, problems, hide(reader.warnings).sorted(&file)))
}

/// Keys of the file's own begin so: what stands there is for its aliases.
const OWN: &str = "x-";

fn plan(text: &str, reader: &mut Reader<'_>) -> Option<Plan> {
    let (root, stop) = node::tree(text, &mut reader.problems)?;
    if is_simulation(&root) {
        reader.problem(Place::START, SIMULATORS);
        return None;
    }
    let known = reader.problems.count();
    let config = root.without(OWN);
    let raw = Placed::<raw::Config>::read(config.as_ref().unwrap_or(&root), reader);
    if let Some(stop) = stop {
        // What names stand for may be behind what can't be read, and so may the rest of a value in front of it.
        reader.problems.keep_before(stop.line, known);
        return None;
    }
    let raw = raw?;
    build::plan(raw, fingerprint(text), reader)
}

/// What is said of a simulator's file.
const SIMULATORS: &str = "this is a config of the simulator (run it with `forebay simulate --config FILE`), not of a gateway; see conf/minimal.yaml for a gateway config";

/// What only a simulation has at its top, and what only a gateway has.
const SIMULATION: [&str; 5] = ["control", "tokens", "issuer", "seed", "record"];
const GATEWAY: [&str; 4] = ["listeners", "models", "clients", "identities"];

fn is_simulation(root: &Node) -> bool {
    let Content::Map(entries) = &root.content else {
        return false;
    };
    let has = |names: &[&str]| {
        entries
            .iter()
            .any(|(key, _)| names.contains(&key.value.as_str()))
    };
    !has(&GATEWAY) && (has(&SIMULATION) || entries.iter().any(has_deployments))
}

/// Whether it is `instances:` with deployments in them: of a gateway's a model says that.
fn has_deployments((key, instances): &node::Entry) -> bool {
    let Content::Map(instances) = &instances.content else {
        return false;
    };
    let has = |instance: &Node| match &instance.content {
        Content::Map(members) => members.iter().any(|(key, _)| key.value == "deployments"),
        _ => false,
    };
    key.value == "instances" && instances.iter().any(|(_, instance)| has(instance))
}

/// Tells one file from another: the start of its text's SHA-256, taken before any variable is filled in.
fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..6])
}

fn utf8(text: &[u8]) -> Result<&str, (Place, String)> {
    if text.len() as u64 > SIZE_LIMIT {
        return Err((
            Place::START,
            format!("the config file is larger than {} MiB", SIZE_LIMIT >> 20),
        ));
    }
    let bad = |error: str::Utf8Error| {
        let sound = String::from_utf8_lossy(&text[..error.valid_up_to()]);
        let line = sound.rsplit('\n').next().unwrap_or_default();
        let place = Place {
            line: sound.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        };
        (
            place,
            "this byte is not UTF-8; save the file as UTF-8".to_owned(),
        )
    };
    Ok(str::from_utf8(text)
        .map_err(bad)?
        .trim_start_matches('\u{feff}'))
}

fn alone(file: &Path, place: Place, message: String) -> Problems {
    let mut findings = Findings::default();
    findings.add(place, message);
    Problems(findings.sorted(&file.display().to_string()))
}
