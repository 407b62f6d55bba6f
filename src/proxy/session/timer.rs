//! One timer for all times of an answer. Every piece puts them off, and most answers end before any of them comes: so the
//! timer is not set anew with each piece, but when it has gone off for a time that was put off meanwhile.

use std::{pin::Pin, time::Instant};

use tokio::time::{Sleep, sleep_until};

#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Goes off at this time, or at an earlier one that it was set to before.
    pub(super) fn at(&mut self, time: Instant) -> Pin<&mut Sleep> {
        let time = time.into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if sleep.is_elapsed() || time < sleep.deadline() {
            sleep.as_mut().reset(time);
        }
        sleep.as_mut()
    }
}
