//! `forebay explain`: what would happen to a request, worked out from a config by the decisions that serve it.
//!
//! It sends nothing to any deployment. How they fare now it knows only from a running gateway's `/status`.

mod states;

use std::{cmp::Reverse, fmt::Write as _};

use http::Method;
use thiserror::Error;

use crate::{
    config::Plan,
    domain::{
        ask::{Ask, Scan},
        client::{Client, Clients, Models},
        deployment::{Bounds, Capacity, Deployment, Model},
        quota::Limits,
        realtime,
        refusal::Refusal,
        route::{self, Call, Dialect, Operation, Route},
    },
};

pub use states::{DeploymentState, States, StatesError};

/// The request that is asked about.
#[derive(Clone, Debug)]
pub struct Question {
    /// A name of `clients`.
    pub client: String,
    /// With its query, if it has one.
    pub path: String,
    /// A JSON body.
    pub body: Option<Vec<u8>>,
}

/// Why there is nothing to explain. The message says what to mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExplainError {
    #[error("the config has no client `{0}`; it has: {1}")]
    UnknownClient(String, String),
    #[error(
        "the body of this request names the model: pass it with --body FILE, or with --body - from stdin"
    )]
    BodyMissing,
}

/// Says who asks, what for, whether it may, and which deployments would be tried, in their order.
pub fn explain(
    plan: &Plan,
    question: &Question,
    states: Option<&States>,
) -> Result<String, ExplainError> {
    let client = find_client(&plan.clients, &question.client)?;
    let mut text = format!("client       {}: {}\n", client.name, may_use(client));
    let (path, query) = question
        .path
        .split_once('?')
        .unwrap_or((&question.path, ""));
    let (call, named_by) = match route_of(path) {
        Ok(Route::Call(call)) => (call, None),
        Ok(Route::Realtime(dialect)) => (session(dialect), Some("query")),
        Ok(other) => return Ok(text + &answered_here(&other)),
        Err(refusal) => return Ok(text + &refused(&refusal)),
    };
    let named_by = named_by.unwrap_or(match call.model {
        Some(_) => "path",
        None => "body",
    });
    let operation = call.operation.path();
    let _ = writeln!(
        text,
        "operation    {operation}, the {named_by} names the model"
    );
    let authorized = client.operations.authorize(call.operation);
    let forwarding = &plan.server.forwarding;
    let sent = authorized.and_then(|()| forwarding.query(call.operation, query));
    let sent = match sent {
        Ok(sent) => sent,
        Err(refusal) => return Ok(text + &refused(&refusal)),
    };
    let call = match call.operation {
        Operation::Realtime => call,
        _ => call.dated_by(&sent.api_version()),
    };
    let (asked, needs) = match asked(client, &call, query, question.body.as_deref()) {
        Ok(asked) => asked,
        Err(Unread::Missing) => return Err(ExplainError::BodyMissing),
        Err(Unread::Refused(refusal)) => return Ok(text + &refused(&refusal)),
    };
    let model = plan
        .models
        .iter()
        .find(|model| model.name.as_str().eq_ignore_ascii_case(&asked));
    match model.filter(|model| client.may_use(model.name.as_str())) {
        Some(_) if let Some(needs) = needs => {
            text.push_str(match needs {
                "stateful" => "state        the request keeps or uses state at the instance\n",
                _ => "data         the instance may open the data sources with its own identity\n",
            });
            Ok(text + &refused(&Refusal::OperationNotAllowed { needs }))
        }
        Some(model) => {
            let call = (call.dialect, call.operation);
            Ok(text + &limits(client, model) + &tried(plan, model, call, sent.as_str(), states))
        }
        None => {
            let why = match model {
                Some(_) => "is in the config, but this client may not use it",
                None => "is not in the config",
            };
            let _ = writeln!(text, "model        {asked} {why}");
            Ok(text + &refused(&Refusal::UnknownModel))
        }
    }
}

fn find_client<'a>(clients: &'a Clients, name: &str) -> Result<&'a Client, ExplainError> {
    let all = clients.all();
    let found = all.iter().find(|client| client.name.as_str() == name);
    found.map(|client| &**client).ok_or_else(|| {
        let mut names: Vec<&str> = all.iter().map(|client| client.name.as_str()).collect();
        names.sort_unstable();
        ExplainError::UnknownClient(name.into(), names.join(", "))
    })
}

fn may_use(client: &Client) -> String {
    let models = match &client.models {
        Models::All => "every model".into(),
        Models::These(models) => {
            let names: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
            names.join(", ")
        }
    };
    let operations = client.operations.words().join(", ");
    format!("may use {models} for {operations}")
}

/// What it may spend: of each limit its own, and beside it that with the model.
fn limits(client: &Client, model: &Model) -> String {
    let of = |limits: &Limits| {
        let all = limits.all().into_iter();
        let said: Vec<_> = all
            .map(|(limit, most)| format!("{} {most}", limit.as_str()))
            .collect();
        said.join(", ")
    };
    let with_model = client.limits.models.get(&model.name).map(of);
    let own = of(&client.limits.own);
    match with_model.filter(|said| !said.is_empty()) {
        None if own.is_empty() => String::new(),
        None => format!("limits       {own}\n"),
        Some(said) if own.is_empty() => format!("limits       with this model {said}\n"),
        Some(said) => format!("limits       {own};\n             with this model {said}\n"),
    }
}

/// A session is asked for like a call, but for its body.
fn session(dialect: Dialect) -> Call<'static> {
    Call {
        dialect,
        operation: Operation::Realtime,
        model: None,
    }
}

/// A path is explained for the method that belongs to it.
fn route_of(path: &str) -> Result<Route<'_>, Refusal> {
    route::route(&Method::POST, path).or_else(|_| route::route(&Method::GET, path))
}

fn answered_here(route: &Route<'_>) -> String {
    let what = match route {
        Route::Health | Route::ModelHealth(_) => "health",
        _ => "the list of models this client may use",
    };
    format!("answer       the gateway answers this itself: {what}\n")
}

fn refused(refusal: &Refusal) -> String {
    let (status, reason) = (refusal.status().as_u16(), refusal.reason());
    format!("answer       {status} {reason}: {}\n", refusal.message())
}

enum Unread {
    Missing,
    Refused(Refusal),
}

/// The model's name as the request gives it, and the grant that its client would need beside those that it has.
fn asked(
    client: &Client,
    call: &Call<'_>,
    query: &str,
    body: Option<&[u8]>,
) -> Result<(String, Option<&'static str>), Unread> {
    if call.operation == Operation::Realtime {
        let asked = realtime::asked(query).map_err(Unread::Refused)?;
        let is_missing = asked.uses_state && !client.operations.stateful;
        return Ok((asked.model, is_missing.then_some("stateful")));
    }
    let needs = || {
        let scan = Scan::forbidding(client.operations.forbidden(call.operation)?);
        match { scan }.push(body?) {
            Err(Refusal::OperationNotAllowed { needs }) => Some(needs),
            _ => None,
        }
    };
    if let Some(model) = &call.model {
        return Ok((model.clone().into_owned(), needs()));
    }
    let ask = Ask::read(None, body.ok_or(Unread::Missing)?).map_err(Unread::Refused)?;
    if ask.in_background && call.operation == Operation::Responses {
        return Err(Unread::Refused(Refusal::NoBackground));
    }
    let missing = || Unread::Refused(ask.model_missing(call.operation));
    let model = ask.model.clone().ok_or_else(missing)?;
    Ok((model, needs()))
}

/// The pool, first to be tried first, with the reason for each.
fn tried(
    plan: &Plan,
    model: &Model,
    call: (Dialect, Operation),
    query: &str,
    states: Option<&States>,
) -> String {
    let version = model.version.as_ref().map(|it| format!(", version {it}"));
    let version = version.unwrap_or_default();
    let mut text = format!("model        {}{version}\n", model.name);
    let mut pool: Vec<&Deployment> = model.deployments.iter().collect();
    pool.sort_by_key(|it| (it.priority, Reverse(it.weight.get())));
    let state_of =
        |deployment: &Deployment| states.map(|states| states.find(&model.name, deployment));
    let (ready, out): (Vec<_>, Vec<_>) = pool
        .into_iter()
        .partition(|it| state_of(it).flatten().is_none_or(|it| it.available));
    for (place, deployment) in ready.iter().enumerate() {
        let number = format!("{}.", place + 1);
        let _ = writeln!(text, "{number:<12} {}", name(deployment));
        let _ = writeln!(text, "             {}", why(deployment, &ready));
        if let Some(state) = state_of(deployment) {
            let unknown = || "unknown to the running gateway".to_owned();
            let state = state.map_or_else(unknown, DeploymentState::to_string);
            let _ = writeln!(text, "             now: {state}");
        }
        let _ = writeln!(text, "             {}", goes_to(deployment, call, query));
    }
    for deployment in out {
        let state = state_of(deployment).flatten();
        let state = state.map_or_else(String::new, DeploymentState::to_string);
        let _ = writeln!(text, "not now      {}: {state}", name(deployment));
    }
    if ready.is_empty() {
        text.push_str("answer       429 if all are throttled, else 503, with Retry-After\n");
    }
    text + &bounds(&plan.bounds.with(model.timeouts))
}

fn name(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.instance.name, deployment.name)
}

fn why(deployment: &Deployment, ready: &[&Deployment]) -> String {
    let priority = deployment.priority;
    let alike = ready.iter().filter(|other| other.priority == priority);
    let total: u64 = alike.map(|other| u64::from(other.weight.get())).sum();
    let share = 100.0 * f64::from(deployment.weight.get()) / total as f64;
    let capacity = match deployment.capacity {
        Capacity::Standard => "standard",
        Capacity::Provisioned => "provisioned",
    };
    let turn = match ready.iter().any(|other| other.priority < priority) {
        true => "after those with a lower priority number, if they are unavailable or have failed",
        false => "first, no lower priority number is available",
    };
    let weight = deployment.weight.get();
    format!(
        "{capacity}, priority {}: {turn}; weight {weight} of {total}: {share:.0} % of the requests at this priority",
        priority.get()
    )
}

fn goes_to(deployment: &Deployment, call: (Dialect, Operation), query: &str) -> String {
    let endpoint = &deployment.instance.endpoint;
    let scheme = if endpoint.tls() { "https" } else { "http" };
    let path = route::outgoing(
        (call.0.at(&deployment.instance), call.1),
        deployment.instance.kind,
        endpoint.base_path(),
        deployment.name.as_str(),
        query,
    );
    let identity = &deployment.instance.identity;
    let method = match call.1 {
        Operation::Realtime => "GET",
        _ => "POST",
    };
    format!(
        "{method} {scheme}://{}{path} as identity {identity}",
        endpoint.authority()
    )
}

fn bounds(bounds: &Bounds) -> String {
    let time = humantime::format_duration;
    format!(
        "timeouts     {} attempts at most (a 429 does not count), each deployment is tried once, {} to the first byte in all;\n             \
         per attempt {} to connect and {} to the first byte\n",
        bounds.attempts,
        time(bounds.deadline),
        time(bounds.connect_timeout),
        time(bounds.first_byte_timeout),
    )
}

#[cfg(test)]
mod tests;
