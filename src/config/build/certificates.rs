//! `certificates:` of clients and operators: the names that stand for them, that none of them can be another's, and that
//! no authority can give one to whom it pleases that was meant to be another's.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use crate::{
    config::{
        pem,
        plan::TlsFiles,
        problem::{Place, Placed},
        raw,
        read::{List, Reader},
        section::OnlyOneBeside,
    },
    domain::client::certificate::{Entry, Name, NameError},
};

/// All clients' names so far, with their lines.
#[derive(Default)]
pub(super) struct Taken {
    names: HashMap<Name, Vec<(Option<PathBuf>, usize)>>,
    /// By the common name they have: entries of one common name alone, and subjects.
    common: HashMap<String, Vec<Owned>>,
    first: Option<Place>,
    /// Those that don't say who has signed them.
    unbound: Vec<Place>,
    /// Who has signed the others.
    bound: Vec<(Place, PathBuf)>,
}

/// A name, whose it is, and its line.
struct Owned {
    client: String,
    entry: Entry,
    line: usize,
}

/// Whether one authority may have signed both.
fn may_share(a: Option<&PathBuf>, b: Option<&PathBuf>) -> bool {
    a.is_none() || b.is_none() || a == b
}

impl Taken {
    /// The names of a client.
    pub(super) fn names(
        &mut self,
        client: &str,
        raw: Placed<List<Placed<OnlyOneBeside<raw::CertificateName>>>>,
        reader: &mut Reader<'_>,
    ) -> Vec<Entry> {
        self.first.get_or_insert(raw.place);
        let mend =
            "list a name from this client's certificate, like `- uri: spiffe://contoso/batch`";
        let mut entries = Vec::new();
        for raw in raw.items(mend, reader) {
            if let Some(Placed { place, value }) = entry(raw.value.0, reader) {
                self.note(client, place, &value, reader);
                entries.push(value);
            }
        }
        entries
    }

    fn note(&mut self, client: &str, place: Place, entry: &Entry, reader: &mut Reader<'_>) {
        let (name, ca) = (&entry.name, entry.ca.as_ref());
        match ca {
            None => self.unbound.push(place),
            Some(ca) => self.bound.push((place, ca.clone())),
        }
        let same = self.names.entry(name.clone()).or_default();
        let known = same
            .iter()
            .find(|(other, _)| may_share(ca, other.as_ref()))
            .map(|(_, line)| *line);
        same.push((entry.ca.clone(), place.line));
        if let Some(line) = known {
            reader.problem(
                place,
                format!(
                    "this name is already in line {line}; a certificate name may be used only once"
                ),
            );
            return;
        }
        let Some(common) = name.common() else { return };
        let others = self.common.entry(common.to_owned()).or_default();
        let clash = |other: &&Owned| {
            other.client != client
                && other.entry.name.may_be_one_with(name)
                && may_share(ca, other.entry.ca.as_ref())
        };
        if let Some(Owned { line, .. }) = others.iter().find(clash) {
            reader.problem(
                place,
                format!("a certificate could match both this and line {line}, which belongs to another client; use the whole subject of each, or another name"),
            );
        }
        others.push(Owned {
            client: client.to_owned(),
            entry: entry.clone(),
            line: place.line,
        });
    }

    /// Where certificates stand for clients, but none is ever asked for; or where it can't be told who has signed one.
    pub(super) fn check<'t>(
        &self,
        listeners: impl Iterator<Item = &'t TlsFiles>,
        reader: &mut Reader<'_>,
    ) {
        let asked = listeners.filter_map(|tls| tls.of_clients.as_ref());
        let files: BTreeSet<&Path> = asked.map(|asked| asked.authorities.as_path()).collect();
        if let (Some(place), true) = (self.first, files.is_empty() && !reader.is_any_missing) {
            reader.warn(
                place,
                "no listener asks clients for certificates; add client_ca: to the tls: of a listener",
            );
        }
        if !files.is_empty() {
            for (place, ca) in &self.bound {
                check_believed(*place, ca, &files, reader);
            }
        }
        if pem::families(&files) > 1 {
            for place in &self.unbound {
                reader.problem(*place, "listeners trust several certificate authorities (client_ca:), and each of them could issue this name to somebody else; add ca: with the PEM file of the one that signs this client's certificates");
            }
        }
    }
}

/// Where a name is bound to an authority that is not among those which certificates are taken from.
fn check_believed(place: Place, ca: &Path, asked: &BTreeSet<&Path>, reader: &mut Reader<'_>) {
    let mut with = asked.clone();
    with.insert(ca);
    if pem::families(&with) > pem::families(asked) {
        reader.warn(
            place,
            "no listener's client_ca: trusts the certificate authority that ca: names here, so no certificate can ever match this; add it there",
        );
    }
}

/// Whose certificates open the admin listener.
pub(super) fn operators(
    raw: Option<Placed<List<Placed<OnlyOneBeside<raw::CertificateName>>>>>,
    tls: Option<Placed<&TlsFiles>>,
    reader: &mut Reader<'_>,
) -> Vec<Entry> {
    let asked = tls.and_then(|tls| Some((tls.place, tls.value.of_clients.as_ref()?)));
    let (raw, asked) = match (raw, asked) {
        (None, None) => return Vec::new(),
        (None, Some((place, _))) => {
            reader.problem(place, "with client_ca: alone, everybody with a certificate of that authority would be an operator; list the operators' certificates, like certificates: [{ common_name: prometheus }]");
            return Vec::new();
        }
        (Some(raw), None) => {
            reader.problem(
                raw.place,
                "this listener asks for no certificate; add tls: with client_ca:",
            );
            return Vec::new();
        }
        (Some(raw), Some((_, asked))) => (raw, asked),
    };
    let mend = "list a name from an operator's certificate, like `- common_name: prometheus`";
    let is_shared = pem::families(&BTreeSet::from([asked.authorities.as_path()])) > 1;
    let mut entries = Vec::new();
    for raw in raw.items(mend, reader) {
        let Some(Placed { place, value }) = entry(raw.value.0, reader) else {
            continue;
        };
        if is_shared && value.ca.is_none() {
            reader.problem(place, "client_ca: contains several certificate authorities, and each of them could issue this name to somebody else; add ca: with the PEM file of the one that signs this operator's certificate");
        }
        if let Some(ca) = &value.ca {
            let asked = BTreeSet::from([asked.authorities.as_path()]);
            check_believed(place, ca, &asked, reader);
        }
        entries.push(value);
    }
    entries
}

/// How a name of one kind is read.
type NameParser = fn(&str) -> Result<Name, NameError>;

/// The one name that an entry has, and who may have signed it.
fn entry(raw: raw::CertificateName, reader: &mut Reader<'_>) -> Option<Placed<Entry>> {
    let kinds: [(_, NameParser); 5] = [
        (raw.subject, Name::subject),
        (raw.common_name, Name::common_name),
        (raw.dns, Name::dns),
        (raw.uri, Name::uri),
        (raw.email, Name::email),
    ];
    let mut written = kinds
        .into_iter()
        .filter_map(|(text, read)| text.map(|text| (text.place, read(&text.value))));
    let (at, name) = written.next()?;
    let ca = match raw.ca {
        None => None,
        Some(file) => {
            let file = file.0?;
            reader.take_file(file.place, &file.value.0, pem::authorities)?;
            Some(file.value.0)
        }
    };
    let name = reader.take(at, name)?;
    let value = Entry { name, ca };
    Some(Placed { place: at, value })
}
