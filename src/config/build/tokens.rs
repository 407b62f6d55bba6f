//! A client's `entra:` and `token:`: what its tokens must say, and that nobody else's say it too.

use std::collections::BTreeSet;

use super::issuers::{Issuers, words};
use crate::{
    config::{
        problem::{Place, Placed},
        raw,
        read::{List, Reader},
        value::Word,
    },
    domain::{
        client::token::{Demand, Rule},
        cloud,
    },
};

pub(super) fn entra(
    raw: Placed<raw::Entra>,
    issuers: &mut Issuers,
    reader: &mut Reader<'_>,
) -> Option<Placed<Rule>> {
    let Placed { place, value: raw } = raw;
    let access = access(&raw);
    let tenant_id = raw.tenant_id.0.and_then(|id| guid(id, reader));
    let is_named = raw.application_id.is_some() || raw.roles.is_some() || raw.groups.is_some();
    if !is_named {
        reader.problem(
            place,
            "any application of the tenant can get such a token; add `application_id`, `roles` or `groups`",
        );
    }
    let audiences = raw
        .audiences
        .0
        .map(|raw_audiences| audiences(raw_audiences, raw.application_id.is_some(), reader));
    let application = raw
        .application_id
        .and_then(|id| id.0)
        .and_then(|id| guid(id, reader));
    let mut demands = BTreeSet::from_iter(application.map(Demand::Application));
    if let (Some(Demand::AppOnly), Some(scopes)) = (&access, &raw.scopes) {
        reader.problem(
            scopes.place,
            "only users' tokens have scopes; remove this, or access: app_only",
        );
    }
    demands.extend(access);
    demands.extend(each(raw.roles, "a role", reader).map(Demand::Role));
    demands.extend(each(raw.scopes, "a scope", reader).map(Demand::Scope));
    demands.extend(each(raw.groups, "a group", reader).map(Demand::Group));
    let issuer = issuers.tenant(place, &tenant_id?, raw.authority, raw.ca, reader);
    let value = Rule {
        issuer: issuer.name.clone(),
        audiences: audiences?,
        demands,
    };
    Some(Placed { place, value })
}

/// Whether an application's own token is meant, or a person's. An application that is named is a client itself, unless what
/// else is named is a person's.
fn access(raw: &raw::Entra) -> Option<Demand> {
    match raw.access {
        Some(raw::TokenAccess::AppOnly) => Some(Demand::AppOnly),
        Some(raw::TokenAccess::Delegated) => Some(Demand::Delegated),
        Some(raw::TokenAccess::Any) => None,
        None => {
            let is_itself =
                raw.application_id.is_some() && raw.scopes.is_none() && raw.groups.is_none();
            is_itself.then_some(Demand::AppOnly)
        }
    }
}

pub(super) fn token(
    raw: Placed<raw::Token>,
    issuers: &Issuers,
    reader: &mut Reader<'_>,
) -> Option<Placed<Rule>> {
    let Placed { place, value: raw } = raw;
    if raw.claims.is_none() && raw.scopes.is_none() {
        reader.problem(
            place,
            "an issuer gives tokens to many clients; add `claims` or `scopes` that only this client's tokens have",
        );
    }
    let mut demands = BTreeSet::new();
    if let Some(claims) = raw.claims {
        let mend = "this is empty; add a claim, like `sub: jobs`, or remove it";
        for (name, value) in claims.entries(mend, reader).0 {
            claim(&name, reader);
            let claim = |value: Placed<Word>| Demand::Claim {
                name: name.value,
                value: value.value.0,
            };
            demands.extend(value.map(claim));
        }
    }
    demands.extend(each(raw.scopes, "a scope", reader).map(Demand::Scope));
    let issuer = raw.issuer.0.and_then(|name| issuers.named(&name, reader))?;
    let value = Rule {
        issuer: issuer.issuer.name.clone(),
        audiences: issuer.audiences.clone(),
        demands,
    };
    Some(Placed { place, value })
}

/// What every token says, or what is looked at elsewhere, tells no client from another.
fn claim(name: &Placed<String>, reader: &mut Reader<'_>) {
    let message = match name.value.as_str() {
        "" | "/" => "a claim needs a name",
        "iss" | "aud" => "this is already set in the issuer's entry; remove it",
        "exp" | "nbf" | "iat" => "this is a time and always checked; remove it",
        "scope" | "scp" => "put scopes in `scopes:` and remove this",
        _ => return,
    };
    reader.problem(name.place, message);
}

fn each(
    raw: Option<Placed<List<Placed<Word>>>>,
    noun: &str,
    reader: &mut Reader<'_>,
) -> impl Iterator<Item = String> {
    let words = raw.map(|raw| words(raw, noun, reader));
    words.into_iter().flatten()
}

/// An id as Entra writes it into tokens. A tenant's domain would never be found there, nor would `common`.
fn guid(id: Placed<Word>, reader: &mut Reader<'_>) -> Option<String> {
    let text = id.value.0.to_ascii_lowercase();
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    let is_one = digits && lengths == [8, 4, 4, 4, 12];
    if !is_one {
        let message =
            "this must be an id like 11111111-2222-3333-4444-555555555555, as it is in tokens";
        reader.problem(id.place, message);
    }
    is_one.then_some(text)
}

fn audiences(
    raw: Placed<List<Placed<Word>>>,
    names_application: bool,
    reader: &mut Reader<'_>,
) -> BTreeSet<String> {
    for audience in raw
        .value
        .0
        .iter()
        .flatten()
        .filter(|audience| cloud::is_microsofts(&audience.value.0))
    {
        match names_application {
            true => reader.warn(audience.place, "tokens with this audience are also sent to Microsoft's services, which could use them here; use an audience of the gateway's own"),
            false => reader.problem(audience.place, "everyone in the tenant can get tokens for Microsoft's own services; register the gateway as an application and use its audience"),
        }
    }
    words(raw, "an audience", reader)
}

/// The rules so far, so that no two are the same.
#[derive(Default)]
pub(super) struct ToldApart(Vec<(Place, Rule)>);

impl ToldApart {
    pub(super) fn note(&mut self, rules: &[Placed<Rule>], reader: &mut Reader<'_>) {
        for rule in rules {
            let (place, rule) = (rule.place, &rule.value);
            let is_same = |(_, other): &&(Place, Rule)| {
                other.issuer == rule.issuer
                    && other.demands == rule.demands
                    && !other.audiences.is_disjoint(&rule.audiences)
            };
            if let Some((known, _)) = self.0.iter().find(is_same) {
                let message = format!(
                    "line {} requires the same of a token, so a token could belong to either client; make them differ",
                    known.line
                );
                reader.problem(place, message);
            }
            self.0.push((place, rule.clone()));
        }
    }
}
