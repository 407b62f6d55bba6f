//! From nodes to typed fields: a section is defined once, and that definition is the reader and the JSON Schema.
//!
//! Reading goes on after a mistake: what can't be read is reported and left out, the rest stays.

use std::{borrow::Cow, path::PathBuf, rc::Rc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    node::{Content, Node},
    problem::{Findings, Place, Placed, hint, nearest},
};

/// What reading needs beside the tree, and what it finds.
pub(super) struct Reader<'a> {
    pub(super) problems: Findings,
    pub(super) warnings: Findings,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The config file's, from which relative paths start.
    pub(super) folder: PathBuf,
}

impl Reader<'_> {
    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.add(place, message);
    }

    pub(super) fn warn(&mut self, place: Place, message: impl Into<String>) {
        self.warnings.add(place, message);
    }

    /// The value, or its error noted at its place.
    pub(super) fn take<T, E: ToString>(&mut self, place: Place, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.problem(place, error.to_string()))
            .ok()
    }

    /// Notes that `node` is not what it should be.
    pub(super) fn misfit<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let noun = node.content.noun();
        self.problem(node.place, format!("this is {noun}; it should be {wanted}"));
        None
    }
}

/// What can be read from a node. `None`: it can't, and a problem is noted.
pub(super) trait Read: Sized {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A field that may be left out is an `Option`, one that may not is [`Required`].
pub(super) trait Field: Sized {
    fn from_value(
        value: Option<&Node>,
        section: &Fields<'_>,
        name: &str,
        reader: &mut Reader<'_>,
    ) -> Self;
}

/// A field that must be there; empty only where a problem is noted.
pub(super) struct Required<T>(pub(super) Option<T>);

/// What was written, be it readable or not; empty where a problem is noted.
pub(super) struct Tried<T>(pub(super) Option<T>);

impl<T: Read> Read for Tried<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self(T::read(node, reader)))
    }
}

/// A mapping with fields of its own.
pub(super) trait Section: Read {
    fn fields() -> Vec<&'static str>;
}

/// A section of which exactly one field is written.
pub(super) struct OnlyOne<T>(pub(super) T);

impl<T: Section> Read for OnlyOne<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let written = match &node.content {
            Content::Map(entries) => entries.len(),
            _ => 1,
        };
        if written != 1 {
            let fields = T::fields().join("`, `");
            reader.problem(node.place, format!("write exactly one of `{fields}` here"));
        }
        T::read(node, reader).map(Self)
    }
}

impl<T: Read> Field for Option<T> {
    fn from_value(value: Option<&Node>, _: &Fields<'_>, _: &str, reader: &mut Reader<'_>) -> Self {
        value.and_then(|value| T::read(value, reader))
    }
}

impl<T: Read> Field for Required<T> {
    fn from_value(
        value: Option<&Node>,
        section: &Fields<'_>,
        name: &str,
        reader: &mut Reader<'_>,
    ) -> Self {
        if value.is_none() && !section.misspelt.contains(&name) {
            reader.problem(section.place, format!("`{name}` is missing here"));
        }
        Self(value.and_then(|value| T::read(value, reader)))
    }
}

/// The entries of a section while it is read.
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    entries: &'a [(Placed<String>, Rc<Node>)],
    /// Known fields that an unknown one was most likely meant to be.
    misspelt: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Notes unknown fields; those in `later` by saying that this version does not know them yet.
    pub(super) fn of(
        node: &'a Node,
        known: &[&'a str],
        later: &[&str],
        reader: &mut Reader<'_>,
    ) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            return reader.misfit(node, "a mapping of fields");
        };
        let mut misspelt = Vec::new();
        for (key, _) in entries
            .iter()
            .filter(|(key, _)| !known.contains(&key.value.as_str()))
        {
            reader.problem(key.place, unknown_field(&key.value, known, later));
            misspelt.extend(nearest(&key.value, known.iter().copied()));
        }
        Some(Self {
            place: node.place,
            entries,
            misspelt,
        })
    }

    pub(super) fn field<T: Field>(&self, name: &str, reader: &mut Reader<'_>) -> T {
        let entry = self.entries.iter().find(|(key, _)| key.value == name);
        T::from_value(entry.map(|(_, value)| &**value), self, name, reader)
    }
}

fn unknown_field(name: &str, known: &[&str], later: &[&str]) -> String {
    // Only what looks like a field's name is repeated: a secret may have slipped into a key's place.
    let is_word = name.len() <= 30 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let shown = if is_word {
        format!("unknown field `{name}`")
    } else {
        "unknown field".into()
    };
    if later.contains(&name) {
        return format!(
            "this version of Forebay does not know `{name}` yet and would not act on it; take it out"
        );
    }
    format!("{shown}; {}", hint(name, known.iter().copied()))
}

/// Defines a section of the config: `section! { /// What for. struct Name { field: Required<T>, … } later "x", … }`.
///
/// `later` names fields that a coming version brings.
macro_rules! section {
    (
        $(#[$meta:meta])*
        struct $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)* }
        $(later $($later:literal),+)?
    ) => {
        #[derive(schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub(in crate::config) struct $name {
            $($(#[$about])* pub(in crate::config) $field: $type,)*
        }

        impl $crate::config::read::Section for $name {
            fn fields() -> Vec<&'static str> {
                vec![$(stringify!($field).trim_start_matches("r#")),*]
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                let known = <Self as $crate::config::read::Section>::fields();
                let later = [$($($later),+)?];
                let fields = $crate::config::read::Fields::of(node, &known, &later, reader)?;
                let mut names = known.into_iter();
                Some(Self {
                    $($field: fields.field(names.next().unwrap_or(stringify!($field)), reader),)*
                })
            }
        }
    };
}
pub(super) use section;

/// Defines a closed set of words: `choice! { /// What for. enum Name { /// … Variant = "word", … } }`.
macro_rules! choice {
    ($(#[$meta:meta])* enum $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* }) => {
        #[derive(schemars::JsonSchema)]
        $(#[$meta])*
        pub(in crate::config) enum $name {
            $($(#[$about])* #[schemars(rename = $word)] $variant,)*
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                let word = <$crate::config::problem::Placed<String>>::read(node, reader)?;
                match word.value.as_str() {
                    $($word => Some(Self::$variant),)*
                    other => {
                        let hint = $crate::config::problem::hint(other, [$($word),*]);
                        reader.problem(word.place, format!("this is none of the words that can stand here; {hint}"));
                        None
                    }
                }
            }
        }
    };
}
pub(super) use choice;

/// A mapping from names the operator chose; an entry that can't be read keeps its name, so that it still counts as known.
pub(super) struct Named<T>(pub(super) Vec<(Placed<String>, Option<T>)>);

/// A list; an item that can't be read keeps its place, so that it still counts.
pub(super) struct List<T>(pub(super) Vec<Option<T>>);

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Content::Map(entries) = &node.content else {
            return reader.misfit(node, "a mapping from names");
        };
        let entry =
            |(name, value): &(Placed<String>, Rc<Node>)| (name.clone(), T::read(value, reader));
        Some(Self(entries.iter().map(entry).collect()))
    }
}

impl<T: Read> Read for List<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Content::List(items) = &node.content else {
            return reader.misfit(node, "a list");
        };
        Some(Self(
            items.iter().map(|item| T::read(item, reader)).collect(),
        ))
    }
}

impl<T: Read> Read for Placed<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let value = T::read(node, reader)?;
        Some(Self {
            place: node.place,
            value,
        })
    }
}

impl Read for String {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.content {
            Content::Text(text) => reader.fill_in(node.place, text),
            Content::Integer(_) | Content::Fraction | Content::Bool(_) => {
                reader.misfit(node, "a string: put it in quotes")
            }
            _ => reader.misfit(node, "a string"),
        }
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match node.content {
            Content::Bool(value) => Some(value),
            _ => reader.misfit(node, "true or false"),
        }
    }
}

impl Read for i64 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match node.content {
            Content::Integer(value) => Some(value),
            _ => reader.misfit(node, "a whole number"),
        }
    }
}

/// Wrappers that the schema does not show.
macro_rules! unseen {
    ($($wrapper:ident)*) => {$(
        impl<T: JsonSchema> JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                T::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<T>()
            }
        }
    )*};
}
unseen!(Placed Required Tried OnlyOne);

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("List{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }
}
