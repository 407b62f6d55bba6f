//! The tokenizer of the models of today, `o200k_base`. Its tables take 24 MB and a seventh of a second to unpack, so they
//! are unpacked when a stream has broken off first, by a thread of its own; what is counted until then goes by characters.
//!
//! Of the crates that were measured it is the leanest: 15 ns a token in European languages and 50 in others, where
//! `bpe-openai` takes 67 MB and 80 ns, `tiktoken-rs` 47 MB and 130 ns; they agree on every text that was tried.

use std::{
    sync::{Once, OnceLock},
    thread,
};

use tiktoken::{CoreBpe, encoding::o200k_base};

static TABLES: OnceLock<CoreBpe> = OnceLock::new();

/// Counts a text, once the tables are there.
pub(in crate::domain) fn count(text: &str) -> Option<u64> {
    TABLES.get().map(|tables| tables.count(text) as u64)
}

/// Has the tables unpacked, without waiting for it. Where there is no thread for it, characters go on being counted.
pub(super) fn want() {
    static WANTED: Once = Once::new();
    if TABLES.get().is_none() {
        WANTED.call_once(|| {
            let unpack = thread::Builder::new().name("tokenizer".into());
            drop(unpack.spawn(load));
        });
    }
}

/// Unpacks the tables now, if they are not there yet.
pub fn load() {
    TABLES.get_or_init(o200k_base);
}
