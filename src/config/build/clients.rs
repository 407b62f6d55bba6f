//! `clients:` or `anonymous: true`: exactly one of them is required.

use std::collections::{BTreeSet, HashMap};

use super::{certificates::Taken, issuers::Issuers, known::Known, limits, tokens};
use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{List, Named, Reader, Tried},
        section::Required,
        value::Hash,
    },
    domain::{
        client::{Client, Clients, KeyHash, Models, Operations},
        deployment::Model,
    },
};

pub(super) fn clients(
    top: Place,
    raw: Option<Tried<Placed<Named<raw::Client>>>>,
    anonymous: Option<Tried<Placed<bool>>>,
    models: &Known<Model>,
    issuers: &mut Issuers,
    certificates: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<Clients> {
    let anonymous = match anonymous {
        Some(Tried(anonymous)) => Some(anonymous?).filter(|anonymous| anonymous.value),
        None => None,
    };
    match (raw, anonymous) {
        (Some(Tried(raw)), None) => Some(listed(raw?, models, issuers, certificates, reader)),
        (None, Some(_)) => Some(Clients::anyone()),
        (Some(_), Some(anonymous)) => {
            let message =
                "with anonymous: true, clients: would have no effect; remove one of the two";
            reader.problem(anonymous.place, message);
            None
        }
        (None, None) => {
            let message = "nobody could call the gateway; add clients:, or anonymous: true to let everyone in";
            reader.problem(top, message);
            None
        }
    }
}

fn listed(
    raw: Placed<Named<raw::Client>>,
    models: &Known<Model>,
    issuers: &mut Issuers,
    certificates: &mut Taken,
    reader: &mut Reader<'_>,
) -> Clients {
    let mend = "without a client nobody can call the gateway; add one, or write anonymous: true instead of clients:";
    let section = Required(Some(raw.entries(mend, reader)));
    let (mut lines, mut told_apart) = (HashMap::new(), tokens::ToldApart::default());
    let clients = Known::<Client>::build("client", section, reader, |name, raw, reader| {
        if let word @ ("none" | "other") = name.value.as_str() {
            reader.problem(
                name.place,
                format!("the name `{word}` is reserved in metrics; give this client another name"),
            );
        }
        let has_token = raw.entra.is_some() || raw.token.is_some();
        if raw.keys.is_none() && !has_token && raw.certificates.is_none() {
            reader.problem(
                name.place,
                "a client needs a credential: add keys:, entra:, token: or certificates:",
            );
        }
        let keys = raw
            .keys
            .and_then(|raw| Some(self::keys(raw.0?, &mut lines, reader)));
        let entra = raw
            .entra
            .and_then(|raw| tokens::entra(raw.0?, issuers, reader));
        let token = raw
            .token
            .and_then(|raw| tokens::token(raw.0?, issuers, reader));
        let tokens: Vec<_> = entra.into_iter().chain(token).collect();
        told_apart.note(&tokens, reader);
        let names = raw
            .certificates
            .and_then(|raw| Some(certificates.names(&name.value, raw.0?, reader)));
        Some(Client {
            certificates: names.unwrap_or_default(),
            name: name.value.as_str().into(),
            keys: keys.unwrap_or_default(),
            tokens: tokens.into_iter().map(|rule| rule.value).collect(),
            limits: limits::limits(raw.limits, models, reader),
            models: allowed(raw.models.0?, models, reader),
            operations: granted(raw.operations, reader),
            log_prompts: raw.log_prompts.is_some_and(|raw| raw.value),
        })
    });
    Clients::listed(clients.into_values())
}

fn keys(
    raw: Placed<List<Placed<Hash>>>,
    lines: &mut HashMap<KeyHash, usize>,
    reader: &mut Reader<'_>,
) -> Vec<KeyHash> {
    match raw.value.0.len() {
        0 => reader.problem(
            raw.place,
            "a client needs a key; `forebay hash-key` prints what to write here",
        ),
        1 | 2 => {}
        _ => reader.problem(
            raw.place,
            "a client may have at most two keys, the old and the new one during a rotation",
        ),
    }
    let hash = |key: Placed<Hash>| {
        let hash = key.value.0;
        match lines.insert(hash, key.place.line) {
            None => {}
            Some(line) => reader.problem(
                key.place,
                format!("this key is already in line {line}; a key may be used only once"),
            ),
        }
        hash
    };
    raw.value.0.into_iter().flatten().map(hash).collect()
}

fn allowed(
    raw: Placed<List<Placed<String>>>,
    models: &Known<Model>,
    reader: &mut Reader<'_>,
) -> Models {
    let mend = "a client without models can do nothing; list models, or \"*\" for all";
    let (all, named): (Vec<_>, Vec<_>) = raw
        .items(mend, reader)
        .partition(|model| model.value == "*");
    let these: BTreeSet<_> = named
        .iter()
        .filter_map(|model| Some(models.find(model, reader)?.name.clone()))
        .collect();
    if all.is_empty() {
        Models::These(these)
    } else {
        Models::All
    }
}

fn granted(
    raw: Option<Placed<List<Placed<raw::Operation>>>>,
    reader: &mut Reader<'_>,
) -> Operations {
    let Some(raw) = raw else {
        return Operations::default();
    };
    let mend =
        "a client without operations can do nothing; remove this field to allow inference only";
    let mut granted = Operations {
        inference: false,
        ..Operations::INFERENCE
    };
    let mut ways = Vec::new();
    for word in raw.items(mend, reader) {
        match word.value {
            raw::Operation::Inference => granted.inference = true,
            raw::Operation::Stateful => {
                granted.stateful = true;
                ways.push((word.place, "stateful"));
            }
            raw::Operation::Realtime => granted.realtime = true,
            raw::Operation::DataSources => {
                granted.data_sources = true;
                ways.push((word.place, "data_sources"));
            }
        }
    }
    for (place, way) in ways.into_iter().filter(|_| !granted.inference) {
        let problem = format!("{way} needs inference too; add inference");
        reader.problem(place, problem);
    }
    granted
}
