//! From nodes to values: strings, numbers, lists, mappings from names.
//!
//! Reading goes on after a mistake: what can't be read is reported and left out, the rest stays.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    node::{Content, Node},
    problem::{Findings, Place, Placed},
    substituted::Filled,
};

/// Whether what a config refers to must be there: variables, files of secrets, certificates and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Needed,
    MayBeMissing,
}

/// What reading needs beside the tree, and what it finds.
pub(super) struct Reader<'a> {
    pub(super) problems: Findings,
    pub(super) warnings: Findings,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The config file's, from which relative paths start.
    pub(super) folder: PathBuf,
    /// What came from elsewhere, which no message may repeat.
    pub(super) filled: Filled,
    /// The text being read has some of it.
    pub(super) is_filled_in: bool,
    pub(super) values: Values,
    /// A value was not there, and need not be.
    pub(super) is_any_missing: bool,
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

    /// Whether this may be left out for want of its value, which then is no mistake.
    pub(super) fn may_miss(&mut self, is_missing: bool) -> bool {
        let may = is_missing && self.values == Values::MayBeMissing;
        self.is_any_missing |= may;
        may
    }

    /// What was read from a file, or its error noted at its place.
    pub(super) fn take_file<T>(
        &mut self,
        place: Place,
        path: &Path,
        read: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Option<T> {
        if self.may_miss(!path.exists()) {
            return None;
        }
        self.take(place, read(path))
    }

    /// Notes that `node` is not what it should be.
    pub(super) fn misfit<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let noun = node.content.noun();
        self.problem(
            node.place,
            format!("this is {noun}, but it must be {wanted}"),
        );
        None
    }
}

/// What can be read from a node. `None`: it can't, and a problem is noted.
pub(super) trait Read: Sized {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// What was written, be it readable or not; empty where a problem is noted.
pub(super) struct Tried<T>(pub(super) Option<T>);

impl<T: Read> Read for Tried<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self(T::read(node, reader)))
    }
}

/// A mapping from names the operator chose; an entry that can't be read keeps its name, so that it still counts as known.
pub(super) struct Named<T>(pub(super) Vec<(Placed<String>, Option<T>)>);

/// A list; an item that can't be read keeps its place, so that it still counts.
pub(super) struct List<T>(pub(super) Vec<Option<T>>);

impl<T> Placed<List<T>> {
    /// The items that can be read. `mend`: what is said of a list without any.
    pub(super) fn items(
        self,
        mend: &str,
        reader: &mut Reader<'_>,
    ) -> impl Iterator<Item = T> + use<T> {
        if self.value.0.is_empty() {
            reader.problem(self.place, mend);
        }
        self.value.0.into_iter().flatten()
    }
}

impl<T> Placed<Named<T>> {
    /// The entries. `mend`: what is said of a mapping without any.
    pub(super) fn entries(self, mend: &str, reader: &mut Reader<'_>) -> Named<T> {
        if self.value.0.is_empty() {
            reader.problem(self.place, mend);
        }
        self.value
    }
}

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
            Content::Integer(_) | Content::Fraction(_) | Content::Bool(_) => {
                reader.misfit(node, "a string; put it in quotes")
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

/// Wrappers, and the type whose schema each has.
macro_rules! shown_as {
    ($($wrapper:ident as $shown:ty;)*) => {$(
        impl<T: schemars::JsonSchema> schemars::JsonSchema for $wrapper<T> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$shown>::schema_name()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<$shown>()
            }
        }
    )*};
}
pub(super) use shown_as;

shown_as! {
    Placed as T;
    Tried as T;
    List as Vec<T>;
    Named as BTreeMap<String, T>;
}
