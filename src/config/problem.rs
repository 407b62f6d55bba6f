//! Problems found in a config file, with line and column.
//!
//! A message says what would be right. It never repeats a value of the file, since any value may be a secret that
//! stands in the wrong place; the place is enough to find it.

use std::fmt;

/// Where something stands in the file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// One mistake, or one thing to think about, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

impl Problem {
    /// As a line that says it is none that keeps a gateway from starting.
    pub fn warning(&self) -> String {
        let (file, line, column, message) = (&self.file, self.line, self.column, &self.message);
        format!("{file}:{line}:{column}: warning: {message}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line, column) = (&self.file, self.line, self.column);
        write!(f, "{file}:{line}:{column}: {}", self.message)
    }
}

/// Every mistake of a file, by place; never empty. Prints one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    found: Vec<(Place, String)>,
}

impl Findings {
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.found.push((place, message.into()));
    }

    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Forgets what was found since there were so `many`, but for what is in front of that line.
    pub(super) fn keep_before(&mut self, line: usize, many: usize) {
        let mut place = 0;
        self.found.retain(|(at, _)| {
            place += 1;
            place <= many || at.line < line
        });
    }

    /// Makes each message over.
    pub(super) fn map(self, make: impl Fn(String) -> String) -> Self {
        let found = self.found.into_iter();
        Self {
            found: found
                .map(|(place, message)| (place, make(message)))
                .collect(),
        }
    }

    /// By place; what an alias made appear twice, once.
    pub(super) fn sorted(mut self, file: &str) -> Vec<Problem> {
        self.found.sort();
        self.found.dedup();
        let problem = |(place, message): (Place, String)| Problem {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            message,
        };
        self.found.into_iter().map(problem).collect()
    }
}

/// What to say about a name that is not among those known: the nearest one, else all if they are few.
pub(super) fn hint<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(wanted, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "none is defined".into(),
        None if known.len() > 12 => format!("none of the {} known names is similar", known.len()),
        None => format!("known names: `{}`", known.join("`, `")),
    }
}

/// The known name that `wanted` is most likely a slip of.
pub(super) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(wanted, name);
    // What is longer than a name is none, and comparing it would take long.
    let comparable = |name: &&str| wanted.len().max(name.len()) <= 128;
    let slip = |name: &&str| distance(name) <= 1.max(name.chars().count() / 3);
    known
        .into_iter()
        .filter(|name| comparable(name) && slip(name))
        .min_by_key(|name| distance(name))
}
