//! Sections: mappings with fields of their own, and closed sets of words.
//!
//! Each is defined once, by `section!` or `choice!`; that definition is the reader and the JSON Schema.

use std::{borrow::Cow, rc::Rc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    node::{Content, Node},
    problem::{Place, Placed, hint, nearest},
    read::{Read, Reader, shown_as},
};

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

/// A mapping with fields of its own.
pub(super) trait Section: Read {
    fn fields() -> Vec<&'static str>;
    fn from_fields(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Self;
}

/// A section of which exactly one field is written.
pub(super) struct OnlyOne<T>(pub(super) T);

impl<T: Section> Read for OnlyOne<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        check_only_one::<T>(node, "", reader);
        T::read(node, reader).map(Self)
    }
}

/// The same, but for a field that may stand beside whichever it is.
pub(super) struct OnlyOneBeside<T>(pub(super) T);

/// The field that may stand beside the one.
pub(super) trait Beside: Section {
    const BESIDE: &'static str;
}

impl<T: Beside> Read for OnlyOneBeside<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        check_only_one::<T>(node, T::BESIDE, reader);
        T::read(node, reader).map(Self)
    }
}

fn check_only_one<T: Section>(node: &Node, beside: &str, reader: &mut Reader<'_>) {
    let written = match &node.content {
        Content::Map(entries) => entries
            .iter()
            .filter(|(key, _)| key.value != beside)
            .count(),
        _ => 1,
    };
    if written != 1 && !node.is_cut {
        let mut fields = T::fields();
        fields.retain(|field| *field != beside);
        let names = fields.join("`, `");
        reader.problem(node.place, format!("set exactly one of `{names}` here"));
    }
}

/// A value that has a short form, one text, beside its section.
pub(super) enum Brief<S, L> {
    Short(S),
    Long(L),
}

impl<S: Read, L: Read> Read for Brief<S, L> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.content {
            Content::Map(_) => L::read(node, reader).map(Self::Long),
            _ => S::read(node, reader).map(Self::Short),
        }
    }
}

impl<S: JsonSchema, L: JsonSchema> JsonSchema for Brief<S, L> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", S::schema_name(), L::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [
            generator.subschema_for::<S>(),
            generator.subschema_for::<L>(),
        ];
        json_schema!({ "anyOf": forms })
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
        if value.is_none() && !section.is_cut && !section.misspelt.contains(&name) {
            reader.problem(section.place, format!("`{name}` is missing here"));
        }
        Self(value.and_then(|value| T::read(value, reader)))
    }
}

/// The entries of a section while it is read.
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    is_cut: bool,
    entries: &'a [(Placed<String>, Rc<Node>)],
    /// Known fields that an unknown one was most likely meant to be.
    misspelt: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Notes unknown fields; those in `later` by saying that this version does not know them yet.
    pub(super) fn from_node(
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
            is_cut: node.is_cut,
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
        return format!("this version of Forebay does not support `{name}` yet; remove it");
    }
    format!("{shown}; {}", hint(name, known.iter().copied()))
}

/// Defines a section of the config: `section! { /// What for. struct Name { field: Required<T>, … } later "x", … }`.
///
/// `..base: Other,` first: the fields of another section stand in this one too. `later` names fields that a coming version
/// brings.
macro_rules! section {
    (
        $(#[$meta:meta])*
        struct $name:ident { $(..$base:ident: $other:ty,)? $($(#[$about:meta])* $field:ident: $type:ty,)* }
        $(later $($later:literal),+)?
    ) => {
        #[derive(schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub(in crate::config) struct $name {
            $(#[schemars(flatten)] pub(in crate::config) $base: $other,)?
            $($(#[$about])* pub(in crate::config) $field: $type,)*
        }

        impl $crate::config::section::Section for $name {
            fn fields() -> Vec<&'static str> {
                let base: &[Vec<_>] = &[$(<$other as $crate::config::section::Section>::fields())?];
                let own = vec![$(stringify!($field).trim_start_matches("r#")),*];
                [base.concat(), own].concat()
            }

            fn from_fields(
                fields: &$crate::config::section::Fields<'_>,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Self {
                Self {
                    $($base: <$other as $crate::config::section::Section>::from_fields(fields, reader),)?
                    $($field: fields.field(stringify!($field).trim_start_matches("r#"), reader),)*
                }
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                let known = <Self as $crate::config::section::Section>::fields();
                let later = [$($($later),+)?];
                let fields = $crate::config::section::Fields::from_node(node, &known, &later, reader)?;
                Some($crate::config::section::Section::from_fields(&fields, reader))
            }
        }
    };
}
pub(super) use section;

/// What is wrong with a word that is none of a closed set; `later`: words that a coming version brings.
pub(super) fn unknown_word(word: &str, known: &[&str], later: &[&str]) -> String {
    if later.contains(&word) {
        return format!("this version of Forebay does not support `{word}` yet; remove it");
    }
    let hint = hint(word, known.iter().copied());
    format!("this value is not allowed here; {hint}")
}

/// Defines a closed set of words: `choice! { /// What for. enum Name { /// … Variant = "word", … } later "x", … }`.
///
/// `as domain::Type` after the name: it becomes that, whose variants have the same names. `later` names words that a coming
/// version brings.
macro_rules! choice {
    (@value $name:ident : $($variant:ident)*) => {};
    (@value $name:ident $value:ty : $($variant:ident)*) => {
        impl From<$name> for $value {
            fn from(choice: $name) -> Self {
                match choice {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    };
    (
        $(#[$meta:meta])*
        enum $name:ident $(as $value:ty)? { $($(#[$about:meta])* $variant:ident = $word:literal,)* }
        $(later $($later:literal),+)?
    ) => {
        #[derive(schemars::JsonSchema)]
        $(#[$meta])*
        pub(in crate::config) enum $name {
            $($(#[$about])* #[schemars(rename = $word)] $variant,)*
        }

        $crate::config::section::choice!(@value $name $($value)? : $($variant)*);

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                let word = <$crate::config::problem::Placed<String>>::read(node, reader)?;
                match word.value.as_str() {
                    $($word => Some(Self::$variant),)*
                    other => {
                        let later: &[&str] = &[$($($later),+)?];
                        let unknown = $crate::config::section::unknown_word(other, &[$($word),*], later);
                        reader.problem(word.place, unknown);
                        None
                    }
                }
            }
        }
    };
}
pub(super) use choice;

shown_as! {
    Required as T;
    OnlyOne as T;
    OnlyOneBeside as T;
}
