//! YAML text to a tree in which every key and value knows its place.
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

/// A value of the file.
pub(super) struct Node {
    /// Of a scalar, where it begins; of a list, a mapping or nothing below a key, the key's.
    pub(super) place: Place,
    pub(super) content: Content,
    /// Nodes in it, itself included, aliases unfolded; a long text counts as several.
    size: usize,
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

/// Reads the one document of `text`. `None`: it is empty, or no YAML; `findings` says which.
pub(super) fn tree(text: &str, findings: &mut Findings) -> Option<Rc<Node>> {
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
    };
    match composer.document() {
        Ok(Some(root)) if !matches!(root.content, Content::Null) => Some(root),
        Ok(_) => {
            findings.add(
                Place::START,
                "the file is empty; conf/minimal.yaml shows what a config needs",
            );
            None
        }
        Err(Stop(place, message)) => {
            findings.add(place, message);
            None
        }
    }
}

/// Why reading can't go on.
struct Stop(Place, String);

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        let kind = error.kind().to_string();
        let message = match kind.as_str() {
            "recursion limit exceeded" => {
                format!("lists and mappings nest at most {DEPTH_BUDGET} deep here")
            }
            kind if kind.contains("tab") => format!("{kind}; indent with spaces"),
            "while parsing node, found unknown anchor" => {
                "no value before this carries the anchor that the alias names; a string that begins with * is quoted".into()
            }
            kind if kind.contains("expected ',' or") => {
                format!("this is not YAML: {kind}; between brackets a string with {{ or }} is quoted")
            }
            kind => format!("this is not YAML: {kind}"),
        };
        Self(place_of(error.marker()), message)
    }
}

struct Composer<'text, 'f> {
    events: Parser<'text, granit_parser::StrInput<'text>>,
    findings: &'f mut Findings,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
}

impl<'text> Composer<'text, '_> {
    fn document(&mut self) -> Result<Option<Rc<Node>>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(root),
                _ if root.is_some() => return Err(second_document(span)),
                event => root = Some(self.node(event, span, None)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'text>, Span), Stop> {
        let end = || Stop(Place::START, "this is not YAML: it ends too early".into());
        Ok(self.events.next_event().ok_or_else(end)??)
    }

    /// The node that `event` begins; `key` is where its key stands.
    fn node(
        &mut self,
        event: Event<'text>,
        span: Span,
        key: Option<Place>,
    ) -> Result<Rc<Node>, Stop> {
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
                (key.unwrap_or(place), anchor, Content::List(self.list()?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text(tag.as_deref(), place);
                (key.unwrap_or(place), anchor, Content::Map(self.map()?))
            }
            _ => return Err(Stop(place, "this is not YAML: a value is missing".into())),
        };
        self.spend(1, place)?;
        let node = Rc::new(Node::new(place, content));
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Vec<Rc<Node>>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, None)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<Entry>, Stop> {
        let (mut entries, mut lines) = (Vec::new(), HashMap::new());
        loop {
            let (event, span) = self.next()?;
            let place = place_of(&span.start);
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Stop(
                        place,
                        "a key is a plain string; quote what begins with { [ or *".into(),
                    ));
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, Some(place))?;
            match lines.get(&key) {
                Some(line) => self.findings.add(
                    place,
                    format!("this key is already in line {line}; keep one of them"),
                ),
                None => {
                    lines.insert(key.clone(), place.line);
                    entries.push((Placed { place, value: key }, value));
                }
            }
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Rc<Node>, Stop> {
        let inside = || Stop(place, "this alias stands inside what it names".into());
        let node = self.anchors.get(&anchor).ok_or_else(inside)?.clone();
        self.spend(node.size, place)?;
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, place: Place) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODE_BUDGET {
            return Ok(());
        }
        let message = format!(
            "with its aliases unfolded the file has more than {NODE_BUDGET} values; write fewer aliases"
        );
        Err(Stop(place, message))
    }

    /// Whether a tag makes this a string whatever it looks like. Other tags mean nothing here, so they are mistakes.
    fn is_text(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        let text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        if tag.is_some() && !text {
            self.findings
                .add(place, "a tag (!…) means nothing here; leave it out");
        }
        text
    }
}

impl Node {
    fn new(place: Place, content: Content) -> Self {
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
        }
    }
}

fn second_document(span: Span) -> Stop {
    let message = "a config is one YAML document; take out what follows `---`";
    Stop(place_of(&span.start), message.into())
}

fn place_of(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}
