//! `log:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{Brief, Required, section},
    value::{Expression, FilePath, Size, Span},
};

section! {
    /// Logs: one JSON line per request.
    struct Log {
        /// The access log: a file, or a section. Default: stderr.
        access: Option<Placed<Brief<FilePath, LogFile>>>,
        /// The usage records: a file, or a section. Default: none.
        usage: Option<Placed<Brief<FilePath, LogFile>>>,
        /// The prompts of clients with `log_prompts: true`. Default: none.
        prompts: Option<Placed<Prompts>>,
    }
}

section! {
    /// A log file. It is written off the request path; lines that can't be written are dropped and counted.
    struct LogFile {
        /// The path. Lines are appended; if the file is renamed, as by logrotate, a new one is created.
        file: Required<Placed<FilePath>>,
        /// When the gateway itself rotates the file. Default: never.
        rotate: Option<Placed<Rotate>>,
    }
}

section! {
    /// The prompt log: the bodies of requests, one JSON line each, in a file that only its owner can read.
    struct Prompts {
        ..file: LogFile,
        /// How much of a body is written.
        #[schemars(extend("default" = "64KiB"))]
        max_bytes: Option<Placed<Size>>,
        /// Regular expressions: what they match in texts, keys and numbers is redacted before anything is written.
        #[schemars(length(min = 1))]
        redact: Option<Placed<List<Placed<Expression>>>>,
    }
}

section! {
    /// When a log file is rotated: renamed with a UTC time in its name (`usage.20261122T170000.000000Z.jsonl`). At least one of
    /// `size` and `every` is required.
    struct Rotate {
        /// Rotates before the file gets larger than this.
        size: Option<Placed<Size>>,
        /// Rotates at multiples of this time in UTC: `1h` at each full hour, `1d` at midnight.
        every: Option<Placed<Span>>,
        /// How many old files are kept. Default: all.
        #[schemars(range(min = 1, max = 1_000_000))]
        keep: Option<Placed<i64>>,
    }
}
