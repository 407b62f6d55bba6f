//! `clients.….limits:` and `counters:` as written.

use crate::config::{
    problem::Placed,
    read::Named,
    section::{choice, section},
    value::{FilePath, Word},
};

section! {
    /// What a client may spend. Tokens are those of input and output together; a request reserves its prompt and the most
    /// output it may get, and is settled with what it used.
    struct ClientLimits {
        ..own: Limits,
        /// The same for single models, by their names in `models`: what is written here holds beside what is written above.
        models: Option<Placed<Named<Limits>>>,
    }
}

section! {
    /// What a client may spend with one model.
    struct Limits {
        /// Requests within 60 seconds.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        requests_per_minute: Option<Placed<i64>>,
        /// Tokens within 60 seconds.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_minute: Option<Placed<i64>>,
        /// Tokens in an hour of the calendar.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_hour: Option<Placed<i64>>,
        /// Tokens in a day of the calendar, in `counters.time_zone`.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_day: Option<Placed<i64>>,
        /// Tokens in a month of the calendar, in `counters.time_zone`.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_month: Option<Placed<i64>>,
        /// Requests at the same time, realtime sessions among them.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        concurrency: Option<Placed<i64>>,
        /// The most output of one answer, as `max_completion_tokens`, `max_tokens` or `max_output_tokens` ask for it. A request
        /// that names none is sent with this one.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        max_output_tokens: Option<Placed<i64>>,
        /// What becomes of a request that asks for more than `max_output_tokens`.
        #[schemars(extend("default" = "clamp"))]
        over_max_output_tokens: Option<Placed<OverMaxOutput>>,
        /// The most answers to one request.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        n: Option<Placed<i64>>,
        /// The most drafts that the best answers are taken of.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        best_of: Option<Placed<i64>>,
    }
}

choice! {
    /// What becomes of a request that asks for more output than its client may have.
    enum OverMaxOutput {
        /// It is sent, asking for as much as the client may have.
        Clamp = "clamp",
        /// It is refused with 400.
        Refuse = "refuse",
    }
}

section! {
    /// What clients' limits are counted by.
    struct Counters {
        /// Where what was spent in an hour, day or month is kept, so that a restart does not forget it; nowhere unless given.
        /// No two gateways share one.
        file: Option<Placed<FilePath>>,
        /// Whose hours, days and months are counted, like `Europe/Berlin`. Another zone begins the counts anew.
        #[schemars(extend("default" = "UTC"))]
        time_zone: Option<Placed<Word>>,
    }
}
