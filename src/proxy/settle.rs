//! The commit point: an answer of which nothing has gone out is judged, and either goes out from here on or is taken back.

use pingora::{Error, ErrorType, Result};

use super::{
    attempt::{Again, Attempt, Held, News, Position, Settled, TakenBack},
    exchange::{Admitted, Proxied},
};
use crate::domain::{failover::Step, outcome::Outcome};

/// Judges an answer of which nothing has gone out. `Err` takes it back.
pub(super) fn settle(it: &mut Proxied<'_>, held: Held, outcome: Outcome) -> Result<()> {
    let status = held.answer().status();
    match held.settle(outcome, &mut it.admitted.walk) {
        Settled::Deliver(delivering, news) => {
            it.admitted.position = Position::UnderWay(Attempt::Delivering(delivering));
            it.admitted.note(news);
            commit(it.admitted);
            Ok(())
        }
        Settled::TakenBack(TakenBack::Again(again, news)) => {
            Err(ask_again(it, again, news, status))
        }
        Settled::TakenBack(TakenBack::Over(over)) => Err(then(it.follow(over), taken_back(status))),
    }
}

/// Nothing is sent again from here on.
fn commit(admitted: &mut Admitted) {
    let call = &admitted.walk.call;
    if call.ask.stream || admitted.prompt.is_long() {
        // Any other answer that tells its usage does so soon; and a long body is not kept until then.
        admitted.prompt.tokens();
    }
    call.relay.release();
    call.relay.gate().open();
}

/// Has the same deployment asked once more, which gave an answer of this status.
pub(super) fn ask_again(it: &mut Proxied<'_>, again: Again, news: News, status: u16) -> Box<Error> {
    it.admitted.position = Position::Again(again);
    it.admitted.note(news);
    it.delivery.bytes = 0;
    then(Step::TryAnother, taken_back(status))
}

fn taken_back(status: u16) -> Box<Error> {
    let what = "the deployment's answer is not passed on";
    Error::explain(ErrorType::HTTPStatus(status), what).into_up()
}

/// Makes Pingora do what the step says.
pub(super) fn then(step: Step, mut error: Box<Error>) -> Box<Error> {
    error.set_retry(step == Step::TryAnother);
    error
}
