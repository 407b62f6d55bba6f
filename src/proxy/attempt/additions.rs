//! What the gateway adds to a request on its own account. Where a deployment refuses that, it is asked once more in another
//! form or without, and what it takes is remembered.

use bytes::Bytes;

use super::turn::Turn;
use crate::{
    domain::{
        additions::{Added, Form},
        ask::Splice,
        deployment::Instance,
        outcome::Outcome,
        quota::Field,
        route::{Operation, may_ask_for_usage},
    },
    proxy::{call::Call, metering::Wish, session::Behind},
};

/// What one try's request had added.
#[derive(Clone, Copy)]
pub(super) struct Additions {
    /// Whether its stream is asked for usage.
    pub(super) usage: Wish,
    /// How the most output is said, where the gateway says it.
    form: Form,
    /// In which member.
    limit: Option<Field>,
}

impl Additions {
    /// Adds the `changes` that they are in the client's body.
    pub(super) fn choose(
        turn: &Turn,
        call: &Call,
        body: &Bytes,
        changes: &mut Vec<Splice>,
    ) -> Self {
        let (usage, wish) = wish(turn, call, body);
        changes.extend(wish);
        let form = match turn.history.form {
            Some(form) => form,
            None if call.wanted.is_some() => {
                turn.target(call).takes.form(&call.query.api_version())
            }
            None => Form::Usual,
        };
        let limit = limit(call, &turn.chosen.deployment().instance, form, changes);
        Self { usage, form, limit }
    }

    /// As whoever reads a refusal wants to know them.
    pub(super) fn said(self) -> Added {
        Added {
            usage: self.usage == Wish::Asked,
            limit: self.limit.map(Field::as_str),
        }
    }

    /// Whether the deployment is asked once more, since it refused what the gateway added and not what its client said.
    pub(super) fn ask_otherwise(
        self,
        turn: &mut Turn,
        outcome: &Outcome,
        operation: Operation,
    ) -> bool {
        let history = &mut turn.history;
        match outcome {
            Outcome::UsageRejected => history.refused_usage = true,
            Outcome::LimitRejected => {
                let other = self.limit.and_then(|limit| limit.other(operation));
                let Some(form) = history.refused_forms.after(self.form, other.is_some()) else {
                    return false;
                };
                history.form = Some(form);
            }
            _ => return false,
        }
        true
    }

    /// A deployment that serves without what it refused before is not sent that any more. Its refusal alone says too little:
    /// what it is about may stand in the client's own words.
    pub(super) fn note_taken(self, turn: &Turn, call: &Call) {
        let (takes, version) = (&turn.target(call).takes, call.query.api_version());
        let deployment = turn.chosen.deployment();
        let (model, instance) = (call.served.pool.model(), &deployment.instance.name);
        let deployment = &deployment.name;
        if self.usage == Wish::Refused && takes.note_usage_kept(&version) {
            tracing::info!(event = "stream_usage_refused", %model, %instance, %deployment, "the deployment rejects stream_options: the token usage of its streams is estimated");
        }
        if turn.history.form.is_none() || !takes.note_form(&version, self.form) {
            return;
        }
        match self.form {
            Form::Usual | Form::Other => {
                let member = self.limit.map(|limit| limit.as_str());
                tracing::info!(event = "output_limit_member_refused", %model, %instance, %deployment, member, "the deployment accepts an output limit in this parameter only: clients' max_output_tokens limits are sent in it");
            }
            Form::Without => {
                tracing::warn!(event = "output_limit_refused", %model, %instance, %deployment, "the deployment rejects every output limit: clients' max_output_tokens limits are not sent with requests that set no limit themselves");
            }
        }
    }
}

/// What makes a chat's stream tell its usage, where its client did not ask for that and the deployment may be asked.
fn wish(turn: &Turn, call: &Call, body: &Bytes) -> (Wish, Option<Splice>) {
    let is_whole = call.relay.behind() == Behind::Nothing;
    let tells_if_asked = matches!(
        call.operation,
        Operation::ChatCompletions | Operation::Completions
    );
    let splice = || call.ask.asking_for_usage(body);
    let Some(splice) = (is_whole && tells_if_asked).then(splice).flatten() else {
        return (Wish::None, None);
    };
    if turn.history.refused_usage {
        (Wish::Refused, None)
    } else if may_ask(turn, call) {
        (Wish::Asked, Some(splice))
    } else {
        (Wish::NotAsked, None)
    }
}

fn may_ask(turn: &Turn, call: &Call) -> bool {
    let instance = &turn.chosen.deployment().instance;
    let version = call.query.api_version();
    instance.stream_usage
        && may_ask_for_usage(call.at(instance), instance.kind, &version)
        && turn.target(call).takes.tells_usage(&version)
}

/// What is changed in a body for its client's limits, before a deployment of this instance gets it.
/// `form`: how the most output is said, if it is added; the member that it is said in comes back.
fn limit(call: &Call, instance: &Instance, form: Form, changes: &mut Vec<Splice>) -> Option<Field> {
    let wanted = call.wanted.as_ref()?;
    changes.extend(wanted.changes.iter().cloned());
    let version = call.query.api_version();
    let field = Field::in_form(form, call.at(instance), instance.kind, &version)?;
    changes.push(wanted.cap.as_ref()?.say(field, &call.ask)?);
    Some(field)
}
