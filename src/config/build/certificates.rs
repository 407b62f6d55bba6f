//! A client's `certificates:`: the names that stand for it, and that none of them can be another's.

use std::collections::HashMap;

use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{List, Reader},
        section::OnlyOne,
    },
    domain::client::certificate::{Name, NameError},
};

/// All clients' names so far, with their lines.
#[derive(Default)]
pub(super) struct Taken {
    names: HashMap<Name, usize>,
    /// By the common name they have: entries of one common name alone, and subjects.
    common: HashMap<String, Vec<(String, Name, usize)>>,
    first: Option<Place>,
}

impl Taken {
    /// The names of a client.
    pub(super) fn names(
        &mut self,
        client: &str,
        raw: Placed<List<Placed<OnlyOne<raw::CertificateName>>>>,
        reader: &mut Reader<'_>,
    ) -> Vec<Name> {
        self.first.get_or_insert(raw.place);
        if raw.value.0.is_empty() {
            reader.problem(
                raw.place,
                "name what a certificate of this client says, like `- uri: spiffe://contoso/batch`",
            );
        }
        let mut names = Vec::new();
        for raw in raw.value.0.into_iter().flatten() {
            let Some((place, name)) = name(raw.value.0) else {
                continue;
            };
            if let Some(name) = reader.take(place, name) {
                self.note(client, place, &name, reader);
                names.push(name);
            }
        }
        names
    }

    fn note(&mut self, client: &str, place: Place, name: &Name, reader: &mut Reader<'_>) {
        if let Some(line) = self.names.insert(name.clone(), place.line) {
            reader.problem(
                place,
                format!("line {line} has this name already; each is one client's, once"),
            );
            return;
        }
        let Some(common) = name.common() else { return };
        let others = self.common.entry(common.to_owned()).or_default();
        let clash = |(owner, other, _): &&(String, Name, usize)| {
            owner != client && other.may_be_one_with(name)
        };
        if let Some((_, _, line)) = others.iter().find(clash) {
            reader.problem(
                place,
                format!("a certificate could fit this and line {line}, which is another client's; tell them apart by a whole subject each, or by another name"),
            );
        }
        others.push((client.to_owned(), name.clone(), place.line));
    }

    /// Where certificates stand for clients, but none is ever asked for.
    pub(super) fn warn_of_unasked(&self, is_asked: bool, reader: &mut Reader<'_>) {
        if let (Some(place), false) = (self.first, is_asked) {
            reader.warn(
                place,
                "no listener asks for certificates; add client_ca: to its tls:",
            );
        }
    }
}

/// The one name that an entry has.
fn name(raw: raw::CertificateName) -> Option<(Place, Result<Name, NameError>)> {
    let kinds: [(_, fn(&str) -> Result<Name, NameError>); 5] = [
        (raw.subject, Name::subject),
        (raw.common_name, Name::common_name),
        (raw.dns, Name::dns),
        (raw.uri, Name::uri),
        (raw.email, Name::email),
    ];
    let mut written = kinds
        .into_iter()
        .filter_map(|(text, read)| text.map(|text| (text.place, read(&text.value))));
    written.next()
}
