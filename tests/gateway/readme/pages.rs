//! The pages as a newcomer uses them: every link leads somewhere, every command is there, every YAML example loads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use forebay::config;

use crate::harness::{folder, forebay};

/// What a whole config needs, for examples that show a part of one.
const REST: [(&str, &str); 5] = [
    ("listeners", "[{ address: \"127.0.0.1:8080\" }]"),
    ("identities", "{ vm: { managed_identity: {} } }"),
    (
        "instances",
        "{ one: { endpoint: \"https://contoso.openai.azure.com\", identity: vm } }",
    ),
    ("models", "{ gpt-4o: { deployments: [{ instance: one }] } }"),
    (
        "clients",
        "{ app: { keys: [\"${env:APP_KEY_HASH}\"], models: [gpt-4o] } }",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown of the repository, by its place from the top.
pub(super) fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for top in ["README.md", "CHANGELOG.md"] {
        pages.insert(top.into(), fs::read_to_string(root().join(top)).unwrap());
    }
    for folder in ["conf", "systemd", "benches", "tests", "src"] {
        gather(&root().join(folder), &mut pages);
    }
    assert!(pages.len() >= 7, "{:?}", pages.keys());
    pages
}

fn gather(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            gather(&path, pages);
        } else if path.extension().is_some_and(|it| it == "md") {
            let place = path.strip_prefix(root()).unwrap().to_owned();
            pages.insert(place, fs::read_to_string(&path).unwrap());
        }
    }
}

/// A page's lines outside of its blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// A page's blocks of code in that language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = text.split(fence.as_str()).skip(1);
    parts
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// What stands in code within a page's prose.
fn codes(text: &str) -> Vec<&str> {
    let lines = prose(text);
    lines
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

/// Where a page's links lead.
fn links(text: &str) -> Vec<&str> {
    let lines = prose(text);
    let behind = lines.flat_map(|line| line.split("](").skip(1));
    behind.map(|rest| rest.split(')').next().unwrap()).collect()
}

/// Headings of that rank or a lower one, as links name them.
fn anchors(text: &str, rank: usize) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for line in prose(text) {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        if !(1..=rank).contains(&hashes) || !line[hashes..].starts_with(' ') {
            continue;
        }
        let heading = line[hashes..].trim().to_lowercase();
        let kept = heading.chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            other => other.is_alphanumeric().then_some(other),
        });
        let name: String = kept.collect();
        let same = anchors.iter().filter(|it| **it == name).count();
        anchors.push(match same {
            0 => name,
            _ => format!("{name}-{same}"),
        });
    }
    anchors
}

#[test]
fn every_link_of_a_readme_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = pages();
    let mut dead = Vec::new();
    let mut followed = 0;
    for (page, text) in &pages {
        for link in links(text) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(page)
            } else {
                root().join(page).parent().unwrap().join(file)
            };
            let is_there = target.canonicalize().is_ok_and(|target| {
                let place = target.strip_prefix(root().canonicalize().unwrap());
                let headings = place.ok().and_then(|place| pages.get(place));
                let has = |text: &String| anchors(text, 6).iter().any(|it| it == anchor);
                anchor.is_empty() || headings.is_some_and(has)
            });
            if !is_there {
                dead.push(format!("{}: {link}", page.display()));
            }
            followed += 1;
        }
    }
    assert_eq!(dead, Vec::<String>::new());
    assert!(followed > 100, "{followed}");
}

#[test]
fn every_readme_but_the_first_lists_all_its_headings() {
    for (page, text) in pages() {
        if !page.ends_with("README.md") || page == Path::new("README.md") {
            continue;
        }
        let listed: BTreeSet<_> = links(&text).into_iter().collect();
        for heading in anchors(&text, 3).into_iter().skip(1) {
            let link = format!("#{heading}");
            assert!(listed.contains(&*link), "{}: {link}", page.display());
        }
    }
}

#[test]
fn the_first_readme_is_short() {
    let words = include_str!("../../../README.md")
        .split_whitespace()
        .count();
    assert!(words <= 1500, "{words}");
}

#[test]
fn every_config_in_a_readme_loads() {
    let folder = folder();
    let mut loaded = 0;
    for (page, text) in pages() {
        for example in blocks(&text, "yaml") {
            let has = |key: &str| {
                let mut lines = example.lines();
                lines.any(|line| line.starts_with(&format!("{key}:")))
            };
            let rest = REST.iter().filter(|(key, _)| !has(key));
            let rest = rest.map(|(key, value)| format!("{key}: {value}\n"));
            let file = folder.join("forebay.yaml");
            fs::write(&file, format!("{example}\n{}", rest.collect::<String>())).unwrap();
            if let Err(problems) = config::check_names(&file) {
                panic!("{}: {problems}\n{example}", page.display());
            }
            loaded += 1;
        }
    }
    fs::remove_dir_all(folder).unwrap();
    assert!(loaded >= 4, "{loaded}");
}

#[test]
fn every_command_in_a_readme_is_there_with_its_options() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    for (page, text) in pages() {
        let blocks = blocks(&text, "sh");
        let lines = blocks.into_iter().flat_map(str::lines);
        for command in codes(&text).into_iter().chain(lines).flat_map(commands) {
            let mut words = command.split_whitespace();
            let program = words.next().unwrap_or_default().trim_start_matches("./");
            let Some(subcommand) = words.next().filter(|_| program == "forebay") else {
                continue;
            };
            let told = helps.entry(subcommand.to_owned()).or_insert_with(|| {
                help(subcommand).unwrap_or_else(|| panic!("{}: {command}", page.display()))
            });
            let words = words.map(|word| word.trim_matches(['[', ']']));
            for option in words.filter(|word| word.starts_with("--")) {
                let mut known = told.split(|c: char| !(c == '-' || c.is_ascii_alphanumeric()));
                let is_known = known.any(|it| it == option);
                assert!(is_known, "{}: {command}", page.display());
            }
        }
    }
    assert!(helps.len() >= 7, "{:?}", helps.keys());
}

/// The commands of a line of shell, without who runs them.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    let commands = line.split("&&").flat_map(|part| part.split(';'));
    commands.map(|it| it.trim().trim_start_matches("sudo "))
}

/// What a subcommand says of itself; `None` where there is none of that name.
fn help(subcommand: &str) -> Option<String> {
    let ran = forebay().args([subcommand, "--help"]).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    ran.status.success().then_some(text)
}

#[test]
fn every_file_and_bench_that_a_readme_names_is_there() {
    let manifest = include_str!("../../../Cargo.toml");
    let pages = pages().into_iter();
    for (page, text) in pages.filter(|(page, _)| page.ends_with("README.md")) {
        for code in codes(&text) {
            if let Some(bench) = code.split("cargo bench --bench ").nth(1) {
                let bench = bench.split_whitespace().next().unwrap();
                let is_there = manifest.contains(&format!("[[bench]]\nname = \"{bench}\"\n"));
                assert!(is_there, "{}: {code}", page.display());
            }
            let file = code.strip_prefix("bash ").unwrap_or(code);
            let file = file.split_whitespace().next().unwrap_or_default();
            let is_ours = ["conf/", "systemd/", "benches/", "tests/", "src/", ".ci/"]
                .iter()
                .any(|folder| file.starts_with(folder));
            if is_ours && !file.contains(['*', '{']) {
                let is_there = root().join(file).exists();
                assert!(is_there, "{}: {file}", page.display());
            }
        }
    }
}

/// Where comments lead: how they begin, and the page with the headings that they name.
const CITED: [(&str, &str); 2] = [
    ("(wire facts: ", "src/domain/wire_facts.md"),
    ("(conf/README.md: ", "conf/README.md"),
];

#[test]
fn every_heading_that_a_comment_names_is_in_its_readme_or_among_the_wire_facts() {
    let pages = pages();
    let (mut named, mut missing) = (0, Vec::new());
    for folder in ["src", "tests/gateway", "benches"] {
        sources(&root().join(folder), &mut |file, source| {
            for (begins, page) in CITED {
                let headings = anchors(&pages[Path::new(page)], 6);
                for cited in source.split(begins).skip(1) {
                    let cited = cited.split(')').next().unwrap();
                    for heading in cited.split(',') {
                        let words = heading.split_whitespace();
                        let words: Vec<_> = words.filter(|it| !it.starts_with("//")).collect();
                        let is_there = headings.contains(&words.join("-").to_lowercase());
                        if !is_there {
                            missing.push(format!("{}: {cited}", file.display()));
                        }
                        named += 1;
                    }
                }
            }
        });
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(named > 40, "{named}");
}

/// Gives each Rust source below a folder, but this one.
fn sources(folder: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, look);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with(file!()) {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
