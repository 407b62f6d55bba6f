//! `clients.….limits:` and `counters:`: rate limits, quotas, and where usage is counted.

use std::collections::BTreeMap;

use super::known::Known;
use crate::{
    config::{
        plan::Counters,
        problem::{Place, Placed},
        raw,
        read::{Named, Reader},
    },
    domain::{
        client::Clients,
        deployment::Model,
        name::ModelName,
        quota::{Calendar, ClientLimits, Limits, OverMaxOutput},
    },
};

/// The largest limit: sums of it stay far from overflowing.
const MOST: i64 = 1_000_000_000_000;

pub(super) fn limits(
    raw: Option<raw::ClientLimits>,
    models: &Known<Model>,
    reader: &mut Reader<'_>,
) -> ClientLimits {
    let Some(raw) = raw else {
        return ClientLimits::default();
    };
    let by_model = raw.models.map(|raw| by_model(raw, models, reader));
    ClientLimits {
        models: by_model.unwrap_or_default(),
        own: values(raw.own, reader),
    }
}

fn by_model(
    raw: Placed<Named<raw::Limits>>,
    models: &Known<Model>,
    reader: &mut Reader<'_>,
) -> BTreeMap<ModelName, Limits> {
    let mend = "list a model here, or remove `models`";
    let mut limits = BTreeMap::new();
    for (name, raw) in raw.entries(mend, reader).0 {
        let model = models.find(&name, reader).map(|model| model.name.clone());
        let Some(raw) = raw else { continue };
        let values = values(raw, reader);
        limits.extend(model.map(|model| (model, values)));
    }
    limits
}

fn values(raw: raw::Limits, reader: &mut Reader<'_>) -> Limits {
    let mut number = |raw| number(raw, reader);
    let limits = Limits {
        requests_per_minute: number(raw.requests_per_minute),
        tokens_per_minute: number(raw.tokens_per_minute),
        tokens_per_hour: number(raw.tokens_per_hour),
        tokens_per_day: number(raw.tokens_per_day),
        tokens_per_month: number(raw.tokens_per_month),
        concurrency: number(raw.concurrency),
        max_output_tokens: number(raw.max_output_tokens),
        over_max_output_tokens: OverMaxOutput::Clamp,
        n: number(raw.n),
        best_of: number(raw.best_of),
    };
    over_max_output(limits, raw.over_max_output_tokens, reader)
}

fn number(raw: Option<Placed<i64>>, reader: &mut Reader<'_>) -> Option<u64> {
    let raw = raw?;
    let number = u64::try_from(raw.value)
        .ok()
        .filter(|_| (1..=MOST).contains(&raw.value));
    let message = format!("a limit must be a number from 1 to {MOST}; remove it for no limit");
    reader.take(raw.place, number.ok_or(message))
}

fn over_max_output(
    mut limits: Limits,
    raw: Option<Placed<raw::OverMaxOutput>>,
    reader: &mut Reader<'_>,
) -> Limits {
    let Some(raw) = raw else { return limits };
    if limits.max_output_tokens.is_none() {
        reader.problem(
            raw.place,
            "this needs `max_output_tokens`; add it, or remove this field",
        );
    }
    limits.over_max_output_tokens = raw.value.into();
    limits
}

pub(super) fn counters(
    raw: Option<raw::Counters>,
    clients: Option<&Clients>,
    top: Place,
    reader: &mut Reader<'_>,
) -> Counters {
    let (file, zone) = raw.map_or((None, None), |raw| (raw.file, raw.time_zone));
    let zone = zone.and_then(|zone| {
        let calendar = Calendar::for_zone(&zone.value.0);
        let message = "no time zone has this name; write one like Europe/Berlin or UTC";
        reader.take(zone.place, calendar.ok_or(message))
    });
    let mut all = clients.into_iter().flat_map(|clients| clients.all());
    let has_periods = all.any(|client| client.limits.has_periods());
    match &file {
        None if has_periods && !reader.is_any_missing => reader.warn(
            top,
            "a restart would reset the hourly, daily and monthly usage of clients; set `counters.file` to keep it",
        ),
        Some(file) if !has_periods && !reader.is_any_missing => reader.warn(
            file.place,
            "no client has a limit per hour, day or month, so this file is not used",
        ),
        _ => {}
    }
    let file = file.and_then(|file| {
        let folder = file
            .value
            .0
            .parent()
            .filter(|it| !it.as_os_str().is_empty());
        let is_missing = folder.is_some_and(|folder| !folder.is_dir());
        if is_missing && !reader.may_miss(is_missing) {
            reader.problem(
                file.place,
                "the folder of this file does not exist; create it, or choose another",
            );
            return None;
        }
        Some(file.value.0)
    });
    Counters {
        file,
        calendar: zone.unwrap_or_default(),
    }
}
