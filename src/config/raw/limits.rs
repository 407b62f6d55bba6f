//! `clients.….limits:` and `counters:` as written.

use crate::config::{
    problem::Placed,
    read::Named,
    section::{choice, section},
    value::{FilePath, Word},
};

section! {
    /// Rate limits and quotas of a client. Tokens are input and output together; a request reserves its prompt and its maximum
    /// output, and is charged for what it used when it finishes.
    struct ClientLimits {
        ..own: Limits,
        /// Additional limits with single models, by their names in `models`; the limits above apply as well.
        models: Option<Placed<Named<Limits>>>,
    }
}

section! {
    /// Rate limits and quotas of a client with one model.
    struct Limits {
        /// Requests within 60 seconds.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        requests_per_minute: Option<Placed<i64>>,
        /// Tokens within 60 seconds.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_minute: Option<Placed<i64>>,
        /// Tokens per calendar hour.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_hour: Option<Placed<i64>>,
        /// Tokens per calendar day, in `counters.time_zone`.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_day: Option<Placed<i64>>,
        /// Tokens per calendar month, in `counters.time_zone`.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        tokens_per_month: Option<Placed<i64>>,
        /// Concurrent requests, including realtime sessions.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        concurrency: Option<Placed<i64>>,
        /// The maximum output of an answer, as in `max_completion_tokens`, `max_tokens` or `max_output_tokens`. It is added to
        /// requests that set none.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        max_output_tokens: Option<Placed<i64>>,
        /// What happens to a request that asks for more than `max_output_tokens`.
        #[schemars(extend("default" = "clamp"))]
        over_max_output_tokens: Option<Placed<OverMaxOutput>>,
        /// The maximum `n` (answers) of a request.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        n: Option<Placed<i64>>,
        /// The maximum `best_of` of a request.
        #[schemars(range(min = 1, max = 1_000_000_000_000i64))]
        best_of: Option<Placed<i64>>,
    }
}

choice! {
    /// What happens to a request that asks for more output than its client may have.
    enum OverMaxOutput as crate::domain::quota::OverMaxOutput {
        /// It is sent with the client's maximum instead.
        Clamp = "clamp",
        /// It is rejected with 400.
        Refuse = "refuse",
    }
}

section! {
    /// How clients' usage is counted and kept.
    struct Counters {
        /// The file that keeps the usage per hour, day and month, so that a restart does not reset it. Default: none. Gateways
        /// must not share a file.
        file: Option<Placed<FilePath>>,
        /// The time zone of hours, days and months, like `Europe/Berlin`. Changing it resets the usage.
        #[schemars(extend("default" = "UTC"))]
        time_zone: Option<Placed<Word>>,
    }
}
