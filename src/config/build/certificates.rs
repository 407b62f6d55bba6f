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
    common: HashMap<String, Vec<Owned>>,
    first: Option<Place>,
}

/// A name, whose it is, and its line.
struct Owned {
    client: String,
    name: Name,
    line: usize,
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
        let clash = |other: &&Owned| other.client != client && other.name.may_be_one_with(name);
        if let Some(Owned { line, .. }) = others.iter().find(clash) {
            reader.problem(
                place,
                format!("a certificate could fit this and line {line}, which is another client's; tell them apart by a whole subject each, or by another name"),
            );
        }
        others.push(Owned {
            client: client.to_owned(),
            name: name.clone(),
            line: place.line,
        });
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

/// How a name of one kind is read.
type Reading = fn(&str) -> Result<Name, NameError>;

/// The one name that an entry has.
fn name(raw: raw::CertificateName) -> Option<(Place, Result<Name, NameError>)> {
    let kinds: [(_, Reading); 5] = [
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
