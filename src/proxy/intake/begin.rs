//! What every request to a model has in common, once it is known which model.

use std::{
    sync::{Arc, Once},
    time::Instant,
};

use pingora::http::RequestHeader;

use crate::{
    domain::{
        failover::{Progress, Repeat},
        forwarding::Forwarded,
        refusal::Refusal,
        route::Operation,
        trace::Trace,
    },
    proxy::{exchange::Exchange, gateway::Gateway, model_backend::ModelBackend},
};

/// Begins a request to a model, where any of its deployments can be asked now.
pub(super) fn begin(
    it: &mut Exchange,
    served: &Arc<ModelBackend>,
    operation: Operation,
    repeat: Repeat,
) -> Result<Progress, Refusal> {
    it.asked.served = Some(Arc::clone(served));
    let (progress, now) = (Progress::new(it.arrival.at, repeat), Instant::now());
    served.pool.budget().note_request(now);
    let out = served.pool.out_for(operation, &[], now);
    if !served.pool.has_ready(&out, now) {
        // Said here, and not once an attempt was begun, the client's connection stays usable.
        let exhausted = served.pool.exhausted(&out, now);
        let exhausted = served.pool.in_the_way(operation, exhausted, now);
        return Err(progress.refusal(&exhausted, &served.bounds, now));
    }
    Ok(progress)
}

/// The headers that go on; what does not, though its client may miss it, is counted.
pub(super) fn forwarded(
    gateway: &Gateway,
    head: &RequestHeader,
    trace: Option<&Trace>,
) -> Forwarded {
    let forwarded = gateway.forwarding.choose(&head.headers, trace);
    let (over_limit, unlisted) = (&forwarded.over_limit, &forwarded.unlisted);
    if !(over_limit.is_empty() && unlisted.is_empty()) {
        gateway
            .telemetry
            .metrics
            .headers_dropped(over_limit.len(), unlisted.len());
        // The counter says how often; the names, which clients choose, are for whoever wonders what it counts.
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::warn!(event = "headers_dropped", ?over_limit, ?unlisted, "headers of a client are not forwarded to the deployment; \
                 add those that are needed to server.forward_headers; forebay_headers_dropped_total counts all of them");
        });
    }
    forwarded
}
