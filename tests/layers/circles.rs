//! Files that import each other in a circle, within whatever room.
//!
//! An arrow goes from a file to the one that defines what it names, by a `use` or by a path. A `pub use` alone is no arrow:
//! it says where something is to be found. What is named by way of one counts as named where it is defined. Tests, and what
//! stands behind `#[cfg(test)]`, are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, tokens};

/// `[proxy, intake]`
type Module = Vec<String>;

/// What one file names.
#[derive(Default)]
struct Named {
    paths: Vec<Module>,
    /// By the name under which others find it.
    reexports: BTreeMap<String, Module>,
}

/// Each circle in one line, with the arrows that make it.
pub(super) fn circles(sources: &[(Module, String)]) -> Vec<String> {
    let modules: BTreeSet<&Module> = sources.iter().map(|(module, _)| module).collect();
    let named: BTreeMap<&Module, Named> = sources
        .iter()
        .map(|(module, source)| (module, names(module, &modules, &tokens(source))))
        .collect();
    let arrows: BTreeMap<&Module, BTreeSet<&Module>> = named
        .iter()
        .map(|(from, names)| {
            let to = names
                .paths
                .iter()
                .filter_map(|path| defined(path, &named, 0));
            (*from, to.filter(|to| to != from).collect())
        })
        .collect();
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = arrows
        .keys()
        .map(|from| (*from, reached(from, &arrows)))
        .collect();
    let is_with = |a: &Module, b: &Module| reach[a].contains(b) && reach[b].contains(a);
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for module in arrows
        .keys()
        .filter(|module| reach[**module].contains(**module))
    {
        if told.contains(module) {
            continue;
        }
        let circle: Vec<&Module> = arrows
            .keys()
            .copied()
            .filter(|other| is_with(module, other))
            .collect();
        told.extend(circle.iter().copied());
        let inner = circle.iter().flat_map(|from| {
            let to = arrows[*from].iter().filter(|to| circle.contains(to));
            to.map(|to| format!("{} → {}", from.join("::"), to.join("::")))
        });
        circles.push(format!(
            "a circle: {}",
            inner.collect::<Vec<_>>().join(", ")
        ));
    }
    circles
}

fn reached<'a>(
    from: &Module,
    arrows: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&Module> = arrows[from].iter().copied().collect();
    while let Some(next) = left.pop() {
        if reached.insert(next) {
            left.extend(arrows[next].iter().copied());
        }
    }
    reached
}

/// The file that defines what this path names.
fn defined<'a>(
    path: &[String],
    named: &BTreeMap<&'a Module, Named>,
    depth: usize,
) -> Option<&'a Module> {
    let length = (1..=path.len())
        .rev()
        .find(|end| named.contains_key(&path[..*end].to_vec()))?;
    let (module, names) = named.get_key_value(&path[..length].to_vec())?;
    let behind = path.get(length).and_then(|name| names.reexports.get(name));
    match behind {
        Some(at) if depth < 8 && at[..] != path[..=length] => {
            let whole: Module = at.iter().chain(&path[length + 1..]).cloned().collect();
            defined(&whole, named, depth + 1)
        }
        _ => Some(module),
    }
}

fn names(module: &Module, modules: &BTreeSet<&Module>, tokens: &[Token<'_>]) -> Named {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let (mut named, mut public) = (Named::default(), Vec::new());
    let (mut words, mut at) = (BTreeSet::new(), 0);
    while at < tokens.len() {
        match text(at) {
            "#" if (1..=5)
                .map(|i| text(at + i))
                .eq(["[", "cfg", "(", "test", ")"]) =>
            {
                at = after_item(tokens, at + 7);
                continue;
            }
            "mod" if text(at + 1) == "tests" && text(at + 2) == "{" => {
                at = after_item(tokens, at);
                continue;
            }
            // `pub(in crate::domain)` uses nothing.
            "pub" if text(at + 1) == "(" => {
                while text(at) != ")" {
                    at += 1;
                }
                at += 1;
                if text(at) != "use" {
                    continue;
                }
                at = tree(tokens, at + 1, &mut Vec::new(), &mut public);
            }
            "pub" if text(at + 1) == "use" => {
                at = tree(tokens, at + 2, &mut Vec::new(), &mut public);
            }
            // `use<'a>` names lifetimes.
            "use" if text(at + 1) != "<" => {
                at = tree(tokens, at + 1, &mut Vec::new(), &mut named.paths);
            }
            _ if text(at + 1) == "::" && at.checked_sub(1).is_none_or(|it| text(it) != "::") => {
                let mut path = vec![text(at).to_owned()];
                while text(at + 1) == "::" && text(at + 2).starts_with(char::is_alphabetic) {
                    path.push(text(at + 2).to_owned());
                    at += 2;
                }
                words.insert(path[0].clone());
                named.paths.push(path);
            }
            word => drop(words.insert(word.to_owned())),
        }
        at += 1;
    }
    let whole = |path: Vec<String>| absolute(module, modules, path);
    named.paths = named.paths.into_iter().filter_map(whole).collect();
    for path in public.into_iter().filter_map(whole) {
        let Some(name) = path.last().cloned() else {
            continue;
        };
        if words.contains(&name) {
            named.paths.push(path.clone());
        }
        named.reexports.insert(name, path);
    }
    named
}

/// Reads what follows a `use`, up to the sign behind it: each path that it names.
fn tree(
    tokens: &[Token<'_>],
    start: usize,
    before: &mut Vec<String>,
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or(";", |token| token.text);
    let (mut at, length) = (start, before.len());
    loop {
        match text(at) {
            "::" => at += 1,
            "{" => {
                at += 1;
                while !["}", ";"].contains(&text(at)) {
                    at = tree(tokens, at, before, paths);
                    at += usize::from(text(at) == ",");
                }
                at += 1;
                break;
            }
            ";" | "," | "}" => {
                // `self` in braces is the module in front of them.
                if before.len() > 1 && before.last().is_some_and(|last| last == "self") {
                    before.pop();
                }
                paths.push(before.clone());
                break;
            }
            "as" => at += 2,
            word => {
                before.push(word.to_owned());
                at += 1;
            }
        }
    }
    before.truncate(length);
    at
}

/// Behind the item that begins here.
fn after_item(tokens: &[Token<'_>], start: usize) -> usize {
    let mut open = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "{" => open += 1,
            "}" if open <= 1 => return at + 1,
            "}" => open -= 1,
            ";" if open == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The path from the crate's root; `None`: it names nothing of the crate.
fn absolute(module: &Module, modules: &BTreeSet<&Module>, path: Vec<String>) -> Option<Module> {
    let (mut base, mut rest) = (module.clone(), &path[..]);
    match rest.first()?.as_str() {
        "crate" => return Some(rest[1..].to_vec()),
        "self" => rest = &rest[1..],
        "super" => {}
        name => {
            base.push(name.to_owned());
            let is_child = modules.contains(&base);
            base.pop();
            if !is_child {
                return None;
            }
        }
    }
    while rest.first().is_some_and(|name| name == "super") {
        base.pop();
        rest = &rest[1..];
    }
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = sources
            .iter()
            .map(|(module, source)| {
                let module = module.split("::").map(str::to_owned).collect();
                (module, (*source).to_owned())
            })
            .collect();
        circles(&sources)
    }

    #[test]
    fn a_circle_is_named_by_its_arrows() {
        let circle = found(&[
            ("a", "mod b; mod c; use b::B; pub struct A;"),
            ("a::b", "use super::c::C; pub struct B;"),
            ("a::c", "fn f() -> super::A { todo!() } pub struct C;"),
            ("d", "use crate::a::A;"),
        ]);
        assert_eq!(circle, ["a circle: a → a::b, a::b → a::c, a::c → a"]);
        let longer = found(&[
            ("a::b", "use crate::a::{c::{self, C}, d};"),
            ("a::c", "use crate::a::b;"),
        ]);
        assert_eq!(longer.len(), 1);
    }

    #[test]
    fn what_is_only_said_on_and_what_tests_use_makes_none() {
        for (parent, child) in [
            ("mod b; pub use b::B; pub struct A;", "use super::A;"),
            ("mod b; use b::B;", "pub(in crate::a) struct B;"),
            (
                "mod b; use b::B; pub struct A;",
                "#[cfg(test)] mod tests { use super::super::A; } pub struct B;",
            ),
            (
                "mod b; use b::B; pub struct A;",
                "#[cfg(test)] use super::A; pub struct B;",
            ),
        ] {
            assert_eq!(
                found(&[("a", parent), ("a::b", child)]),
                [""; 0],
                "{parent} {child}"
            );
        }
    }

    #[test]
    fn what_is_named_by_way_of_another_file_counts_where_it_is_defined() {
        let sources = [
            ("a", "mod b; mod c; pub use b::B; use c::C;"),
            ("a::b", "pub struct B;"),
            ("a::c", "use super::B; pub struct C;"),
        ];
        assert_eq!(found(&sources), [""; 0]);
        let used = ("a", "mod b; mod c; pub use b::B; fn f(c: c::C) -> B { B }");
        let circle = ("a::b", "use super::c::C; pub struct B;");
        assert_eq!(
            found(&[used, circle, ("a::c", "use super::f; pub struct C;")]).len(),
            1
        );
    }
}
