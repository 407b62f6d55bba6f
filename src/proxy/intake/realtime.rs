//! Reads of which model a session is asked, and whether this client may.

use std::sync::Arc;

use pingora_proxy::Session;

use super::begin::{begin, forwarded};
use crate::{
    domain::{
        ask::Ask,
        client::Client,
        failover::Repeat,
        realtime,
        refusal::Refusal,
        route::{Dialect, Operation},
    },
    proxy::{
        call::Call,
        exchange::{Admitted, Exchange},
        gateway::Gateway,
        prompt_tokens::PromptTokens,
        session::Relay,
        walk::Walk,
    },
};

/// From a WebSocket's handshake to what may be sent to a deployment.
pub(super) fn understand(
    gateway: &Gateway,
    session: &mut Session,
    it: &mut Exchange,
    client: &Arc<Client>,
    dialect: Dialect,
) -> Result<Box<Admitted>, Refusal> {
    let operation = Operation::Realtime;
    it.asked.operation = Some(operation);
    client.operations.authorize(operation)?;
    let query = session.req_header().uri.query().unwrap_or_default();
    let asked = realtime::asked(query)?;
    let served = gateway.find(client, &asked.model)?;
    if asked.uses_state && !client.operations.stateful {
        return Err(Refusal::OperationNotAllowed { needs: "stateful" });
    }
    it.asked.limits.enter(Some(served.pool.model()))?;
    let query = gateway.forwarding.query(operation, query)?;
    let progress = begin(it, &served, operation, Repeat::Harmless)?;
    // A client that takes nothing for so long is as good as gone.
    session.set_write_timeout(Some(served.bounds.idle_timeout));
    let trace = it.arrival.trace.as_deref();
    let call = Call {
        arrived: it.arrival.at,
        is_traced: trace.is_some(),
        client: Arc::clone(client),
        served,
        dialect,
        operation,
        query,
        headers: forwarded(gateway, session.req_header(), trace).headers,
        named: Vec::new(),
        ask: Ask::unread(),
        wanted: None,
        relay: Arc::new(Relay::tunnel()),
    };
    let walk = Walk::new(call, progress);
    Ok(Box::new(Admitted::new(walk, PromptTokens::known(0))))
}
