//! `server:`, `failover:`, `drain:`: numbers with defaults.

use std::{ops::RangeInclusive, sync::Arc, thread, time::Duration};

use crate::{
    config::{
        plan::{Drain, Metrics, RetryBudget, Server},
        problem::Placed,
        raw,
        read::{List, Reader},
        value::{Size, Span, Word},
    },
    domain::{
        breaker::Settings,
        cors::Cors,
        deployment::{Bounds, Timeouts},
        forwarding::{Forwarding, MOST_CUSTOM},
        front_door::FrontDoor,
        health,
    },
};

pub(super) fn server(raw: Option<raw::Server>, reader: &mut Reader<'_>) -> Server {
    let mut server = Server {
        threads: thread::available_parallelism().map_or(1, usize::from),
        max_headers: 32 << 10,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(60),
        handshake_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(60),
        stream_keepalive: None,
        forwarding: Forwarding::default(),
    };
    if let Some(raw) = raw {
        number(raw.threads, 1..=1024, &mut server.threads, reader);
        size(raw.max_headers, &mut server.max_headers, reader);
        span(raw.header_timeout, &mut server.header_timeout, reader);
        span(raw.body_timeout, &mut server.body_timeout, reader);
        span(raw.handshake_timeout, &mut server.handshake_timeout, reader);
        span(raw.write_timeout, &mut server.write_timeout, reader);
        let mut keepalive = Duration::ZERO;
        span(raw.stream_keepalive, &mut keepalive, reader);
        server.stream_keepalive = (!keepalive.is_zero()).then_some(keepalive);
        server.forwarding = forwarding(
            raw.forward_headers,
            raw.forward_query,
            raw.answer_headers,
            reader,
        );
    }
    server
}

/// What an operator adds to what goes on, and to what comes back.
fn forwarding(
    headers: Names,
    parameters: Names,
    answers: Names,
    reader: &mut Reader<'_>,
) -> Forwarding {
    let place = headers.as_ref().map(|raw| raw.place);
    let headers = names(
        headers,
        "list a header, or remove `forward_headers`",
        Forwarding::may_add,
        reader,
    );
    if let Some(place) = place.filter(|_| headers.len() > MOST_CUSTOM) {
        reader.problem(
            place,
            format!("Azure accepts ten custom headers, one of which is api-key; list at most {MOST_CUSTOM}"),
        );
    }
    let parameters = names(
        parameters,
        "list a parameter, or remove `forward_query`",
        Forwarding::may_add_parameter,
        reader,
    );
    let answers = names(
        answers,
        "list a header, or remove `answer_headers`",
        Forwarding::may_answer,
        reader,
    );
    Forwarding::new(headers).with(parameters, answers)
}

type Names = Option<Placed<List<Placed<Word>>>>;

/// The names of a list, each once, that `may` takes.
fn names<T: PartialEq>(
    raw: Names,
    mend: &str,
    may: impl Fn(&str) -> Result<T, &'static str>,
    reader: &mut Reader<'_>,
) -> Vec<T> {
    let Some(raw) = raw else { return Vec::new() };
    let mut names = Vec::new();
    for word in raw.items(mend, reader) {
        match reader.take(word.place, may(&word.value.0)) {
            Some(name) if names.contains(&name) => {
                reader.problem(word.place, "this name is already listed; remove it");
            }
            name => names.extend(name),
        }
    }
    names
}

/// Which web pages may ask.
pub(super) fn cors(raw: Option<raw::Cors>, reader: &mut Reader<'_>) -> Option<Cors> {
    let mend = "list an origin, like https://app.contoso.example, or remove cors:";
    let origins = raw?.origins.0?.items(mend, reader);
    Some(Cors::new(origins.map(|origin| origin.value.0).collect()))
}

/// Whether anyone may ask how a model is.
pub(super) fn tells_models(raw: &raw::Health) -> bool {
    matches!(raw.models, Some(raw::MayAsk::Anyone))
}

/// What stands before the gateway.
pub(super) fn front_door(
    raw: Option<raw::FrontDoor>,
    reader: &mut Reader<'_>,
) -> Option<FrontDoor> {
    let raw = raw?;
    let ids = raw.ids.0.into_iter();
    let ids = ids.flat_map(|raw| raw.items("list an id, or remove `front_door`", reader));
    let ids = ids.map(|id| id.value.0).collect();
    let networks = raw.networks.into_iter();
    let networks =
        networks.flat_map(|raw| raw.items("list a network, or remove `networks`", reader));
    let networks = networks.map(|network| network.value.0).collect();
    Some(FrontDoor { ids, networks })
}

pub(super) fn bounds(raw: Option<raw::Failover>, reader: &mut Reader<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    if let Some(raw) = raw {
        number(raw.attempts, 1..=u32::MAX, &mut bounds.attempts, reader);
        span(raw.deadline, &mut bounds.deadline, reader);
        span(raw.connect_timeout, &mut bounds.connect_timeout, reader);
        if raw.first_byte_timeout.is_some() {
            span(
                raw.first_byte_timeout,
                &mut bounds.first_byte_timeout,
                reader,
            );
            // Who says one time for all means all.
            bounds.unstreamed_timeout = bounds.first_byte_timeout;
        }
        span(
            raw.unstreamed_timeout,
            &mut bounds.unstreamed_timeout,
            reader,
        );
        span(raw.idle_timeout, &mut bounds.idle_timeout, reader);
        span(raw.hold, &mut bounds.hold, reader);
        size(raw.max_body, &mut bounds.max_body, reader);
        size(raw.body_memory, &mut bounds.body_memory, reader);
        if let Some(raw) = raw.over_body_memory {
            bounds.over_body_memory = raw.into();
        }
        bounds.more_statuses = statuses(raw.more_statuses, reader);
    }
    bounds
}

pub(super) fn breaker(raw: Option<raw::Breaker>, reader: &mut Reader<'_>) -> Settings {
    let mut settings = Settings::default();
    let Some(raw) = raw else { return settings };
    number(raw.faults, 1..=1000, &mut settings.faults, reader);
    span(raw.window, &mut settings.window, reader);
    let pause = raw.pause.as_ref().map(|pause| pause.place);
    let unsaid = raw.unsaid_pause.as_ref().map(|pause| pause.place);
    span(raw.pause, &mut settings.pause, reader);
    span(raw.longest_pause, &mut settings.longest_pause, reader);
    span(raw.unsaid_pause, &mut settings.unsaid_pause, reader);
    settings.ramp = raw.ramp.map_or(settings.ramp, |ramp| ramp.0);
    let longest = settings.longest_pause;
    let pauses = [(pause, settings.pause), (unsaid, settings.unsaid_pause)];
    let too_long = pauses.into_iter().filter(|(_, pause)| *pause > longest);
    for place in too_long.filter_map(|(place, _)| place) {
        reader.problem(
            place,
            "this is longer than `longest_pause`; lower it, or raise `longest_pause`",
        );
    }
    settings
}

pub(super) fn retry_budget(raw: Option<raw::RetryBudget>, reader: &mut Reader<'_>) -> RetryBudget {
    let (share, floor) = raw.map_or((None, None), |raw| (raw.share, raw.floor));
    let mut budget = RetryBudget {
        share: share.map_or(0.2, |share| share.0),
        floor: 10,
    };
    number(floor, 0..=1_000_000, &mut budget.floor, reader);
    budget
}

/// A model's own timeouts.
pub(super) fn timeouts(
    connect: Option<Placed<Span>>,
    first_byte: Option<Placed<Span>>,
    unstreamed: Option<Placed<Span>>,
    reader: &mut Reader<'_>,
) -> Timeouts {
    let mut own = |raw: Option<Placed<Span>>| {
        let mut time = Duration::ZERO;
        span(raw, &mut time, reader);
        (!time.is_zero()).then_some(time)
    };
    Timeouts {
        connect: own(connect),
        first_byte: own(first_byte),
        unstreamed: own(unstreamed),
    }
}

/// Statuses that say what the caller did; the others are judged by rules of their own.
fn statuses(raw: Option<Placed<List<Placed<i64>>>>, reader: &mut Reader<'_>) -> Arc<[u16]> {
    let Some(raw) = raw else {
        return Arc::default();
    };
    let listed = raw.value.0.into_iter().flatten();
    let checked = listed.filter_map(|status| {
        let fits = u16::try_from(status.value).ok().filter(|status| {
            (400..500).contains(status) && ![401, 403, 408, 424, 429].contains(status)
        });
        reader.take(
            status.place,
            fits.ok_or(
                "write a status from 400 to 499; 401, 403, 408, 424, 429 and 5xx fail over anyway",
            ),
        )
    });
    checked.collect()
}

pub(super) fn health(raw: Option<raw::Health>) -> health::Settings {
    let mut settings = health::Settings::default();
    if let Some(raw) = raw {
        settings.fall = raw.fall.map_or(settings.fall, |fall| fall.0);
        settings.rise = raw.rise.map_or(settings.rise, |rise| rise.0);
        settings.throttled_is_down = matches!(raw.throttled, Some(raw::Throttled::Unhealthy));
    }
    settings
}

pub(super) fn drain(raw: Option<raw::Drain>) -> Drain {
    let (notice, deadline) = raw.map_or((None, None), |raw| (raw.notice, raw.deadline));
    Drain {
        notice: notice.map_or(Duration::from_secs(10), |span| span.0),
        deadline: deadline.map_or(Duration::from_secs(600), |span| span.0),
    }
}

pub(super) fn metrics(raw: Option<raw::Metrics>, reader: &mut Reader<'_>) -> Metrics {
    let mut metrics = Metrics {
        clients: 1000,
        client_series: 100_000,
    };
    if let Some(raw) = raw {
        number(raw.clients, 0..=1_000_000, &mut metrics.clients, reader);
        let series = &mut metrics.client_series;
        number(raw.client_series, 0..=10_000_000, series, reader);
    }
    metrics
}

pub(super) fn number<T: TryFrom<u32>>(
    raw: Option<Placed<i64>>,
    range: RangeInclusive<u32>,
    setting: &mut T,
    reader: &mut Reader<'_>,
) {
    let Some(raw) = raw else { return };
    let (least, most) = (range.start(), range.end());
    let fitting = u32::try_from(raw.value)
        .ok()
        .filter(|it| range.contains(it));
    let number = fitting
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("this must be a number from {least} to {most}"));
    if let Some(number) = reader.take(raw.place, number) {
        *setting = number;
    }
}

pub(super) fn span(raw: Option<Placed<Span>>, setting: &mut Duration, reader: &mut Reader<'_>) {
    match raw {
        Some(raw) if raw.value.0.is_zero() => reader.problem(
            raw.place,
            "with a timeout of 0s nothing can succeed; write more than 0s",
        ),
        Some(raw) => *setting = raw.value.0,
        None => {}
    }
}

pub(super) fn size(raw: Option<Placed<Size>>, setting: &mut usize, reader: &mut Reader<'_>) {
    match raw {
        Some(raw) if raw.value.0 == 0 => reader.problem(
            raw.place,
            "with a size of 0B nothing can fit; write more than 0B",
        ),
        Some(raw) => *setting = raw.value.0,
        None => {}
    }
}
