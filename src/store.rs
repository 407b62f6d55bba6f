//! Keeps clients' usage per hour, day and month across restarts.
//!
//! A thread of its own writes what has changed, twice a second: no request waits for it, and what is lost when the process is
//! killed is less than a second's. Where nothing can be written, requests go on, and what they spend is written later.
//!
//! [`Counters`] is what a place to keep it in can do. It is narrow enough for one that several gateways share: it adds, and
//! says what there is then, whoever added it.

mod counter_writer;
mod counters;
mod file;

pub use counter_writer::{CounterWriter, Meters};
pub use counters::{Counters, StoreError};
pub use file::CounterFile;
