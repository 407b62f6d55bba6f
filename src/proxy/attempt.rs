//! One attempt at one deployment, as a value that is consumed from stage to stage. It knows no exchange: what it needs of
//! the request is its [`Walk`](super::walk::Walk), and what its end means comes back as a value.
//!
//! ```text
//!  Walk::choose ──► Turn ──► Connecting ──► Sent ──► Held ──► Delivering ──► its line for the record
//!       ▲            ▲           │            │        │
//!       │            │           └ Unanswered ┘        │
//!       │          Again ◄────────────┤                │
//!       │            ▲                │                │
//!       │            └────────────────┼────────────────┤
//!       └── Step::TryAnother ◄──── Over ◄──────────────┘
//! ```
//!
//! | stage | what it knows | what ends it |
//! |---|---|---|
//! | [`Turn`] | which deployment, and what earlier tries there have shown | no credential, no address |
//! | `Connecting` | our credential, and over which connections | no connection |
//! | `Sent` | what the gateway added, and since when it waits | an answer's head, or the connection's end |
//! | [`HeldAnswer`] | the answer's head, and what was read behind it | its outcome is known |
//! | `Delivering` | its line for the record, which may yet be amended | the request's end |
//! | `Again` | why the same deployment is asked once more, unjudged | another `Connecting` |
//! | [`Unanswered`] | what is known of a connection that ended before an answer | sent again, or over |
//!
//! An end is an [`Over`]: the step that follows (the same once more, try another, give up), and [`News`]: the line for the
//! record, and which deployments it has closed or opened. Whoever holds the [`Position`] writes them down and announces them.
//!
//! - An attempt is judged once, in `Held` at the latest. An answer that ends otherwise than it was judged amends that.
//! - What may be the request's own doing is held back in the walk until the request's end shows it.
//! - A file here is used by those of later stages and by none of its own: what two of them want is a third one.

mod additions;
mod answer;
mod connecting;
mod held;
mod news;
mod position;
mod request;
mod sent;
mod turn;
mod unanswered;

pub(super) use connecting::Begun;
pub(super) use held::{HeldAnswer, Settled};
pub(super) use news::News;
pub(super) use position::Position;
pub(super) use turn::{Over, Turn};
pub(super) use unanswered::{Loss, Unanswered, told};

#[cfg(test)]
mod tests;
