//! Who may use whom: reads the sources and names every arrow between rooms that the house does not have.
//!
//! `main → {explain, demo → app} → {config, proxy, admin, telemetry, identity, oidc, store, simulator} → domain`, each may use all to
//! its right; beside it `proxy → identity, oidc, telemetry` and `admin → telemetry`. `http_client` is a leaf that identity,
//! oidc, telemetry and proxy may use. The simulator
//! uses nothing of the crate, only `proxy` and `app` know Pingora, and `domain` takes no more from outside than words
//! and pure functions: neither sockets nor a clock nor async.

#[path = "layers/circles.rs"]
mod circles;
#[path = "layers/tokens.rs"]
mod tokens;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use tokens::{Token, tokens};

/// The rooms, and the other rooms each may use.
const ROOMS: [(&str, &[&str]); 15] = [
    ("lib", EVERY_ROOM),
    ("main", EVERY_ROOM),
    ("demo", EVERY_ROOM),
    ("app", EVERY_ROOM),
    ("explain", &["config", "domain"]),
    ("config", &["domain"]),
    (
        "proxy",
        &["domain", "identity", "oidc", "telemetry", "http_client"],
    ),
    ("admin", &["domain", "telemetry"]),
    ("telemetry", &["domain", "http_client"]),
    ("identity", &["domain", "http_client"]),
    ("oidc", &["domain", "http_client"]),
    ("http_client", &[]),
    ("store", &["domain"]),
    ("simulator", &[]),
    ("domain", &[]),
];

const EVERY_ROOM: &[&str] = &[
    "demo",
    "app",
    "explain",
    "config",
    "proxy",
    "admin",
    "telemetry",
    "identity",
    "oidc",
    "store",
    "simulator",
    "http_client",
    "domain",
];

/// What `domain` may take from outside, beside `std`.
const WORDS: [&str; 21] = [
    "http",
    "bytes",
    "serde",
    "serde_json",
    "sha2",
    "hex",
    "base64",
    "subtle",
    "zeroize",
    "thiserror",
    "memchr",
    "wide",
    "regex",
    "percent_encoding",
    "form_urlencoded",
    "ipnet",
    "httpdate",
    "humantime",
    "parking_lot",
    "jiff",
    "tiktoken",
];

#[test]
fn every_arrow_is_one_the_house_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = packages(&read(&root.join("Cargo.toml")));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    assert!(files.len() > 5, "no sources found below {}", root.display());
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(root).expect("found below the root");
            wrong_arrows(name, &read(file), &packages)
        })
        .map(|arrow| arrow.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    let sources: Vec<_> = files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(root).expect("found below the root");
            (module_of(name), read(file))
        })
        .filter(|(module, _)| !module.iter().any(|name| name == "tests"))
        .collect();
    let circles = circles::circles(&sources);
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

/// A use that the house does not have.
#[derive(Debug)]
struct Arrow {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
    why: &'static str,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            from,
            to,
            why,
            ..
        } = self;
        write!(f, "{}:{line}: {from} → {to}: {why}", self.file.display())
    }
}

/// Reads one file, named from the package's root.
fn wrong_arrows(file: &Path, source: &str, packages: &[String]) -> Vec<Arrow> {
    let module = module_of(file);
    let room = module.first().map_or("lib", String::as_str);
    let mut arrows = Vec::new();
    let mut found = |line: usize, to: &str, why: &'static str| {
        arrows.push(Arrow {
            file: file.to_owned(),
            line,
            from: room.to_owned(),
            to: to.to_owned(),
            why,
        });
    };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        found(1, "?", "a room that tests/layers.rs has no place for");
        return arrows;
    };

    let tokens = tokens(source);
    let a_tests_file = module.iter().any(|name| name == "tests");
    let mut inline = InlineModules::default();
    for (at, token) in tokens.iter().enumerate() {
        inline.pass(&tokens, at);

        for (line, to) in rooms_named(&tokens, at, module.len() + inline.depth(), room) {
            if to == room || allowed.contains(&to) {
                continue;
            }
            let is_room = ROOMS.iter().any(|(name, _)| *name == to);
            let why = if is_room {
                "no such arrow"
            } else {
                "named at the crate's root, and no room"
            };
            found(line, to, why);
        }
        if token.text.starts_with("pingora") && !["proxy", "app"].contains(&room) {
            found(token.line, token.text, "only proxy and app know Pingora");
        }
        if room != "domain" {
            continue;
        }
        let in_tests = a_tests_file || inline.in_tests();
        for why in against_domain(&tokens, at, packages, in_tests) {
            found(token.line, token.text, why);
        }
    }
    arrows
}

/// What is wrong with this token in `domain`.
fn against_domain(
    tokens: &[Token<'_>],
    at: usize,
    packages: &[String],
    in_tests: bool,
) -> Vec<&'static str> {
    let token = tokens[at].text;
    let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text);
    let before = |offset: usize| match at.checked_sub(offset) {
        Some(at) => tokens[at].text,
        None => "",
    };
    let starts_a_path = text(1) == "::" && before(1) != "::" && before(1) != ".";
    let used = starts_a_path || before(1) == "use" || before(1) == "crate";
    let foreign = packages.iter().any(|p| p == token) && !WORDS.contains(&token);
    let a_clock = ["Instant", "SystemTime"].contains(&token);
    [
        (
            used && foreign && !in_tests && !token.starts_with("pingora"),
            "not one of the packages domain may use",
        ),
        (
            token == "thread_local" && !in_tests,
            "what domain remembers is handed to it",
        ),
        (["async", "await"].contains(&token), "domain does not wait"),
        (
            a_clock && text(1) == "::" && text(2) == "now" && !in_tests,
            "time comes into domain as an argument",
        ),
    ]
    .into_iter()
    .filter_map(|(is_wrong, why)| is_wrong.then_some(why))
    .collect()
}

/// `src/proxy/intake.rs` is `[proxy, intake]`, `src/proxy.rs` and `src/proxy/mod.rs` are `[proxy]`, `src/lib.rs` is `[]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .iter()
        .skip(1)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    module
}

/// The rooms that a path starting at this token names, if it goes by the crate's root.
fn rooms_named<'a>(
    tokens: &[Token<'a>],
    start: usize,
    depth: usize,
    room: &str,
) -> Vec<(usize, &'a str)> {
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token<'_>| token.text);
    if start > 0 && text(start - 1) == "::" {
        return Vec::new();
    }
    let mut at = start;
    match text(at) {
        // In main.rs `crate` is the binary's own.
        "crate" if room == "main" => return Vec::new(),
        "crate" | "forebay" => {}
        "super" | "self" => {
            let mut left = depth;
            if text(at) == "self" {
                at += 2;
            }
            while text(at) == "super" {
                left = left.saturating_sub(1);
                at += 2;
            }
            if left > 0 || at == start {
                return Vec::new();
            }
            at -= 2;
        }
        _ => return Vec::new(),
    }
    if text(at + 1) != "::" {
        return Vec::new();
    }
    at += 2;
    if text(at) != "{" {
        return vec![(tokens[at].line, text(at))];
    }
    let mut named = Vec::new();
    let mut open = 0;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "{" => open += 1,
            "}" => open -= 1,
            name if open == 1 && ["{", ","].contains(&text(i - 1)) && name != "self" => {
                named.push((token.line, name));
            }
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    named
}

/// The `mod name { … }` around the place being read.
#[derive(Default)]
struct InlineModules<'a> {
    open: Vec<Option<&'a str>>,
}

impl<'a> InlineModules<'a> {
    fn pass(&mut self, tokens: &[Token<'a>], at: usize) {
        match tokens[at].text {
            "{" => self
                .open
                .push((at >= 2 && tokens[at - 2].text == "mod").then(|| tokens[at - 1].text)),
            "}" => drop(self.open.pop()),
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.open.iter().flatten().count()
    }

    fn in_tests(&self) -> bool {
        self.open.iter().flatten().any(|name| *name == "tests")
    }
}

/// The packages of `[dependencies]`, as code names them.
fn packages(cargo_toml: &str) -> Vec<String> {
    cargo_toml
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What is found in one planted source, as text.
#[cfg(test)]
fn found(file: &str, source: &str) -> Vec<String> {
    let packages = packages(&read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
    ));
    let arrows = wrong_arrows(Path::new(file), source, &packages);
    arrows.iter().map(Arrow::to_string).collect()
}

#[test]
fn a_planted_arrow_is_named_with_its_file_and_line() {
    let source = "//! Words.\n\nuse std::fmt;\n\nuse crate::config::plan::Plan;\n";
    assert_eq!(
        found("src/domain/pool.rs", source),
        ["src/domain/pool.rs:5: domain → config: no such arrow"]
    );
}

#[test]
fn every_way_to_write_an_arrow_is_seen() {
    for (file, source) in [
        (
            "src/proxy.rs",
            "use crate::{\n    domain::pool,\n    admin::{Page, other},\n};",
        ),
        ("src/proxy.rs", "use super::admin;"),
        ("src/proxy/reply.rs", "use super::super::{admin, domain};"),
        (
            "src/proxy/reply.rs",
            "fn f() { let x: forebay::admin::Page; }",
        ),
        (
            "src/proxy/reply.rs",
            "mod tests { use super::super::super::admin::Page; }",
        ),
        (
            "src/proxy/reply.rs",
            "fn f() -> crate::admin::Page { todo!() }",
        ),
        ("src/config/raw.rs", "use crate::admin;"),
        ("src/telemetry/metrics.rs", "use crate::admin;"),
    ] {
        let seen = found(file, source);
        assert!(
            matches!(&seen[..], [one] if one.contains("→ admin: no such arrow")),
            "{file}: {source}: {seen:?}"
        );
    }
    assert_eq!(
        found("src/simulator/chat.rs", "use crate::domain::usage;").len(),
        1
    );
    assert_eq!(found("src/admin.rs", "use crate::prelude::*;").len(), 1);
    assert_eq!(found("src/cellar.rs", "").len(), 1);
}

#[test]
fn what_is_no_arrow_is_let_pass() {
    for (file, source) in [
        (
            "src/main.rs",
            "use forebay::{app, config::plan, simulator};",
        ),
        (
            "src/app.rs",
            "use crate::{admin, config, domain::pool, proxy, simulator};\nuse pingora::server::Server;",
        ),
        (
            "src/proxy/intake.rs",
            "use super::exchange; use crate::{identity, oidc, telemetry, domain, proxy::reply};",
        ),
        (
            "src/domain/pool.rs",
            "// crate::config\n/* crate::config /* and */ pingora */ const A: &str = \"crate::config\";",
        ),
        (
            "src/domain/pool.rs",
            "const A: &str = r#\"\"crate::config\"#; fn f<'config>(c: char) -> bool { c == '\"' || c == '\\'' }",
        ),
        (
            "src/domain/pool.rs",
            "pub(crate) struct A; pub(super) struct B; mod tests { use super::*; use super::super::pool; }",
        ),
        (
            "src/domain/pool.rs",
            "mod tests { use std::time::Instant; fn t() { Instant::now(); } }",
        ),
        (
            "src/domain/pool/tests.rs",
            "use std::time::Instant; fn t() { Instant::now(); fastrand::u64(..); }",
        ),
        (
            "src/domain/pool.rs",
            "use std::sync::Arc; use parking_lot::Mutex; use http::{HeaderMap, StatusCode};",
        ),
    ] {
        assert_eq!(found(file, source), [""; 0], "{file}: {source}");
    }
}

#[test]
fn the_engine_the_clock_and_the_network_stay_out_of_domain() {
    for source in [
        "use pingora::Error;",
        "use tokio::sync::Mutex;",
        "use rustls::Error;",
        "fn f() { tracing::info!(\"x\"); }",
        "async fn f() {}",
        "fn f() { std::time::Instant::now(); }",
        "fn f() { SystemTime::now(); }",
        "thread_local! { static A: u8 = 0; }",
    ] {
        assert_eq!(found("src/domain/pool.rs", source).len(), 1, "{source}");
    }
    for file in [
        "src/admin/metrics.rs",
        "src/identity/token.rs",
        "src/config.rs",
    ] {
        assert_eq!(
            found(file, "use pingora_proxy::Session;").len(),
            1,
            "{file}"
        );
    }
}
