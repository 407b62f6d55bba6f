//! Names that other fields refer to: look-up, and a hint when one is missing.

use std::{cell::RefCell, collections::HashSet};

use crate::config::{
    problem::{Placed, hint},
    read::{Named, Reader},
    section::Required,
};

/// What a section defines. A thing that could not be built keeps its name, so that its users are not blamed.
pub(super) struct Known<T> {
    /// What one is called in messages, like `instance`.
    noun: &'static str,
    things: Vec<(Placed<String>, Option<T>)>,
    /// The section is there; without it no name is a mistake of its own.
    present: bool,
    used: RefCell<HashSet<String>>,
}

impl<T> Known<T> {
    /// Builds each thing of a section by `build`.
    pub(super) fn build<R>(
        noun: &'static str,
        raw: Required<Named<R>>,
        reader: &mut Reader<'_>,
        mut build: impl FnMut(&Placed<String>, R, &mut Reader<'_>) -> Option<T>,
    ) -> Self {
        let present = raw.0.is_some();
        let entries = raw.0.map_or_else(Vec::new, |named| named.0);
        let thing = |(name, raw): (Placed<String>, Option<R>)| {
            let fit = check_name(&name, reader);
            let thing = raw.and_then(|raw| build(&name, raw, reader));
            (name, thing.filter(|_| fit))
        };
        let things = entries.into_iter().map(thing).collect();
        Self {
            noun,
            things,
            present,
            used: RefCell::default(),
        }
    }

    /// The thing called `name`; `None` if there is none, which is noted, or if it could not be built.
    pub(super) fn find(&self, name: &Placed<String>, reader: &mut Reader<'_>) -> Option<&T> {
        self.used.borrow_mut().insert(name.value.clone());
        match self
            .things
            .iter()
            .find(|(known, _)| known.value == name.value)
        {
            Some((_, thing)) => thing.as_ref(),
            None => self.miss(name, reader),
        }
    }

    fn miss(&self, name: &Placed<String>, reader: &mut Reader<'_>) -> Option<&T> {
        if self.present {
            let hint = hint(
                &name.value,
                self.things.iter().map(|(known, _)| known.value.as_str()),
            );
            reader.problem(
                name.place,
                format!("no {} has this name; {hint}", self.noun),
            );
        }
        None
    }

    /// All names, also of what could not be built.
    pub(super) fn names(&self) -> impl Iterator<Item = &Placed<String>> {
        self.things.iter().map(|(name, _)| name)
    }

    pub(super) fn warn_of_unused(&self, message: &str, reader: &mut Reader<'_>) {
        if reader.is_any_missing {
            // What would use it may be what was left out.
            return;
        }
        for (name, _) in &self.things {
            if !self.used.borrow().contains(&name.value) {
                reader.warn(name.place, message);
            }
        }
    }

    pub(super) fn into_values(self) -> Vec<T> {
        self.things
            .into_iter()
            .filter_map(|(_, thing)| thing)
            .collect()
    }
}

/// Notes a name that would not fit into headers, metrics and paths.
pub(super) fn check_name(name: &Placed<String>, reader: &mut Reader<'_>) -> bool {
    let text = &name.value;
    let fit = (1..=128).contains(&text.len())
        && text != "*"
        && text.bytes().all(|b| b.is_ascii_graphic());
    if !fit {
        let message =
            "a name must have 1 to 128 visible ASCII characters, no spaces, and must not be *";
        reader.problem(name.place, message);
    }
    fit
}
