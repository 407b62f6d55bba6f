//! Parses YAML text to a tree in which every key and value knows its line and column.
//!
//! Built from parser events, under a budget: an alias costs as many nodes as it stands for, so that a few lines can't
//! unfold into millions. Aliased nodes are shared, never copied.

use std::{collections::HashMap, rc::Rc};

use serde_yaml::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::problem::{Findings, Place, Placed};

/// The most nodes a config may have, with every alias unfolded.
const NODE_BUDGET: usize = 100_000;
/// How deep lists and mappings may nest; the config itself needs eight.
const DEPTH_BUDGET: usize = 32;
/// The key that takes over another mapping's entries.
const MERGE: &str = "<<";

/// A value of the file.
pub(super) struct Node {
    /// Of a scalar, where it begins; of a list, a mapping or nothing below a key, the key's.
    pub(super) place: Place,
    pub(super) content: Content,
    /// Nodes in it, itself included, aliases unfolded; a long text counts as several.
    size: usize,
    /// Reading had to stop in it: what is not here may stand behind that.
    pub(super) is_cut: bool,
}

pub(super) enum Content {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number that is no `i64`, as it is written.
    Fraction(String),
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

pub(super) type Entry = (Placed<String>, Rc<Node>);

impl Content {
    /// What a person would call it.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Fraction(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// What a plain scalar means in YAML 1.2: `yes` and `on` are strings.
    fn of_plain(text: &str) -> Self {
        let numeric = text.bytes().all(|b| b"0123456789+-.eE".contains(&b));
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ if !numeric => Self::Text(text.into()),
            _ => match (text.parse(), text.parse::<f64>()) {
                (Ok(integer), _) => Self::Integer(integer),
                (_, Ok(_)) => Self::Fraction(text.into()),
                _ => Self::Text(text.into()),
            },
        }
    }
}

/// Reads the one document of `text`, as far as that is YAML. `None`: it is empty, or nothing of it can be read; `findings` says
/// which. With the place where reading had to stop inside it.
pub(super) fn tree(text: &str, findings: &mut Findings) -> Option<(Rc<Node>, Option<Place>)> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_BUDGET,
        block_nesting_limit: DEPTH_BUDGET,
    };
    let mut composer = Composer {
        events: Parser::new_from_str_with_options(text, options),
        findings,
        anchors: HashMap::new(),
        nodes: 0,
        stop: None,
    };
    let root = composer.document();
    if let Some(Stop(place, message)) = composer.stop {
        findings.add(place, message);
        let root = root?;
        let stop = root.is_cut.then_some(place);
        return Some((root, stop));
    }
    let root = root.filter(|root| !matches!(root.content, Content::Null));
    if root.is_none() {
        findings.add(
            Place::START,
            "the file is empty; see conf/minimal.yaml for a minimal config",
        );
    }
    Some((root?, None))
}

/// Why reading can't go on.
struct Stop(Place, String);

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        let kind = error.kind().to_string();
        let message = match kind.as_str() {
            "recursion limit exceeded" => {
                format!("lists and mappings may be nested at most {DEPTH_BUDGET} levels deep")
            }
            kind if kind.contains("tab") => format!("{kind}; indent with spaces"),
            "while parsing node, found unknown anchor" => {
                "this alias names an anchor that is not defined before it; quote a string that begins with *".into()
            }
            kind if kind.contains("expected ',' or") => {
                format!("this is not YAML: {kind}; inside brackets, quote strings that contain {{ }} [ ] , or a colon")
            }
            kind => format!("this is not YAML: {kind}; {}", mend(kind)),
        };
        Self(place_of(error.marker()), message)
    }
}

/// What to do about it.
fn mend(kind: &str) -> &'static str {
    let is_of = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    match () {
        () if is_of(&["bracket", "EOF", "eof"]) => {
            "close every open bracket with } or ], and quote strings that contain a bracket"
        }
        () if is_of(&["unclosed quote", "document indicator"]) => {
            "end the string with the same quote that it begins with"
        }
        () if is_of(&["escape", "hexadecimal", "surrogate"]) => {
            "put strings that contain backslashes in single quotes"
        }
        () if is_of(&["trailing content"]) => "inside a quoted string, write a quote as '' or \\\"",
        () if is_of(&[
            "indent",
            "expected key",
            "'-' indicator",
            "inside a block",
            "not allowed in this context",
        ]) =>
        {
            "indent all lines of a list or mapping alike; quote strings that contain a colon and a space"
        }
        () => "quote strings that contain one of : # @ % & * ! | > { } [ ] ` ,",
    }
}

struct Composer<'text, 'f> {
    events: Parser<'text, granit_parser::StrInput<'text>>,
    findings: &'f mut Findings,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    /// Why reading stopped. What was read before stays.
    stop: Option<Stop>,
}

impl<'text> Composer<'text, '_> {
    fn document(&mut self) -> Option<Rc<Node>> {
        let mut root = None;
        while let Some((event, span)) = self.next() {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    self.stop = Some(second_document(span));
                    break;
                }
                event => root = self.node(event, span, None),
            }
        }
        root
    }

    /// `None`: reading has to stop here, or has stopped before.
    fn next(&mut self) -> Option<(Event<'text>, Span)> {
        if self.stop.is_some() {
            return None;
        }
        let end = || Stop(Place::START, "this is not YAML: it ends too early".into());
        let event = self
            .events
            .next_event()
            .ok_or_else(end)
            .and_then(|event| event.map_err(Stop::from));
        event.map_err(|stop| self.stop = Some(stop)).ok()
    }

    /// The node that `event` begins; `key` is where its key stands.
    fn node(&mut self, event: Event<'text>, span: Span, key: Option<Place>) -> Option<Rc<Node>> {
        let place = place_of(&span.start);
        let (place, anchor, content) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text(tag.as_deref(), place);
                let content = if plain {
                    Content::of_plain(&text)
                } else {
                    Content::Text(text.into())
                };
                let empty = matches!(content, Content::Null);
                let place = key.filter(|_| empty).unwrap_or(place);
                (place, anchor, content)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), place);
                (key.unwrap_or(place), anchor, Content::List(self.list()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), place);
                (key.unwrap_or(place), anchor, Content::Map(self.map()))
            }
            _ => return self.stop_at(place, "this is not YAML: a value is missing"),
        };
        self.spend(1, place)?;
        let is_cut = self.stop.is_some();
        let node = Rc::new(Node::new(place, content, is_cut));
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Some(node)
    }

    fn stop_at<T>(&mut self, place: Place, message: impl Into<String>) -> Option<T> {
        self.stop.get_or_insert(Stop(place, message.into()));
        None
    }

    fn list(&mut self) -> Vec<Rc<Node>> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next() {
            match event {
                Event::SequenceEnd => break,
                event => items.extend(self.node(event, span, None)),
            }
        }
        items
    }

    fn map(&mut self) -> Vec<Entry> {
        let (mut entries, mut merged, mut lines) = (Vec::new(), Vec::new(), HashMap::new());
        while let Some((event, span)) = self.next() {
            let place = place_of(&span.start);
            let (key, is_merge) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => {
                    let is_merge = style == ScalarStyle::Plain && text == MERGE;
                    (text.into_owned(), is_merge)
                }
                _ => {
                    let message =
                        "a key must be a plain string; quote keys that begin with { [ or *";
                    self.stop_at::<()>(place, message);
                    break;
                }
            };
            let Some((event, span)) = self.next() else {
                break;
            };
            let Some(value) = self.node(event, span, Some(place)) else {
                break;
            };
            match lines.get(&key) {
                Some(line) => self.findings.add(
                    place,
                    format!("this key is already in line {line}; remove one of the two"),
                ),
                None => {
                    lines.insert(key.clone(), place.line);
                    if is_merge {
                        self.merge(&value, place, &mut merged)
                    } else {
                        entries.push((Placed { place, value: key }, value))
                    }
                }
            }
        }
        // What is written here goes before what is merged in, wherever either stands.
        for (key, value) in merged {
            if !lines.contains_key(&key.value) {
                lines.insert(key.value.clone(), key.place.line);
                entries.push((key, value));
            }
        }
        entries
    }

    /// Takes the entries of what a merge key names: a mapping, or several, of which an earlier one goes before a later.
    fn merge(&mut self, value: &Node, place: Place, merged: &mut Vec<Entry>) {
        let maps = match &value.content {
            Content::List(items) => items.iter().map(|item| &**item).collect(),
            _ => vec![value],
        };
        for map in maps {
            match &map.content {
                Content::Map(entries) => merged.extend(entries.iter().cloned()),
                _ => self.findings.add(
                    place,
                    "<< merges a mapping, or a list of mappings; write it like `<<: *defaults`",
                ),
            }
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Option<Rc<Node>> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return self.stop_at(place, "this alias is inside the value that it refers to");
        };
        self.spend(node.size, place)?;
        Some(node)
    }

    /// `None`: it is too much, and reading stops.
    fn spend(&mut self, nodes: usize, place: Place) -> Option<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODE_BUDGET {
            return Some(());
        }
        let message = format!(
            "with all aliases expanded, the file has more than {NODE_BUDGET} values; use fewer aliases"
        );
        self.stop_at(place, message)
    }

    /// Whether a tag makes this a string whatever it looks like. Other tags mean nothing here, so they are mistakes.
    fn is_text(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        let text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if tag.is_some() && !text {
            self.findings
                .add(place, "YAML tags (!…) are not supported; remove it");
        }
        text
    }
}

impl Node {
    /// A mapping without the entries whose keys begin so: they are there for their anchors alone.
    pub(super) fn without(&self, prefix: &str) -> Option<Self> {
        let Content::Map(entries) = &self.content else {
            return None;
        };
        let stays = |(key, _): &&Entry| !key.value.starts_with(prefix);
        let content = Content::Map(entries.iter().filter(stays).cloned().collect());
        Some(Self::new(self.place, content, self.is_cut))
    }

    fn new(place: Place, content: Content, is_cut: bool) -> Self {
        let inside: usize = match &content {
            Content::List(items) => items.iter().map(|item| item.size).sum(),
            Content::Map(entries) => entries.iter().map(|(_, value)| value.size).sum(),
            Content::Text(text) => text.len() / 64,
            _ => 0,
        };
        Self {
            place,
            content,
            size: inside + 1,
            is_cut,
        }
    }
}

fn second_document(span: Span) -> Stop {
    let message = "a config is a single YAML document; remove everything after `---`";
    Stop(place_of(&span.start), message.into())
}

fn place_of(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}
