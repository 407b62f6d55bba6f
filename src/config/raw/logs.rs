//! `log:` as written.

use crate::config::{
    problem::Placed,
    read::List,
    section::{Brief, Required, section},
    value::{Expression, FilePath, Size, Span},
};

section! {
    /// Logs: JSON, a line for each request.
    struct Log {
        /// The file of the access log, or its section; stderr unless given.
        access: Option<Placed<Brief<FilePath, LogFile>>>,
        /// The file of the usage records, or its section; none are written unless given.
        usage: Option<Placed<Brief<FilePath, LogFile>>>,
        /// The prompts of those clients that have `log_prompts: true`; nobody's unless given.
        prompts: Option<Placed<Prompts>>,
    }
}

section! {
    /// A log's file. It is written beside the requests; lines that it can't take are dropped and counted.
    struct LogFile {
        /// Appended to. Where it was renamed, as by logrotate, it is made anew.
        file: Required<Placed<FilePath>>,
        /// When it is put aside by the gateway itself; never unless given.
        rotate: Option<Placed<Rotate>>,
    }
}

section! {
    /// Prompts that are kept: the bodies of requests, one JSON line each, in a file that its owner alone may read.
    struct Prompts {
        ..file: LogFile,
        /// How much of a body is kept.
        #[schemars(extend("default" = "64KiB"))]
        max_bytes: Option<Placed<Size>>,
        /// What is taken out of each text, key and number before: all that one of these finds.
        #[schemars(length(min = 1))]
        redact: Option<Placed<List<Placed<Expression>>>>,
    }
}

section! {
    /// When a log's file is put aside: renamed, a UTC time in its name (`usage.20261122T170000.000000Z.jsonl`). One of `size`
    /// and `every` at least.
    struct Rotate {
        /// Before it would become larger.
        size: Option<Placed<Size>>,
        /// When such a stretch of time ends, counted from 1970 in UTC: `1h` at each full hour, `1d` at midnight.
        every: Option<Placed<Span>>,
        /// How many old files are kept; all unless given.
        #[schemars(range(min = 1, max = 1_000_000))]
        keep: Option<Placed<i64>>,
    }
}
