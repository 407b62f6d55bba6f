//! The store in a file: an embedded database that a crash at any moment leaves whole.

use std::{
    fs, io, mem,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::SystemTime,
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::counters::{Counters, StoreError};
use crate::domain::quota::{Count, Period};

/// By period, its beginning, client and model (empty: all together).
const TOKENS: TableDefinition<'_, (&str, i64, &str, &str), u64> = TableDefinition::new("tokens");
/// What the database keeps of the file in memory, in bytes; its own default is a gigabyte.
const CACHE: usize = 4 << 20;

/// Is told under which name a file was set aside, and why.
type SayAside = Box<dyn FnMut(&Path, &str) + Send>;

/// Counters in a file.
pub struct CounterFile {
    path: PathBuf,
    /// `None` after an error, which may have left it in a state that only opening it again mends.
    database: Option<Database>,
    /// What it had was set aside, and nobody was told yet.
    is_lost: bool,
    set_aside: SayAside,
}

impl CounterFile {
    /// Opens a file, or makes it. One that can't be read is renamed, which `set_aside` is told with the new name and why.
    pub fn open(
        path: &Path,
        set_aside: impl FnMut(&Path, &str) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let mut file = Self {
            path: path.to_owned(),
            database: None,
            is_lost: false,
            set_aside: Box::new(set_aside),
        };
        match file.mend() {
            Err(error) if error.may_pass() => {}
            // Nobody has counted on anything in it yet.
            mended => drop(mended?),
        }
        Ok(file)
    }

    /// Does something with the database, which is let go of where that fails.
    fn with<T>(
        &mut self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self
            .database
            .take()
            .ok_or_else(|| StoreError::Other("it is not open".into()))?;
        let done = guarded(|| act(&database).map_err(explained))?;
        self.database = Some(database);
        Ok(done)
    }

    /// Gives a file that can't be read another name, where whoever looks finds it.
    fn put_aside(&mut self, why: &str) -> io::Result<()> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".corrupt-{seconds}"));
        let aside = PathBuf::from(name);
        fs::rename(&self.path, &aside)?;
        self.is_lost = true;
        (self.set_aside)(&aside, why);
        Ok(())
    }
}

impl Counters for CounterFile {
    fn load(&mut self) -> Result<Vec<Count>, StoreError> {
        self.with(all)
    }

    fn add(&mut self, counts: &[Count]) -> Result<Vec<Count>, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let mut totals = Vec::with_capacity(counts.len());
            {
                let mut table = transaction.open_table(TOKENS)?;
                for count in counts {
                    let key = key(count);
                    let before = table.get(key)?.map_or(0, |value| value.value());
                    let tokens = before.saturating_add(count.tokens);
                    table.insert(key, tokens)?;
                    totals.push(Count {
                        tokens,
                        ..count.clone()
                    });
                }
            }
            transaction.commit()?;
            Ok(totals)
        })
    }

    fn forget(&mut self, period: Period, before: i64) -> Result<(), StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TOKENS)?;
                let word = period.as_str();
                let old = (word, i64::MIN, "", "")..(word, before, "", "");
                table.retain_in(old, |_, _| false)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn mend(&mut self) -> Result<bool, StoreError> {
        if self.database.is_some() {
            return Ok(false);
        }
        let database = match open(&self.path) {
            Err(StoreError::Corrupt(why)) => {
                self.put_aside(&why)?;
                open(&self.path)?
            }
            opened => opened?,
        };
        self.database = Some(database);
        Ok(mem::take(&mut self.is_lost))
    }
}

fn key(count: &Count) -> (&str, i64, &str, &str) {
    let model = count.model.as_ref().map_or("", |model| model.as_str());
    let client = count.client.as_str();
    (count.period.as_str(), count.start, client, model)
}

/// Opens it and reads all of it, so that what is broken shows now. What can't be made whole is not left behind.
fn open(path: &Path) -> Result<Database, StoreError> {
    let was_there = fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let opened = try_open(path);
    if opened.is_err() && !was_there {
        let _ = fs::remove_file(path);
    }
    opened
}

fn try_open(path: &Path) -> Result<Database, StoreError> {
    guarded(|| {
        let opened = Database::builder().set_cache_size(CACHE).create(path);
        let database = opened.map_err(|error| explained(error.into()))?;
        all(&database).map_err(explained)?;
        Ok(database)
    })
}

fn all(database: &Database) -> Result<Vec<Count>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(TOKENS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut counts = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (period, start, client, model) = key.value();
        let Some(period) = Period::from_word(period) else {
            continue;
        };
        counts.push(Count {
            client: client.into(),
            model: (!model.is_empty()).then(|| model.into()),
            period,
            start,
            tokens: value.value(),
        });
    }
    Ok(counts)
}

/// A file that makes the database's own checks fail is as unreadable as one that it has words for.
fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let done = panic::catch_unwind(AssertUnwindSafe(act));
    done.unwrap_or_else(|_| Err(StoreError::Corrupt("it broke the database's checks".into())))
}

fn explained(error: redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse,
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => StoreError::Corrupt(error.to_string()),
        // What is no database at all.
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Corrupt(error.to_string())
        }
        redb::Error::Io(error) => StoreError::Io(error),
        error => StoreError::Other(error.to_string()),
    }
}
