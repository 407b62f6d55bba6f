//! What the gateway added to a request, and a deployment refused: the same deployment is asked once more in another form or
//! without, and what it takes is remembered.

use super::exchange::{Again, Exchange, Wish};
use crate::domain::{additions::Form, outcome::Outcome};

/// Whether the current deployment is asked once more, since it refused what the gateway added and not what its client said.
pub(super) fn ask_otherwise(exchange: &mut Exchange, outcome: &Outcome) -> bool {
    let current = exchange.admitted().and_then(|it| {
        let operation = it.call.1;
        it.current.as_mut().map(|current| (current, operation))
    });
    let Some((current, operation)) = current else {
        return false;
    };
    match outcome {
        Outcome::UsageRejected => current.usage = Wish::Refused,
        Outcome::LimitRejected => {
            let other = current.limit.and_then(|limit| limit.other(operation));
            let Some(form) = current.refused_forms.after(current.form, other.is_some()) else {
                return false;
            };
            current.form = form;
        }
        _ => return false,
    }
    current.again = Some(Again::Otherwise);
    true
}

/// A deployment that serves without what it refused before is not sent that any more. Its refusal alone says too little:
/// what it is about may stand in the client's own words.
pub(super) fn note_taken(exchange: &mut Exchange, outcome: &Outcome) {
    let Some(admitted) = exchange.admitted() else {
        return;
    };
    let Some(current) = admitted.current.as_ref() else {
        return;
    };
    let (kept, refused) = (
        current.usage == Wish::Refused,
        current.refused_forms.is_any(),
    );
    if *outcome != Outcome::Served || !kept && !refused {
        return;
    }
    let target = &admitted.served.targets[current.attempt.index()];
    let deployment = current.attempt.deployment();
    let (model, instance) = (admitted.served.pool.model(), &deployment.instance.name);
    let deployment = &deployment.name;
    if kept && target.takes.note_usage_kept(&admitted.query) {
        tracing::info!(event = "stream_usage_refused", %model, %instance, %deployment, "deployment refuses to be asked for the usage of streams: they are counted by estimate");
    }
    if refused && target.takes.note_form(&admitted.query, current.form) {
        match current.form {
            Form::Usual | Form::Other => {
                let member = current.limit.map(|limit| limit.as_str());
                tracing::info!(event = "output_limit_member_refused", %model, %instance, %deployment, member, "deployment takes the most output in this member only: clients' max_output_tokens are written there");
            }
            Form::Without => {
                tracing::warn!(event = "output_limit_refused", %model, %instance, %deployment, "deployment refuses to be told the most output: clients' max_output_tokens can't be written into requests that name none");
            }
        }
    }
}
