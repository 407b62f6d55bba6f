//! A JSON object, written member by member. Its names are the gateway's own and plain: copied, and not looked through for
//! what has to be escaped, which costs a line more than its values do.

use serde::Serialize;
use serde_json::Result;

pub(super) struct Object<'a> {
    text: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    /// Appends an object with the members that `fill` gives it.
    pub(super) fn write(
        text: &mut Vec<u8>,
        fill: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        text.push(b'{');
        let is_empty = true;
        fill(&mut Object { text, is_empty })?;
        text.push(b'}');
        Ok(())
    }

    pub(super) fn member(
        &mut self,
        name: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<()> {
        serde_json::to_writer(self.name(name), value)
    }

    /// A member that is an object of its own, or `null`.
    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        value: Option<&T>,
        fill: impl FnOnce(&T, &mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        let text = self.name(name);
        match value {
            Some(value) => Object::write(text, |object| fill(value, object)),
            None => serde_json::to_writer(text, &()),
        }
    }

    /// A member that is a list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &'static str,
        values: &[T],
        fill: impl Fn(&T, &mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        let text = self.name(name);
        text.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            Object::write(text, |object| fill(value, object))?;
        }
        text.push(b']');
        Ok(())
    }

    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push(b',');
        }
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.text
    }
}
