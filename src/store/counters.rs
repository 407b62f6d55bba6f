//! The interface of a store for counters, and its errors.

use std::io;

use thiserror::Error;

use crate::domain::quota::{Count, Period};

/// A place that what clients have spent is kept in.
pub trait Counters: Send {
    /// Everything in it.
    fn load(&mut self) -> Result<Vec<Count>, StoreError>;

    /// Adds to the counters of these, all or none, so that it lasts; gives what each has then.
    fn add(&mut self, counts: &[Count]) -> Result<Vec<Count>, StoreError>;

    /// Forgets the counters of a period that began before this, in seconds since 1970.
    fn forget(&mut self, period: Period, before: i64) -> Result<(), StoreError>;

    /// Makes it usable again after an error. `true`: what it had is lost.
    fn mend(&mut self) -> Result<bool, StoreError>;
}

/// Why what was spent could not be kept, or read again.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("another process has it open")]
    InUse,
    /// It can't be what was written.
    #[error("it can't be read: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    /// Whether it may pass by itself, as a full disk does; what a config or rights are to blame for does not.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind as Kind;
        match self {
            Self::InUse => false,
            Self::Io(error) => !matches!(
                error.kind(),
                Kind::PermissionDenied
                    | Kind::NotFound
                    | Kind::IsADirectory
                    | Kind::NotADirectory
                    | Kind::ReadOnlyFilesystem
            ),
            Self::Corrupt(_) | Self::Other(_) => true,
        }
    }
}
