//! One attempt at one deployment, as a value that is consumed from stage to stage. It knows no exchange: what it needs of
//! the request is its [`Walk`], and what its end means comes back as a value.
//!
//! ```text
//! Turn ──► Connecting ──► Sent ──► Held ──► Delivering ──► over
//!   ▲           │           │        │          │
//!   │           └───────────┴── Again│          └ its line, and what its deployment turned out to be
//!   │           └───────────┴────────┴ Over: the step that follows, its line, the changes of deployments
//!   └── Walk::choose ◄── TryAnother
//! ```
//!
//! | stage | what is known | what ends it |
//! |---|---|---|
//! | [`Turn`] | which deployment | no credential, no address |
//! | [`Connecting`] | our credential, over which connections | no connection |
//! | [`Sent`] | what the gateway added, and when | an answer's head; or it is lost with its connection |
//! | [`Held`] | the answer's head, and what was read behind it | its outcome is known |
//! | [`Delivering`] | its line for the record | the answer's end |
//! | [`Again`] | why the same deployment is asked once more | [`Again::connect`] |
//!
//! An end is an [`Over`]: the next [`Step`] (deliver, try another, give up), and [`News`] to be written down and announced.
//! Judging is done once: in `Held` at the latest. An answer that ends otherwise than it was judged only amends that.

mod additions;
mod again;
mod answer;
mod connect;
mod connecting;
mod delivering;
mod gauges;
mod held;
mod over;
mod position;
mod request;
mod sent;
mod turn;
mod unanswered;

pub(super) use again::Again;
pub(super) use connect::Begun;
pub(super) use held::{Held, Settled, TakenBack};
pub(super) use over::{News, Over};
pub(super) use position::{Attempt, Position};
pub(super) use turn::Turn;
pub(super) use unanswered::{Loss, Unanswered, told};
