//! From the config as written to the plan: every value checked by its domain constructor, every name looked up.
//!
//! A part that can't be built is left out and the rest is checked all the same: one run finds every mistake.

mod certificates;
mod clients;
mod identities;
mod instances;
mod issuers;
mod known;
mod limits;
mod listeners;
mod logs;
mod models;
mod otlp;
mod prices;
mod settings;
mod tokens;

use super::{plan::Plan, problem::Placed, raw, read::Reader};

/// The plan; `None` only where a problem is noted.
pub(super) fn plan(
    Placed {
        place,
        value: mut raw,
    }: Placed<raw::Config>,
    hash: String,
    reader: &mut Reader<'_>,
) -> Option<Plan> {
    let tells_models = raw.health.as_ref().is_some_and(settings::tells_models);
    let (listeners, admin) = listeners::listeners(raw.listeners, raw.admin, reader);
    let identities = {
        let is_server = listeners.iter().any(|it| !it.address.ip().is_loopback());
        identities::identities(raw.identities, is_server, reader)
    };
    let instances = instances::instances(raw.instances, &identities, raw.geography, reader);
    let models = models::models(raw.models, &instances, reader);
    let mut issuers = issuers::Issuers::from_raw(raw.issuers, reader);
    let mut certificates = certificates::Taken::default();
    logs::check_prompts(raw.clients.as_ref(), raw.log.as_ref(), reader);
    let prices = prices::prices(raw.prices, &models, reader);
    let clients = clients::clients(
        place,
        raw.clients,
        raw.anonymous,
        &models,
        &mut issuers,
        &mut certificates,
        reader,
    );
    let all_tls = listeners.iter().filter_map(|it| it.tls.as_ref());
    certificates.check(all_tls, reader);
    issuers.warn_of_unused(reader);
    let counters = limits::counters(raw.counters, clients.as_ref(), place, reader);
    identities.warn_of_unused("no instance uses this identity", reader);
    instances.warn_of_unused("no model has a deployment on this instance", reader);
    Some(Plan {
        hash,
        listeners,
        admin,
        front_door: settings::front_door(raw.front_door, reader),
        cors: settings::cors(raw.cors, reader),
        tells_models,
        identities: identities.into_values(),
        instances: instances.into_values(),
        models: models.into_values(),
        prices,
        retry_budget: settings::retry_budget(
            raw.failover
                .as_mut()
                .and_then(|failover| failover.retry_budget.take()),
            reader,
        ),
        bounds: settings::bounds(raw.failover, reader),
        breaker: settings::breaker(raw.breaker, reader),
        counters,
        server: settings::server(raw.server, reader),
        health: settings::health(raw.health),
        drain: settings::drain(raw.drain),
        log: logs::log(raw.log, reader),
        otlp: raw.otlp.and_then(|raw| otlp::otlp(raw, reader)),
        metrics: settings::metrics(raw.metrics, reader),
        reveal: raw.reveal.unwrap_or(false),
        issuers: issuers.into_values(reader),
        // Last: what is in front of it is checked all the same.
        clients: clients?,
    })
}
