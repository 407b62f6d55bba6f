//! Reads what is asked, of which model, and whether this client may.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use pingora_proxy::Session;

use super::begin::{begin, forwarded};
use crate::{
    domain::{
        ask::{Ask, Forbidden, Scan},
        client::Client,
        failover::Repeat,
        name::ModelName,
        quota::Wanted,
        refusal::Refusal,
        route::{self, Operation, body_names_deployment},
    },
    proxy::{
        body::{self, Arrived, Passage, Rest, Terms},
        call::Call,
        exchange::{Admitted, Exchange},
        gateway::Gateway,
        model_backend::ModelBackend,
        named_deployments,
        prompt_tokens::PromptTokens,
        session::{Keepalive, Relay},
        walk::Walk,
    },
    telemetry::prompt_log,
};

/// A request's body, as far as it was read.
struct Body {
    kept: Bytes,
    /// What is passed on behind that as it comes.
    rest: Option<Box<Rest>>,
    ask: Ask,
    /// What looked for state, tools and actions while it was read, where something did.
    looked: Option<Scan>,
}

/// Who asks for what.
struct Question<'a> {
    gateway: &'a Gateway,
    client: &'a Arc<Client>,
    call: route::Call<'a>,
    /// What this client may not ask for.
    forbidden: Option<Forbidden>,
    /// The model, where the path names it.
    by_path: Option<Arc<ModelBackend>>,
}

/// From a request's head to what may be sent to a deployment.
pub(super) async fn understand(
    gateway: &Gateway,
    session: &mut Session,
    it: &mut Exchange,
    client: &Arc<Client>,
    call: route::Call<'_>,
) -> Result<Box<Admitted>, Refusal> {
    let operation = call.operation;
    it.asked.operation = Some(operation);
    client.operations.authorize(operation)?;
    let head = session.req_header();
    let query = head.uri.query().unwrap_or_default();
    let query = gateway.forwarding.query(operation, query)?;
    Ask::check_headers(&head.headers)?;
    let question = Question::new(gateway, client, call.dated_by(&query.api_version()))?;
    let known = question.by_path.as_ref().map(|served| served.pool.model());
    it.asked.limits.enter(known)?;
    let mut body = question.read(session, it).await?;
    let served = question.model(&body, it)?;
    let repeat = question.look_inside(&body)?;
    let (prompt, wanted) = question.reserve(&body, it)?;
    let head = session.req_header();
    let forwarded = forwarded(gateway, head, it.arrival.trace.as_deref());
    let named = named_deployments::resolve(gateway, client, forwarded.naming)?;
    let barred = named_deployments::barred(&named, &served.pool)?;
    let mut progress = begin(it, &served, operation, repeat)?;
    progress.bar(barred);
    question.log_prompt(it, served.pool.model(), &body);
    let (deadline, keepalive) = (
        progress.deadline(&served.bounds),
        keepalive(gateway, operation, &head.headers),
    );
    let call = Call {
        arrived: it.arrival.at,
        is_traced: it.arrival.trace.is_some(),
        client: Arc::clone(client),
        dialect: question.call.dialect,
        operation,
        served,
        query,
        headers: forwarded.headers,
        named,
        ask: body.ask,
        wanted,
        relay: Arc::new(Relay::new(body.kept, body.rest.take(), deadline, keepalive)),
    };
    Ok(Box::new(Admitted::new(Walk::new(call, progress), prompt)))
}

impl<'a> Question<'a> {
    fn new(
        gateway: &'a Gateway,
        client: &'a Arc<Client>,
        call: route::Call<'a>,
    ) -> Result<Self, Refusal> {
        let named = call.model.as_deref();
        let by_path = named.map(|model| gateway.find(client, model)).transpose()?;
        Ok(Self {
            gateway,
            client,
            forbidden: client.operations.forbidden(call.operation),
            call,
            by_path,
        })
    }

    /// Reads the body, and what it asks for.
    async fn read(&self, session: &mut Session, it: &mut Exchange) -> Result<Body, Refusal> {
        let is_limited = it.asked.limits.need_body();
        let stays = self.stays_as_it_is();
        let terms = Terms {
            bounds: &self.gateway.bounds,
            time: self.gateway.body_timeout,
            pause: self.gateway.header_timeout,
            memory: &self.gateway.memory,
            passage: if is_limited {
                Passage::Never
            } else {
                passage(&session.req_header().headers, stays)
            },
            forbidden: self.forbidden,
            of_responses: self.call.operation.is_of_responses(),
        };
        it.overhead.stop();
        let read = body::read(session, terms).await;
        it.overhead.start();
        let Arrived { kept, mut rest } = read?;
        it.asked.body_bytes = kept.len() as u64;
        let content_type = content_type(&session.req_header().headers);
        let along = self.looking(is_limited);
        let (ask, looked) = match &rest {
            None if is_limited => read_limited(content_type, self.call.operation, &kept, along)?,
            None => read_ask(content_type, &kept, stays, along)?,
            Some(rest) => (rest.ask(), None),
        };
        if ask.in_background && self.call.operation == Operation::Responses {
            return Err(Refusal::NoBackground);
        }
        if let Some(rest) = &mut rest
            && self.call.operation.is_of_responses()
        {
            rest.open = self.gateway.open_to(self.client);
            rest.check_tools()?;
        }
        Ok(Body {
            kept,
            rest,
            ask,
            looked,
        })
    }

    /// Which model is asked.
    fn model(&self, body: &Body, it: &mut Exchange) -> Result<Arc<ModelBackend>, Refusal> {
        if let Some(served) = &self.by_path {
            return Ok(Arc::clone(served));
        }
        let missing = || body.ask.model_missing(self.call.operation);
        let model = body.ask.model.as_deref().ok_or_else(missing)?;
        let served = self.gateway.find(self.client, model)?;
        it.asked.limits.ask_model(served.pool.model())?;
        Ok(served)
    }

    /// Reads along while the body is read. A chat is looked at for state only where it might use some, and then again.
    fn looking(&self, is_limited: bool) -> Scan {
        let operation = self.call.operation;
        let scan = match self.forbidden.filter(|forbidden| !forbidden.is_chat) {
            Some(forbidden) => Scan::forbidding(forbidden),
            None if operation == Operation::Responses => Scan::of_response(),
            None => Scan::default(),
        };
        if is_limited && operation.uses_tokens() {
            return scan.sizing(operation);
        }
        scan
    }

    /// Whether nothing in the body is forbidden, and whether what it asks for may be done twice.
    fn look_inside(&self, body: &Body) -> Result<Repeat, Refusal> {
        let ask = &body.ask;
        // What is still on its way is looked at as it comes.
        let is_here = body.rest.is_none() && !ask.is_form();
        let again;
        let looked = match (&body.looked, self.forbidden) {
            (Some(looked), None | Some(Forbidden { is_chat: false, .. })) => Some(looked),
            (_, Some(forbidden)) if is_here && ask.may_use_state => {
                let mut scan = Scan::forbidding(forbidden);
                scan.push(&body.kept)?;
                again = scan;
                Some(&again)
            }
            _ => None,
        };
        let mut acts = ask.acts;
        if let Some(looked) = looked {
            looked.noted()?;
            acts |= looked.acts();
            self.check_tools(looked)?;
        }
        if acts && self.call.operation == Operation::Responses {
            return Ok(Repeat::Acts);
        }
        Ok(Repeat::Harmless)
    }

    /// Holds what the body wants against the client's limits.
    fn reserve(
        &self,
        body: &Body,
        it: &mut Exchange,
    ) -> Result<(PromptTokens, Option<Wanted>), Refusal> {
        let (operation, limits) = (self.call.operation, &mut it.asked.limits);
        let read = body.looked.as_ref().and_then(Scan::prompt_tokens);
        let mut prompt = match read {
            Some(tokens) => PromptTokens::known(tokens),
            None => PromptTokens::new(operation, &body.kept),
        };
        let wanted = limits.reserve(operation, &body.ask, &body.kept, &mut prompt)?;
        if body.rest.is_some() {
            // What is kept of it may be gone before its end.
            prompt.tokens();
        }
        Ok((prompt, wanted))
    }

    /// What makes a response's pictures is a model of the client's too.
    fn check_tools(&self, scan: &Scan) -> Result<(), Refusal> {
        let mut named = scan.tool_models().iter();
        if named.all(|model| self.gateway.find(self.client, model).is_ok()) {
            Ok(())
        } else {
            Err(Refusal::ToolModel)
        }
    }

    /// Whether no deployment goes by what the body says of the model: the path names it, to all of them.
    fn stays_as_it_is(&self) -> bool {
        let call = (self.call.dialect, self.call.operation);
        self.by_path.as_ref().is_some_and(|served| {
            let mut members = served.pool.members().iter();
            !members.any(|member| body_names_deployment(call, member.deployment().instance.kind))
        })
    }

    /// Keeps what a client asks, whose operator wants that.
    fn log_prompt(&self, it: &Exchange, model: &ModelName, body: &Body) {
        let log = self.gateway.telemetry.prompt_log.as_ref();
        let Some(log) = log.filter(|_| self.client.log_prompts) else {
            return;
        };
        log.write(prompt_log::Prompt {
            arrived: it.arrival.wall,
            request_id: Arc::clone(&it.arrival.request_id),
            client: self.client.name.clone(),
            model: model.clone(),
            operation: self.call.operation.path(),
            body: body.kept.clone(),
            is_whole: body.rest.is_none(),
        });
    }
}

/// How the answer is kept alive if it is a stream that falls quiet.
fn keepalive(gateway: &Gateway, operation: Operation, headers: &HeaderMap) -> Option<Keepalive> {
    let agent = headers
        .get(header::USER_AGENT)
        .map(|agent| agent.as_bytes())
        .unwrap_or_default();
    Keepalive::for_stream(gateway.stream_keepalive?, operation, agent)
}

/// What must be known of a body before it may be passed on as it comes.
fn passage(headers: &HeaderMap, stays_as_it_is: bool) -> Passage {
    let is_multipart = Ask::is_multipart(content_type(headers));
    match (stays_as_it_is, is_multipart) {
        (true, _) => Passage::AsItIs {
            read_along: !is_multipart,
        },
        (false, true) => Passage::Never,
        (false, false) => Passage::OnceNamed,
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Where the path alone names the model, a body that can't be read is for the deployment to judge, as it always was.
/// Elsewhere it could name a model to the deployment that we did not read in it.
fn read_ask(
    content_type: Option<&str>,
    body: &[u8],
    stays_as_it_is: bool,
    scan: Scan,
) -> Result<(Ask, Option<Scan>), Refusal> {
    match Ask::read_by(scan, content_type, body) {
        Err(refusal) if !stays_as_it_is || refusal == Refusal::BodyTooDeep => Err(refusal),
        Err(_) => Ok((Ask::unread(), None)),
        Ok(read) => Ok(read),
    }
}

/// Reads a body that limits have to know. What is no JSON for us where an operation takes nothing else could be read by
/// others.
fn read_limited(
    content_type: Option<&str>,
    operation: Operation,
    body: &[u8],
    scan: Scan,
) -> Result<(Ask, Option<Scan>), Refusal> {
    let takes_forms = matches!(
        operation,
        Operation::AudioTranscriptions | Operation::AudioTranslations | Operation::ImageEdits
    );
    if Ask::is_multipart(content_type) && !takes_forms {
        return Err(Refusal::BodyNotJson);
    }
    Ask::read_by(scan, content_type, body)
}
