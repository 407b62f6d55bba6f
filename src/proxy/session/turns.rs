//! Yields to other futures of the same task.

use std::task::Poll;

/// Until the task has been polled so many times more. Who reads from the deployment and writes to it is polled in turns
/// with whoever waits here: at the latest behind this, within the same poll of the task.
pub(super) async fn polls(mut more: u8) {
    std::future::poll_fn(|cx| {
        if more == 0 {
            return Poll::Ready(());
        }
        more -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
