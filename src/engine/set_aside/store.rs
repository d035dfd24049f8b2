//! The file in which is kept what was set aside: a `redb` database in the data directory.
//!
//! Knows nothing of what is kept. Invariant: a file that is not whole is refused and stays as it is; what
//! one call of [`Store::write`] does lasts as a whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction,
};

use crate::error::{Error, Result, SqlState};

const FILE: &str = "set_aside.redb";
/// Under this name it is made; a crash may leave half a one.
const NEW: &str = "set_aside.new";
/// Memory for pages that were read or are to be written.
const CACHE_BYTES: usize = 4 << 20;

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The version of what is in the tables.
const VERSION: u64 = 1;

/// What goes wrong in the file.
pub(super) type Fault = redb::Error;

/// The file, or memory where there is no data directory.
pub(super) struct Store {
    path: Option<PathBuf>,
    /// `None` after trouble: the file is opened anew.
    database: Option<Database>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish()
    }
}

impl Store {
    /// Opens the file in a data directory, or makes it there; `None`: it is gone with the process.
    ///
    /// # Errors
    /// A file that is damaged or of another version, a disk that refuses.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self> {
        let Some(dir) = dir else {
            let database = memory().map_err(|fault| told(None, fault))?;
            return Ok(Self {
                path: None,
                database: Some(database),
            });
        };
        let path = dir.join(FILE);
        if !fs::exists(&path).map_err(|error| told(Some(&path), error.into()))? {
            make(dir, &path).map_err(|fault| told(Some(&path), fault))?;
        }
        let mut store = Self {
            path: Some(path),
            database: None,
        };
        store.check_version()?;
        Ok(store)
    }

    fn check_version(&mut self) -> Result<()> {
        let version = self.read(|read| {
            let version = read.open_table(META)?.get("version")?;
            Ok(version.map(|version| version.value()))
        })?;
        if version == Some(VERSION) {
            return Ok(());
        }
        let shown = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        Err(damaged(
            self.path.as_deref(),
            &format!("Its version is {shown}; this server knows {VERSION}."),
        ))
    }

    /// Does what is to last as a whole.
    ///
    /// # Errors
    /// What the disk says; then nothing of it lasts, and it can be tried again.
    pub(super) fn write(
        &mut self,
        act: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<()> {
        self.guarded(|database| {
            let write = database.begin_write()?;
            act(&write)?;
            Ok(write.commit()?)
        })
    }

    /// Reads as of one moment.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn read<T>(
        &mut self,
        act: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T> {
        self.guarded(|database| act(&database.begin_read()?))
    }

    /// After trouble the library wants the file to be opened anew.
    fn guarded<T>(&mut self, act: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T> {
        let path = self.path.clone();
        let done = match &self.database {
            Some(database) => act(database),
            None => {
                opened(path.as_deref()).and_then(|database| act(self.database.insert(database)))
            }
        };
        done.map_err(|fault| {
            if path.is_some() {
                self.database = None;
            }
            told(path.as_deref(), fault)
        })
    }
}

/// A new file is whole before it has its name.
fn make(dir: &Path, path: &Path) -> Result<(), Fault> {
    let new = dir.join(NEW);
    fs::create_dir_all(dir)?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true);
    // Others cannot read it: messages may be private.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&new)?;
    let database = builder().create_with_backend(FileBackend::new(file)?)?;
    mark(&database)?;
    database.close()?;
    fs::rename(&new, path)?;
    Ok(File::open(dir)?.sync_all()?)
}

fn memory() -> Result<Database, Fault> {
    let database = builder().create_with_backend(InMemoryBackend::new())?;
    mark(&database)?;
    Ok(database)
}

fn mark(database: &Database) -> Result<(), Fault> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert("version", VERSION)?;
    Ok(write.commit()?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens a file that is there. Every page is checked: it is not large, and a damaged one is told.
fn opened(path: Option<&Path>) -> Result<Database, Fault> {
    let path = path.ok_or(redb::Error::DatabaseClosed)?;
    let open = || builder().set_check_integrity_on_open(true).open(path);
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(redb::Error::Corrupted("it cannot be read".to_owned())),
    }
}

fn told(path: Option<&Path>, fault: Fault) -> Error {
    let name = || path.map_or_else(|| FILE.to_owned(), |path| path.display().to_string());
    match fault {
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            damaged(path, &format!("It is damaged: {error}."))
        }
        redb::Error::Io(error) => {
            let state = match error.kind() {
                ErrorKind::StorageFull => SqlState::DiskFull,
                _ => SqlState::IoError,
            };
            Error::external(state, true, format!("{}: {error}", name()))
        }
        redb::Error::PreviousIo => {
            let text = format!("{}: an earlier write has failed", name());
            Error::external(SqlState::IoError, true, text)
        }
        other => damaged(path, &format!("It is damaged: {other}.")),
    }
}

fn damaged(path: Option<&Path>, detail: &str) -> Error {
    let name = path.map_or_else(|| FILE.to_owned(), |path| path.display().to_string());
    Error::external(
        SqlState::DataCorrupted,
        false,
        format!("the kept messages in {name} cannot be used"),
    )
    .detail(detail)
    .hint(
        "Put back a copy of the file, or move it away to begin without dead letters and late rows.",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILE, META, NEW, Store};
    use crate::error::SqlState;

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(Some(dir.path())).unwrap();
        let write = |write: &redb::WriteTransaction| {
            write.open_table(META)?.insert("some", 7)?;
            Ok(())
        };
        store.write(write).unwrap();
        let failing = |write: &redb::WriteTransaction| {
            write.open_table(META)?.insert("some", 8)?;
            Err(redb::Error::PreviousIo)
        };
        let error = store.write(failing).unwrap_err();
        assert_eq!(error.state(), SqlState::IoError);
        drop(store);
        let mut store = Store::open(Some(dir.path())).unwrap();
        let some = store
            .read(|read| Ok(read.open_table(META)?.get("some")?.map(|some| some.value())))
            .unwrap();
        assert_eq!(some, Some(7));
    }

    #[test]
    fn half_a_new_file_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NEW), "half").unwrap();
        Store::open(Some(dir.path())).unwrap();
        Store::open(Some(dir.path())).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(Some(dir.path())).unwrap());
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let mut damages = vec![Vec::new(), b"not a database".to_vec()];
        damages.extend([1, 100, whole.len() / 2, whole.len() - 1].map(|l| whole[..l].to_vec()));
        // The pages of the tables: each byte of them is under a checksum.
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
        damages.extend([0, 12, 64, 4_100, used / 2, used].map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 0xff;
            flipped
        }));
        let mut refused = 0;
        for (index, damage) in damages.iter().enumerate() {
            fs::write(&path, damage).unwrap();
            match Store::open(Some(dir.path())) {
                // Not every byte means something.
                Ok(_) => continue,
                Err(error) => {
                    assert_eq!(error.state(), SqlState::DataCorrupted, "{index}: {error}");
                    assert!(error.hint_text().is_some(), "it says what to do");
                    assert_eq!(&fs::read(&path).unwrap(), damage, "{index}: it stays");
                    refused += 1;
                }
            }
        }
        assert!(refused >= 8, "only {refused} were refused");
    }
}
